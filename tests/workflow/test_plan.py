"""What a dry run plans, without running anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conda_double import install_conda
from copied_checkout import copy_checkout, run_in
from PIL import Image

ROOT = Path(__file__).parents[2]


def planned(text: str) -> dict[str, int]:
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


def dry_run(*arguments: str, path: Path | None = None) -> str:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--dry-run",
        "--forceall",
        "--printshellcmds",
        "--cores",
        "all",
        *arguments,
    ]
    env = os.environ | ({"PATH": f"{path}:{os.environ['PATH']}"} if path else {})
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """A test double of conda, on PATH."""
    return install_conda(tmp_path / "conda")


def test_the_real_run_plans_six_edit_and_six_score_lanes_each_with_a_gpu_of_its_own(conda: Path) -> None:
    text = dry_run("--configfile", "config/qwen.yaml", "--resources", "gpu=6", "--sdm", "conda", path=conda)
    counts = planned(text)
    assert (counts["edit_lane"], counts["score_lane"]) == (6, 6)
    assert counts["merge_scores"] == counts["make_report"] == 1
    jobs = re.findall(r"^rule (edit_lane|score_lane):\n(.*?)(?=^rule |^\[|^Job stats)", text, re.DOTALL | re.MULTILINE)
    assert len(jobs) == 12
    assert all(re.search(r"resources: .*\bgpu=1\b", job) for _, job in jobs)
    commands = re.findall(r"python scripts/gpulease\.py -n 1 -- python scripts/(edit|score)_lane\.py", text)
    assert (commands.count("edit"), commands.count("score")) == (6, 6)
    assert {int(lane) for lane in re.findall(r"edit_lane\.py .*?--lane (\d+)", text, re.DOTALL)} == set(range(6))


def test_the_small_run_plans() -> None:
    counts = planned(dry_run("--configfile", "config/small.yaml"))
    assert counts["merge_scores"] == counts["make_report"] == 1


def test_every_config_of_the_repository_is_planned_here() -> None:
    found = {path.name for path in (ROOT / "config").glob("*.yaml")} - {
        "reward.yaml",
        "fleet.yaml",
        "robots.yaml",
    }  # of servers
    assert found == {"config.yaml", "gallery.yaml", "qwen.yaml", "small.yaml"}


def test_the_demo_builds_what_it_needs_itself() -> None:
    counts = planned(dry_run("--configfile", "config/config.yaml"))
    assert counts["extract_demo_photos"] == 1
    assert counts["build_tiny_model"] == 5
    assert (counts["edit_lane"], counts["score_lane"]) == (6, 4)
    assert counts["merge_scores"] == counts["make_report"] == 1


def test_the_worked_example_plans_without_a_model(tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    for name in ("careful", "hasty", "lazy", "asked"):
        (tmp_path / "resources/demo/gallery" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "resources/demo/gallery" / name / "a.png")
    snakemake = (sys.executable, "-m", "snakemake", "--dry-run", "--forceall", "--cores", "all")
    counts = planned(run_in(tmp_path, *snakemake, "--configfile", "config/gallery.yaml"))
    assert "build_tiny_model" not in counts
    assert (counts["edit_lane"], counts["score_lane"]) == (3 * 2, 2)


def test_every_editor_and_every_judge_has_a_job_per_lane(project) -> None:
    project.config["editors"] = {"a": {"adapter": "fake"}, "b": {"adapter": "fake", "params": {"steps": 2}}}
    project.config["judges"] = {"j": {"adapter": "fake"}, "k": {"adapter": "fake", "params": {"behaviour": "random"}}}
    project.config["lanes"] = 3
    counts = planned(project.run("--dry-run"))
    assert (counts["edit_lane"], counts["score_lane"]) == (2 * 3, 2 * 3)
