"""Trainers that are no packages: their own code, unchanged, from clones of their repositories.

EDITLANE_TRAINERS names a folder with clones at <owner>/<name>, such as X-GenGroup/Flow-Factory. Without it these tests
are skipped. flow_grpo and Edit-R1 get one more entry in their `score_functions`, as config/rewards.md tells users to
add it.
"""

import asyncio
import importlib
import io
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from editlane.client import RewardError

CLONES = os.environ.get("EDITLANE_TRAINERS")
pytestmark = [
    pytest.mark.trainers,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(CLONES is None, reason="EDITLANE_TRAINERS names no folder with clones"),
]

Edits = list[dict[str, Any]]


def find(repository: str, path: str) -> Path:
    found = Path(CLONES or "", repository, path)
    if not found.exists():
        pytest.skip(f"EDITLANE_TRAINERS has no {repository}/{path}")
    return found


def run_file(path: Path, old: str = "", new: str = "") -> Any:
    """Run one file of a trainer as a module, with one line more where its users add one."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    module = ModuleType(path.stem)
    exec(compile(text.replace(old, new, 1), str(path), "exec"), module.__dict__)
    return module


def open_images(edits: Edits, name: str) -> list[Image.Image]:
    return [Image.open(edit[name]).convert("RGB") for edit in edits]


def to_tensor(edits: Edits) -> Any:
    import numpy as np
    import torch

    pixels = np.stack([np.asarray(image) for image in open_images(edits, "edited")])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def encode(images: list[Image.Image]) -> list[bytes]:
    return [(image.save(out := io.BytesIO(), "PNG"), out.getvalue())[1] for image in images]


def texts(edits: Edits) -> list[str]:
    return [edit["instruction"] for edit in edits]


def test_flow_factory(edits: Edits, wanted: list[float], server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(find("X-GenGroup/Flow-Factory", "src")))
    module = importlib.import_module("flow_factory.rewards.my_reward_remote")
    arguments = importlib.import_module("flow_factory.hparams").RewardArguments.from_dict(
        {
            "name": "editlane",
            "reward_model": "flow_factory.rewards.my_reward_remote.RemotePointwiseRewardModel",
            "server_url": server_url,
            "batch_size": 16,
            "device": "cpu",
        }
    )
    registry = importlib.import_module("flow_factory.rewards.registry")
    assert registry.get_reward_model_class(arguments.reward_model) is module.RemotePointwiseRewardModel
    model = module.RemotePointwiseRewardModel(arguments, SimpleNamespace(device="cpu"))
    sources = [[image] for image in open_images(edits[:3], "source")]
    found = model(prompt=texts(edits[:3]), image=open_images(edits[:3], "edited"), condition_images=sources)
    assert found.rewards.tolist() == pytest.approx(wanted[:3], abs=1e-5)


def test_verl_omni(edits: Edits, wanted: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    root = find("verl-project/verl-omni", "verl_omni")
    pytest.importorskip("verl", reason="not in this venv; `make test-trainers` has it")
    for name in ("verl_omni", "verl_omni.reward_loop", "verl_omni.reward_loop.reward_manager"):
        package = ModuleType(name)  # without its __init__.py, which imports vLLM-Omni
        package.__path__ = [str(root.parent / name.replace(".", "/"))]
        monkeypatch.setitem(sys.modules, name, package)
    multi = importlib.import_module("verl_omni.reward_loop.reward_manager.multi")
    images = to_tensor(edits[:3])

    def reward(number: int, **entry: Any) -> dict[str, Any]:
        return asyncio.run(run_verl_omni(multi, entry, images[number], edits[number]))

    found = [reward(number, source_dir=str(Path(edits[0]["source"]).parent)) for number in range(3)]
    assert [one["reward_score"] for one in found] == wanted[:3]
    assert found[0]["reward_extra_info"]["reward/editlane/editlane_missing"] == 0
    with pytest.raises(RuntimeError, match=r"Required sub-reward 'editlane' failed.*there is no image file"):
        reward(0, source_dir="/none", required=True)
    assert reward(0, source_dir="/none")["reward_score"] == 0  # `required: true` is in the manual for this


async def run_verl_omni(multi: Any, entry: dict[str, Any], image: Any, edit: dict[str, Any]) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from verl import DataProto

    function = {"path": "pkg://editlane.client.trainers", "name": "verl_omni_compute_score", "weight": 1.0} | entry
    rollout = {"pipeline": {"output_type": "image"}, "val_kwargs": {"pipeline": {"output_type": "image"}}}
    config = OmegaConf.create(
        {"reward": {"reward_functions": {"editlane": function}}, "actor_rollout_ref": {"rollout": rollout}}
    )
    import numpy as np

    def pack(value: Any) -> Any:
        packed = np.empty(1, dtype=object)
        packed[0] = value
        return packed

    data = DataProto.from_dict(
        tensors={"responses": image[None]},
        non_tensors={
            "data_source": pack("image_edit"),
            "reward_model": pack({"style": "model", "ground_truth": edit["instruction"]}),
            "extra_info": pack({"split": "train", "index": 0, "image": Path(edit["source"]).name}),
        },
    )
    result: dict[str, Any] = await multi.MultiVisualRewardManager(config, None, None).run_single(data)
    return result


def test_flow_grpo(edits: Edits, wanted: list[float]) -> None:
    path = find("yifan123/flow_grpo", "flow_grpo/rewards.py")
    line = "from editlane.client.trainers import flow_grpo_score\n    score_functions = {"
    module = run_file(path, "score_functions = {", line + '\n        "editlane": flow_grpo_score,')
    metadata = [{"source": edit["source"]} for edit in edits]
    score = module.multi_score("cpu", {"editlane": 0.5, "jpeg_compressibility": 0.0})
    details, _ = score(to_tensor(edits[:3]) / 255, texts(edits[:3]), metadata[:3])
    assert details["editlane"] == wanted[:3]
    assert details["avg"] == pytest.approx([one / 2 for one in wanted[:3]])
    metadata[1]["source"] = edits[3]["edited"]
    with pytest.raises(RewardError, match="1 of 3 edits have no reward: edit 1: decode"):
        score(to_tensor(edits[:3]) / 255, texts(edits[:3]), metadata[:3])


def test_edit_r1(edits: Edits, wanted: list[float]) -> None:
    path = find("PKU-YuanGroup/Edit-R1", "flow_grpo/rewards.py")
    line = "from editlane.client.trainers import edit_r1_score\n    score_functions = {"
    module = run_file(path, "score_functions = {", line + '\n        "mllm_editlane": edit_r1_score,')
    score = module.multi_score("cpu", {"mllm_editlane": 1.0})
    more = 24  # of 72 edits its own client would send the first 64 prompts again
    images, sources = to_tensor(edits[:3] * more) / 255, open_images(edits[:3] * more, "source")
    metadata = [{"requirement": ""}] * len(sources)
    details, _ = score(images, texts(edits[:3] * more), metadata, ref_images=sources)
    assert details["mllm_editlane"] == wanted[:3] * more


def test_edit_r1_by_its_own_client(edits: Edits, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_SERVER", server_url.removeprefix("http://"))
    module = run_file(find("PKU-YuanGroup/Edit-R1", "flow_grpo/rewards.py"))
    sources = open_images(edits[:3], "source")
    found, _ = module.mllm_score_continue("cpu")(sources, to_tensor(edits[:3]) / 255, texts(edits[:3]), [{}] * 3)
    assert len(found) == 3
    assert all(0 <= one <= 1 for one in found)  # of JPEG files, so not the rewards of the PNG files


def test_editscore_by_its_own_client(edits: Edits, wanted: list[float], server_url: str) -> None:
    path = "examples/OmniGen2-RL/omnigen2/grpo/reward_client_edit.py"
    host, _, port = server_url.removeprefix("http://").partition(":")
    client = run_file(find("VectorSpaceLab/EditScore", path)).RewardClient(host, int(port), max_retries=1)
    assert client.ping()
    sources = [[image] for image in encode(open_images(edits[:3], "source"))]
    about = [{"instruction": text} for text in texts(edits[:3])]
    found = client.evaluate(sources, encode(open_images(edits[:3], "edited")), about, "vlm")
    assert found[0] == pytest.approx(wanted[:3], abs=1e-5)


def test_unirl_by_its_client_of_editreward(edits: Edits, wanted: list[float], server_url: str) -> None:
    path = find("G-U-N/UniRL", "unirl/reward_evaluator/reward_evaluator.py")
    client = run_file(path).RewardEvaluatorClient(f"{server_url}/")
    images = [open_images(edits[:3], name) for name in ("source", "edited")]
    assert client.evaluate_editreward(*images, texts(edits[:3]))["scores"] == pytest.approx(wanted[:3], abs=1e-5)


def test_unirl_by_its_remote_backend(
    edits: Edits, wanted: list[float], server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(find("Tencent-Hunyuan/UniRL", "unirl").parent))
    remote = importlib.import_module("unirl.reward.remote")
    primitives = importlib.import_module("unirl.types.primitives")
    sources = [edit | {"edited": edit["source"]} for edit in edits[:3]]
    images = [primitives.Images(pixels=to_tensor(some) / 255) for some in (sources, edits[:3])]
    request = importlib.import_module("unirl.types.reward").RewardRequest(
        primitives={"text": primitives.Texts(texts=texts(edits[:3])), "image": images[0]},
        generated={"image": images[1]},
    )
    spec = remote.RemoteRewardSpec(
        base_url=server_url, required_rewards=("editlane",), image_format="PNG", max_retries=1
    )
    backend = remote.RemoteRewardBackend(config=spec, base_device="cpu")
    assert backend.is_available()
    found = backend.compute_rewards(request)
    assert found.successes == [True] * 3
    assert found.rewards == pytest.approx(wanted[:3], abs=1e-5)
