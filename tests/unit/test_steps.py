"""Every step is a program that anyone can run: flags by name, help, one paragraph for a mistake."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = sorted(path for path in Path("scripts").glob("*.py"))
IDS = [path.stem for path in STEPS]


def run(step: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, step, *flags], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_the_help_shows_a_command_to_paste(step: Path) -> None:
    done = run(step, "--help")
    assert done.returncode == 0
    assert re.search(r"python scripts/", done.stdout)
    pasted = re.findall(r"(?<= )--[a-z-]+", done.stdout.split("options:")[0].split("\n\n", 1)[1])
    assert all(flag in done.stdout.split("options:")[1] for flag in pasted if step.stem != "gpulease")


@pytest.mark.parametrize("step", STEPS, ids=IDS)
@pytest.mark.parametrize("flags", [[], ["--no-such-flag", "1"]], ids=["no flags", "unknown flag"])
def test_wrong_flags_end_with_code_2_and_no_traceback(step: Path, flags: list[str]) -> None:
    done = run(step, *flags)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "usage:" in done.stderr


@pytest.mark.parametrize("step", STEPS, ids=IDS)
def test_no_step_shadows_a_module(step: Path) -> None:
    """scripts/ comes first on sys.path, so a step's name must not be that of something else."""
    found = importlib.util.find_spec(step.stem)
    assert found is None or Path(str(found.origin)).resolve() == step.resolve()


EDIT = ["--run-dir", "r", "--editor", "e", "--lane", "0", "--seed", "1", "--shards", "none.parquet", "--edits", "o"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--adapter", "fak"], "Unknown editor 'fak'. Did you mean 'fake'?"),
        (["--adapter", "fake", "--params", "{"], "--params is not JSON"),
        (["--adapter", "fake", "--params", "[1]"], "give a JSON object"),
        (["--adapter", "fake", "--params", '{"second": 1}'], "Did you mean 'seconds'"),
        (["--adapter", "diffusers", "--model", "./none"], "./none"),
        (["--adapter", "fake"], "none.parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_lane_names_the_mistake_before_it_writes_anything(tmp_path: Path, flags: list[str], message: str) -> None:
    step = Path("scripts/edit_lane.py").resolve()
    done = subprocess.run(
        [sys.executable, step, *EDIT, *flags], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


PLAN = ["--editors", "a", "--repeats", "0", "--seed", "1", "--run-dir", "r", "--out", "o"]


@pytest.mark.parametrize(
    ("step", "flags", "message"),
    [
        ("plan_controls", ["--items", "none.parquet", "--share", "1", *PLAN], "There is no table none.parquet"),
        (
            "plan_controls",
            ["--items", "none.parquet", "--share", "9", *PLAN],
            "--share is 9.0; use a number from 0 to 4",
        ),
        ("draw_canary", ["--items", "none", "--photos", "p", "--out", "o"], "Cannot read the canary set none"),
        (
            "measure_preservation",
            ["--run-dir", "r", "--editor", "a", "--edits", "none.parquet", "--out", "o"],
            "no table",
        ),
    ],
)
def test_a_wrong_value_of_a_flag_is_one_paragraph_and_writes_nothing(
    step: str, flags: list[str], message: str, tmp_path: Path
) -> None:
    command = [sys.executable, Path("scripts").resolve() / f"{step}.py", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
