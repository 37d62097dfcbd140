"""Checkpoints that an adapter would refuse are found before a lane loads them, with the same words."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adapters import built
from preflight_project import fake_config, make_context, write_project

from editlane.core.errors import UserError
from editlane.core.findings import Finding
from editlane.editors.families import FAMILIES
from editlane.judges.vlm import checkpoints
from editlane.models.registry import find_adapter
from editlane.preflight import architectures
from editlane.preflight.architectures import check_architectures

TinyModel = Callable[[str], Path]
SCALAR = "resources/protocols/scalar.yaml"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_pipeline(folder: Path, name: str, index: str = "model_index.json", **entries: Any) -> Path:
    """Write the small files of a pipeline's checkpoint, whose only component has no weights."""
    (folder / "scheduler").mkdir(parents=True, exist_ok=True)
    (folder / "scheduler/scheduler_config.json").write_text("{}")
    content = {"_class_name": name, "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]} | entries
    (folder / index).write_text(json.dumps(content))
    return folder


def write_judge(folder: Path, model_type: Any, *tensors: str, processor: str = "preprocessor_config.json") -> Path:
    """Write a judge's checkpoint whose weights are empty."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    (folder / processor).write_text(json.dumps({"image_processor": {}}))
    header = {name: {"dtype": "F32", "shape": [2, 0], "data_offsets": [0, 0]} for name in tensors}
    content = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(content).to_bytes(8, "little") + content)
    return folder


def check_all(kind: str, adapter: str, model: Path | str, *, conda: bool = False, **params: Any) -> list[Finding]:
    """Return the findings about an editor or a judge with this checkpoint."""
    settings = {"adapter": adapter, "model": str(model), "params": params}
    scalar = {"protocol": SCALAR} if adapter == "reward-head" else {}
    config = fake_config(**{f"{kind}s": {"one": settings | scalar}})
    return list(check_architectures(make_context(config, conda=conda)))


def check(kind: str, adapter: str, model: Path | str, **options: Any) -> Finding:
    """Return the one finding."""
    (found,) = check_all(kind, adapter, model, **options)
    assert found.what == "architecture"
    assert found.text.startswith(f"{kind} one: ")
    return found


def test_an_editing_pipeline_with_its_own_params_passes(project: Path) -> None:
    found = check("editor", "diffusers", write_pipeline(project / "模型", "FluxKontextPipeline"), guidance_scale=2.5)
    assert (found.level, found.text) == (
        "pass",
        "editor one: the installed diffusers knows its class, which takes these params",
    )


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("Tomorrow3Pipeline", {}, r"needs the pipeline class 'Tomorrow3Pipeline', which diffusers \d.* does not have"),
        ("FluxPipeline", {}, "FluxPipeline does not accept an image with a prompt, so it cannot edit"),
        ("FluxKontextPipeline", {"guidance_scal": 2}, "guidance_scal.*Did you mean 'guidance_scale'"),
        ("FluxKontextPipeline", {"true_cfg_scale": 4}, "true_cfg_scale is 4 without a negative_prompt"),
        ("WanImageToVideoPipeline", {}, "makes a video"),
    ],
)
def test_what_the_adapter_refuses_is_told_before_and_in_the_same_words(
    project: Path, name: str, params: dict[str, Any], message: str
) -> None:
    folder = write_pipeline(project / "model", name)
    found = check("editor", "diffusers", folder, **params)
    assert found.level == "fail"
    with pytest.raises(UserError, match=message) as refused:
        built(find_adapter("editor", "diffusers"), model=str(folder), params=params)
    assert found.text == f"editor one: {refused.value}"


def test_a_modular_checkpoint_is_read_as_far_as_its_index(project: Path) -> None:
    index = "modular_model_index.json"
    folder = write_pipeline(project / "model", "Flux3ModularPipeline", index)
    assert check_all("editor", "diffusers", folder) == [], "only its blocks tell what it takes"
    found = check("editor", "diffusers", folder, compile=True)
    assert (found.level, "compile does not work with modular pipelines" in found.text) == ("fail", True)
    write_pipeline(folder, "Flux3ModularPipeline", index, scheduler=["os", "EvilScheduler", {"subfolder": "scheduler"}])
    assert "is of 'os'; only classes of diffusers and transformers" in check("editor", "diffusers", folder).text
    write_pipeline(folder, "Flux2Pipeline")
    assert "has both model_index.json" in check("editor", "diffusers", folder).text


def test_a_qwen_image_edit_editor_needs_one_of_its_classes(project: Path) -> None:
    folder = write_pipeline(project / "model", "FluxKontextPipeline")
    found = check("editor", "qwen-image-edit", folder, negative_prompt=" ")
    assert (found.level, "has the pipeline class 'FluxKontextPipeline'" in found.text) == ("fail", True)


@pytest.mark.parametrize("adapter", ["qwen3-vl", "vlm"])
def test_an_editor_in_the_place_of_a_judge_is_told(project: Path, adapter: str) -> None:
    found = check("judge", adapter, write_pipeline(project / "管线", "FluxKontextPipeline"))
    assert found.level == "fail" and "is a diffusers pipeline: it has no config.json" in found.text


@pytest.mark.parametrize("processor", ["preprocessor_config.json", "processor_config.json"])
def test_a_chat_vlm_that_transformers_knows_passes(project: Path, processor: str) -> None:
    folder = write_judge(project / "judge", "qwen3_5", processor=processor)
    found = check("judge", "vlm", folder)
    assert (found.level, found.text) == ("pass", "judge one: the installed transformers knows its class")


def test_a_model_that_sees_nothing_is_told(project: Path) -> None:
    folder = write_judge(project / "judge", "qwen2")
    assert "has the type 'qwen2', which does not see images" in check("judge", "vlm", folder).text
    assert "the adapter qwen3-vl accepts qwen3_vl" in check("judge", "qwen3-vl", folder).text
    write_judge(folder, ["x"])
    assert "has the type ['x'], which does not see images" in check("judge", "vlm", folder).text
    assert "has the type ['x']; the adapter qwen3-vl accepts" in check("judge", "qwen3-vl", folder).text
    write_judge(folder, "qwen3_vl")
    for processor in ({}, {"feature_extractor": {}}):
        (folder / "preprocessor_config.json").unlink(missing_ok=True)
        (folder / "processor_config.json").write_text(json.dumps(processor))
        for adapter in ("vlm", "qwen3-vl"):
            found = check("judge", adapter, folder)
            assert (found.level, "has no image processor (preprocessor_config.json" in found.text) == ("fail", True)


def test_the_head_of_a_reward_model_is_looked_for_in_the_headers(project: Path) -> None:
    folder = write_judge(project / "judge", "qwen2_5_vl", "model.a.weight", "rm_head.0.weight", "rm_head.0.bias")
    assert check("judge", "reward-head", folder, head="rm_head").level == "pass"
    found = check("judge", "reward-head", folder)
    assert found.level == "fail"
    assert "There are no weights of a head 'score' in model.safetensors" in found.text
    assert "Set `head` in `params` to the name of one that is there: rm_head" in found.text
    found = check("judge", "reward-head", folder, head="rm_head", output=2)
    assert "output is 2, but the head 'rm_head' has 2, counted from 0" in found.text
    (project / "头.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    found = check("judge", "reward-head", folder, head_file="头.safetensors")
    assert "The weights of the head cannot be read" in found.text


@pytest.mark.parametrize("conda", [True, False])
def test_without_the_libraries_of_the_lane_nothing_passes_that_was_not_checked(
    project: Path, monkeypatch: pytest.MonkeyPatch, conda: bool
) -> None:
    if not conda:
        monkeypatch.setattr(architectures, "find_spec", lambda name: None)
    editor = write_pipeline(project / "model", "Tomorrow3Pipeline")
    judge = write_judge(project / "judge", "tomorrow", "rm_head.weight")
    assert check_all("editor", "diffusers", editor, conda=conda) == []
    assert check_all("judge", "vlm", judge, conda=conda) == []
    assert check("judge", "reward-head", judge, conda=conda).level == "fail", "the head is in the files"


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.refused])
def test_a_class_that_is_known_not_to_edit_fails_without_any_library(project: Path, name: str) -> None:
    found = check("editor", "diffusers", write_pipeline(project / "model", name), conda=True)
    assert (found.level, found.text) == (
        "fail",
        f"editor one: {name} {FAMILIES[name].refused}. Choose another checkpoint.",
    )


@pytest.mark.parametrize(("adapter", "params"), [("vlm", {}), ("qwen3-vl", {}), ("reward-head", {"head": "rm_head"})])
def test_what_the_cache_of_the_hub_lacks_is_downloaded(
    project: Path, monkeypatch: pytest.MonkeyPatch, adapter: str, params: dict[str, Any]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(project / "hub"))
    repository = project / "hub/models--org--name"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("abc")
    snapshot = write_judge(repository / "snapshots/abc", "qwen3_vl", "rm_head.weight")
    (snapshot / "preprocessor_config.json").unlink()
    assert check("judge", adapter, "org/name", **params).level == "pass"
    found = check("judge", adapter, snapshot, **params)
    assert (found.level, "has no image processor" in found.text) == ("fail", True), "nothing is downloaded to a folder"


def test_nothing_is_said_of_hub_names_and_of_adapters_without_a_model() -> None:
    config = fake_config(editors={"one": {"adapter": "diffusers", "model": "org/name"}})
    assert list(check_architectures(make_context(config))) == []


PROGRAM = """
import json, sys
from importlib.machinery import PathFinder

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "diffusers", "transformers", "vllm") and (spec := PathFinder.find_spec(name)):
            spec.loader = self  # they may be found, but not loaded
            return spec

    def create_module(self, spec):
        pass

    def exec_module(self, module):
        raise SystemExit(f"{module.__name__} is imported")

sys.meta_path.insert(0, Refusing())

from preflight_project import fake_config, make_context
from editlane.preflight.architectures import check_architectures

for one in check_architectures(make_context(fake_config(**json.loads(sys.argv[1])))):
    print(one.level, one.text)
import transformers
"""


def test_no_model_library_is_imported(project: Path) -> None:
    editor, judge = (
        write_pipeline(project / "e", "FluxKontextPipeline"),
        write_judge(project / "j", "qwen3_vl", "score.weight"),
    )
    adapters = {"a": "vlm", "b": "qwen3-vl", "c": "reward-head"}
    settings = {name: {"adapter": adapter, "model": str(judge)} for name, adapter in adapters.items()}
    settings["c"]["protocol"] = SCALAR
    config = {"editors": {"x": {"adapter": "diffusers", "model": str(editor)}}, "judges": settings}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(config)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert [line.split(":")[0] for line in ended.stdout.splitlines()] == [
        *("pass editor x", "pass judge a", "pass judge b", "pass judge c")
    ]
    assert ended.stderr == "transformers is imported\n", "the last line of the program shows that it would be noticed"


def test_the_types_are_those_that_transformers_loads() -> None:
    from transformers.models.auto import modeling_auto

    assert checkpoints._read_types() == set(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


@pytest.mark.parametrize(
    ("kind", "adapter", "name", "params"),
    [
        ("editor", "diffusers", "flux-kontext", {"num_inference_steps": 2}),
        ("judge", "vlm", "qwen3.5", {}),
        ("judge", "qwen3-vl", "qwen3-vl", {}),
        ("judge", "reward-head", "reward-model", {"head": "rm_head"}),
    ],
)
def test_whole_checkpoints_pass(
    kind: str, adapter: str, name: str, params: dict[str, Any], tiny_model: TinyModel
) -> None:
    assert check(kind, adapter, tiny_model(name), **params).level == "pass"
