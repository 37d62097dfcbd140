"""The reward functions for trainers, called as each trainer calls them; tests/trainers has the trainers themselves."""

import asyncio
import importlib.util
import inspect
import io
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from reward_double import Double, compute_reward, fail

import editlane.client.openrlhf
from editlane.client import RewardError, trainers

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def where_the_server_is(server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITLANE_REWARD_URL", server.url)
    monkeypatch.delenv("EDITLANE_REWARD_TOKEN", raising=False)


def png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


SOURCES, EDITED = [png(255 - one) for one in PIXELS], [png(one) for one in PIXELS]


def expected(number: int, instruction: str) -> float:
    return compute_reward(SOURCES[number], EDITED[number], instruction)


def break_item(server: Double, instruction: str) -> None:
    real = server.answer_item
    server.answer_item = lambda one, attempt: (
        fail(one, "mass") if one["instruction"] == instruction else real(one, attempt)
    )


def test_trl_gets_none_for_what_has_no_score(server: Double, caplog: pytest.LogCaptureFixture) -> None:
    break_item(server, "b")
    metrics: dict[str, float] = {}
    found = trainers.trl_reward(
        prompts=["p", "p"], completions=["a", "b"], completion_ids=[[1], [2]], source=SOURCES, edited=EDITED,
        url=["a column", "of the dataset"], trainer_state=None, log_metric=metrics.__setitem__, log_extra=None,
    )  # fmt: skip
    assert found == [expected(0, "a"), None]
    assert metrics == {"editlane_missing": 0.5}
    assert "1 of 2 edits have no reward: edit 1: mass: told to fail" in caplog.text


@pytest.mark.parametrize(
    "completions",
    [
        [[{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]],
        [[{"role": "assistant", "content": [{"type": "text", "text": one}]}] for one in "ab"],
    ],
)
def test_trl_may_send_messages(completions: list[Any]) -> None:
    found = trainers.trl_reward(completions=completions, source=SOURCES, edited=EDITED)
    assert found == [expected(0, "a"), expected(1, "b")]


@pytest.mark.parametrize("name", ["image", "images"])
def test_trl_may_have_the_source_in_the_column_of_the_policy(server: Double, name: str) -> None:
    pictures = [Image.open(io.BytesIO(one)) for one in SOURCES]
    column = pictures if name == "image" else [[one] for one in pictures]
    columns = {name: column, "edited": EDITED, "category": ["物理", None]}
    assert trainers.trl_reward(completions=["a", "b"], **columns) == [expected(0, "a"), expected(1, "b")]
    items = [one for body in server.asked for one in body["items"]]
    assert sorted(one.get("category") or "" for one in items) == ["", "物理"]


def test_trl_judges_the_instruction_of_the_dataset_if_it_has_one() -> None:
    found = trainers.trl_reward(completions=["x", "y"], instruction=["a", "b"], source=SOURCES, edited=EDITED)
    assert found == [expected(0, "a"), expected(1, "b")]


@pytest.mark.parametrize("columns", [{}, {"source": SOURCES}, {"edited": EDITED}])
def test_a_dataset_without_images_is_an_error(columns: dict[str, Any]) -> None:
    with pytest.raises(RewardError, match="needs the columns 'source' and 'edited'"):
        trainers.trl_reward(completions=["a", "b"], **columns)


def test_columns_of_different_lengths_are_an_error() -> None:
    with pytest.raises(RewardError, match="differ in length"):
        trainers.trl_reward(completions=["a", "b"], source=SOURCES, edited=EDITED[:1])


def test_verl_gets_a_score_for_each_response() -> None:
    info = {"source": SOURCES[0], "edited": EDITED[0], "num_turns": None, "rollout_reward_scores": {}}
    found = trainers.verl_compute_score(data_source="x", solution_str="a", ground_truth=None, extra_info=info)
    assert found == {"score": expected(0, "a"), "editlane_missing": 0.0}
    assert not inspect.iscoroutinefunction(trainers.verl_compute_score)  # verl's manager `remote` refuses those


def test_verl_never_gets_a_zero_unasked(server: Double) -> None:
    break_item(server, "a")
    info = {"source": SOURCES[0], "edited": EDITED[0]}
    with pytest.raises(RewardError, match="1 of 1 edits have no reward: edit 0: mass"):
        trainers.verl_compute_score("x", "a", None, info)
    assert trainers.verl_compute_score("x", "a", None, info, on_error="zero") == {"score": 0, "editlane_missing": 1}
    with pytest.raises(RewardError, match=r"on_error is 'Zero'\. Known: raise, zero"):
        trainers.verl_compute_score("x", "a", None, info, on_error="Zero")  # type: ignore[arg-type]
    with pytest.raises(RewardError, match="no 'edited' in extra_info"):
        trainers.verl_compute_score("x", "a", None, {"source": SOURCES[0]})


def test_verl_omni_takes_the_source_from_extra_info_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(SOURCES[0])
    image = torch.from_numpy(PIXELS[0]).permute(2, 0, 1)

    def ask(**given: Any) -> dict[str, float]:
        extra = {"reward_router_address": None}
        return asyncio.run(trainers.verl_omni_compute_score("image_edit", ground_truth="a", **extra, **given))

    wanted = {"score": expected(0, "a"), "editlane_missing": 0.0}
    assert ask(solution_image=image, extra_info={"source": {"bytes": SOURCES[0], "path": None}}) == wanted
    assert ask(solution_image=image[None], extra_info={"image": "0.png"}, source_dir=str(tmp_path)) == wanted
    with pytest.raises(RewardError, match="has no source"):
        ask(solution_image=image, extra_info={"image": "0.png"})
    with pytest.raises(RewardError, match="there is no image file"):
        ask(solution_image=image, extra_info={"image": "1.png"}, source_dir=str(tmp_path))


@pytest.mark.parametrize("form", ["tensor", "array"])
def test_flow_grpo_gets_a_list_and_a_dictionary(form: str, tmp_path: Path) -> None:
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255 if form == "tensor" else PIXELS
    (tmp_path / "1.png").write_bytes(SOURCES[1])
    metadata = [{"source": SOURCES[0]}, {"image": "1.png"}]
    score = trainers.flow_grpo_score("cuda", source_dir=str(tmp_path))
    assert score(images, ["a", "b"], metadata) == ([expected(0, "a"), expected(1, "b")], {})
    assert "device" in trainers.flow_grpo_score.__code__.co_varnames  # else flow_grpo calls it without one


def test_edit_r1_gives_the_sources_first(server: Double) -> None:
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
    sources = [Image.open(io.BytesIO(one)) for one in SOURCES]
    found = trainers.edit_r1_score("cuda")(sources, images, ["a", "b"], [{"requirement": ""}] * 2)
    assert found == ([expected(0, "a"), expected(1, "b")], {})
    break_item(server, "b")
    with pytest.raises(RewardError, match="1 of 2 edits have no reward: edit 1"):
        trainers.edit_r1_score()(sources, images, ["a", "b"], [{}] * 2)


def test_ms_swift_gets_a_registered_function(server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    swift = ModuleType("swift.rewards")
    swift.ORM, swift.orms = type("ORM", (), {"__init__": lambda self, args=None: None}), {}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "swift", ModuleType("swift"))
    monkeypatch.setitem(sys.modules, "swift.rewards", swift)
    trainers.register_ms_swift()
    reward = swift.orms["editlane"](args=None)
    columns = {"source": SOURCES, "edited": EDITED, "trainer_state": None, "messages": [[], []]}
    assert reward(["a", "b"], **columns) == [expected(0, "a"), expected(1, "b")]
    break_item(server, "b")
    with pytest.raises(RewardError, match="edit 1: mass"):
        reward(["a", "b"], **columns)


def test_openrlhf_loads_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.png").write_bytes(SOURCES[0])
    (tmp_path / "e.png").write_bytes(EDITED[0])
    label = json.dumps({"source": str(tmp_path / "s.png"), "edited": str(tmp_path / "e.png")})
    spec = importlib.util.spec_from_file_location("reward_func", editlane.client.openrlhf.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.reward_func(["<s>Edit it:a b<|im_end|>\n"], ["<s>Edit it:"], [label])
    assert found["rewards"].tolist() == [pytest.approx(expected(0, "a b"))]
    assert torch.tensor([found["rewards"]]).shape == (1,)  # what OpenRLHF makes of it
    with pytest.raises(RewardError, match="no 'instruction' in label"):
        module.reward_func(["<image>Edit it:a"], ["Edit it:"], [label])
    with_instruction = json.dumps(json.loads(label) | {"instruction": "b"})
    found = module.reward_func(["<image>Edit it:a"], ["Edit it:"], [with_instruction])
    assert found["scores"].tolist() == [pytest.approx(expected(0, "b"))]


def test_a_missing_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITLANE_REWARD_URL")
    with pytest.raises(RewardError, match="Set EDITLANE_REWARD_URL"):
        trainers.trl_reward(completions=["a", "b"], source=SOURCES, edited=EDITED)


def test_the_token_comes_from_its_variable(server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    server.token = "sesame-1234"
    monkeypatch.setenv("EDITLANE_REWARD_TOKEN", "sesame-1234")
    found = trainers.trl_reward(completions=["a", "b"], source=SOURCES, edited=EDITED, server_url=server.url)
    assert found == [expected(0, "a"), expected(1, "b")]


def test_a_trainers_environment_needs_nothing_of_editlanes() -> None:
    heavy = {"pydantic", "numpy", "pyarrow", "pandas", "torch", "PIL", "requests", "yaml"}
    code = f"import sys, editlane.client, editlane.client.openrlhf; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd="scripts", capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
