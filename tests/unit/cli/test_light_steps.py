"""A lane that finds all its work in the journal imports no model library: seen in the process of the step."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from step_commands import CATEGORIES, GOOD, Flags
from step_runs import SCRIPTS, make_arguments, run_step_program, write_inputs

from editlane.core.paths import RunPaths
from editlane.lanes.lane_status import read_heartbeats

MODELS = {"torch", "transformers", "diffusers", "accelerate", "huggingface_hub", "safetensors"}
TinyModel = Callable[[str], Path]


def imported(step: str, flags: Flags, folder: Path) -> set[str]:
    """The packages that a process of this step imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPTS / f"{step}.py"), *make_arguments(flags)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.partition(".")[0] for line in lines}


@pytest.fixture(scope="module")
def run(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Flags]]:
    """A folder in which one lane was edited and judged by tiny models, and the flags with which it was."""
    folder = tmp_path_factory.mktemp("光")
    write_inputs(folder)
    editor = {"--adapter": ["qwen-image-edit"], "--model": [str(tiny_model("qwen-image-edit-plus"))]}
    editor |= {"--params": [json.dumps({"num_inference_steps": 2, "true_cfg_scale": 1.0, "height": 64, "width": 64})]}
    judge = {"--adapter": ["qwen3-vl"], "--model": [str(tiny_model("qwen3-vl"))]}
    flags = GOOD | {"edit_lane": GOOD["edit_lane"] | editor, "score_lane": GOOD["score_lane"] | judge}
    with pytest.MonkeyPatch.context() as patch:
        from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as pipeline

        patch.setattr(pipeline, "VAE_IMAGE_SIZE", 128 * 128)  # a megapixel of the source is most of the work of an edit
        for step in ("prepare_items", "split_lanes", "edit_lane", "draw_canary", "plan_controls", "score_lane"):
            done = run_step_program(step, flags[step], folder)
            assert done.code == 0, done.err
    return folder, flags


@pytest.mark.parametrize("step", ["edit_lane", "score_lane"])
def test_a_lane_with_nothing_left_to_do_imports_no_model_library(run: tuple[Path, dict[str, Flags]], step: str) -> None:
    folder, flags = run
    names = {"edit_lane": "a/edits", "score_lane": "a/scores/j"}
    outputs = [f"run/{names[step]}/{category}/lane0.parquet" for category in CATEGORIES]
    for path in outputs:
        (folder / path).unlink()
    found = imported(step, flags[step], folder)
    assert {"editlane", "pyarrow"} <= found
    assert found & MODELS == set()
    assert all((folder / path).is_file() for path in outputs)


def test_a_lane_with_work_tells_what_its_loading_took(run: tuple[Path, dict[str, Flags]]) -> None:
    for status in read_heartbeats(RunPaths(run[0] / "run")):
        if status.stage == "score":  # of the processes of this test the first that imports its libraries
            assert status.transfer_seconds > 0
            assert status.load_seconds > status.transfer_seconds
