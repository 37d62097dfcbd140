"""Every step is a program that anyone can run: flags by name, help, one paragraph for a mistake."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from step_runs import run_step_program

STEPS = sorted(path for path in Path("scripts").glob("*.py"))
DEFAULT_CONFIGS = {"check_setup": "config.yaml", "check_robots": "robots.yaml", "serve_rewards": "reward.yaml"}
IDS = [path.stem for path in STEPS]


@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_the_help_shows_a_command_to_paste(step: Path, tmp_path: Path) -> None:
    done = run_step_program(step.stem, ["--help"], tmp_path)
    assert done.code == 0
    assert re.search(r"python scripts/", done.out)
    pasted = re.findall(r"(?<= )--[a-z-]+", done.out.split("options:")[0].split("\n\n", 1)[1])
    assert all(flag in done.out.split("options:")[1] for flag in pasted if step.stem != "gpulease")


@pytest.mark.parametrize("step", STEPS, ids=IDS)
@pytest.mark.parametrize("flags", [[], ["--no-such-flag", "1"]], ids=["no flags", "unknown flag"])
def test_wrong_flags_end_with_code_2_and_no_traceback(step: Path, flags: list[str], tmp_path: Path) -> None:
    if step.stem in DEFAULT_CONFIGS and not flags:  # without the file they take the demo's
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / DEFAULT_CONFIGS[step.stem]).touch()
    if step.stem == "example_client" and not flags:  # nothing of this machine may answer
        flags = ["--url", "http://127.0.0.1:1"]
    done = run_step_program(step.stem, flags, tmp_path)
    assert done.code == 2
    assert "Traceback" not in done.err
    assert done.err.startswith(("error: ", "usage: "))


def test_a_step_that_is_started_from_elsewhere_finds_its_package_and_ends_with_one_paragraph(tmp_path: Path) -> None:
    command = [sys.executable, Path("scripts/split_lanes.py").resolve(), "--lanes", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "error: argument --lanes: '0' is not a whole number of 1 or more. `python scripts/split_lanes.py --help` "
        "describes every flag.\n"
    )


@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_no_step_shadows_a_module(step: Path) -> None:
    """scripts/ comes first on sys.path, so a step's name must not be that of something else."""
    found = importlib.util.find_spec(step.stem)
    assert found is None or Path(str(found.origin)).resolve() == step.resolve()
