"""What changes between two runs: only what it concerns is computed again. What breaks a run is in tests/faults."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from project import CATEGORIES, ROOT, Project


@pytest.mark.runs
def test_more_lanes_another_order_and_new_items_compute_only_what_is_new(finished, other_project) -> None:
    project, before = finished, finished.scores()
    assert (project.computed("edit"), project.computed("score")) == (20, 20)

    project.config["lanes"] = 3
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (20, 20)
    assert project.scores() == before

    project.write_items([*range(25, 19, -1), *reversed(range(20))])
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (26, 26)
    fresh = other_project()
    fresh.config["lanes"] = 1
    fresh.write_items(range(26))
    fresh.run("merge_scores")
    assert project.scores() == fresh.scores()


@pytest.mark.runs
def test_a_changed_rubric_judges_only_its_category_again(finished) -> None:
    project, before = finished, {row["item_id"]: row for row in finished.scores()}
    own = yaml.safe_load((project.folder / "resources/protocols/rubric.yaml").read_text(encoding="utf-8"))
    own["rubrics"]["因果"] += "\nLook at the effect twice."
    path = project.folder / "resources/own.yaml"
    path.write_text(yaml.safe_dump(own, allow_unicode=True, sort_keys=False), encoding="utf-8")
    project.config["judges"]["judge"]["protocol"] = "resources/own.yaml"
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (20, 24)
    after = {row["item_id"]: row for row in project.scores()}
    changed = {row["category"] for item, row in after.items() if row["score"] != before[item]["score"]}
    assert changed == {"因果"}


def run_step(project: Project, program: str, *flags: str, code: int = 0) -> str:
    command = [sys.executable, str(ROOT / "scripts" / program), "--run-dir", str(project.results), *flags]
    done = subprocess.run(command, cwd=project.folder, env=project.environment(), text=True, capture_output=True)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.runs
def test_lanes_judged_by_two_protocols_are_no_table_and_the_same_command_judges_the_changed_ones_again(
    finished,
) -> None:
    """As if the protocol was replaced while lane 1 waited, and then put back: Snakemake's record says all is well."""
    project, before = finished, finished.scores()
    own = yaml.safe_load((project.folder / "resources/protocols/rubric.yaml").read_text(encoding="utf-8"))
    own["rubrics"]["因果"] += "\nLook at the effect twice."
    other = project.folder / "other.yaml"
    other.write_text(yaml.safe_dump(own, allow_unicode=True, sort_keys=False), encoding="utf-8")
    tables = {path: path.stat().st_mtime_ns for path in project.results.glob("fake-a/[sc]*/judge/**/lane1.parquet")}
    assert len(tables) == 5 + 1

    results, params = str(project.results), json.dumps(project.config["judges"]["judge"]["params"])
    lane = ["--editors", "fake-a", "--judge", "judge", "--adapter", "fake", "--params", params, "--lane", "1"]
    run_step(
        project, "score_lane.py", *lane, "--protocol", str(other), "--categories", *CATEGORIES,
        "--plan", f"{results}/plan.parquet",
    )  # fmt: skip
    for path, time in tables.items():
        os.utime(path, ns=(time, time))
    assert project.computed("score") == 22
    said = run_step(
        project, "merge_scores.py", "--editors", "fake-a", "--judges", "judge", "--categories", *CATEGORIES,
        "--lanes", "2", "--items", f"{results}/items.parquet", "--out", f"{results}/scores.parquet", code=2,
    )  # fmt: skip
    assert "those of the judge judge, category 因果 were made with different settings" in said
    assert all(f"因果/lane{number}.parquet" in said for number in (0, 1))
    assert "Run the same command again" in said

    (project.results / "scores.parquet").unlink()  # as Snakemake does when a job fails
    project.run()
    assert (project.computed("edit"), project.computed("score")) == (20, 22)
    assert project.scores() == before


@pytest.mark.runs
def test_a_changed_editor_setting_edits_and_judges_again(finished) -> None:
    project, before = finished, finished.scores()
    project.config["seed"] = 43
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (40, 40)
    project.config["seed"] = 42  # the images of the first run are gone, their scores are not
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (60, 40)
    assert project.scores() == before


@pytest.mark.runs
def test_an_edited_image_that_was_lost_or_changed_is_made_again(finished) -> None:
    project, before = finished, finished.scores()
    images = sorted((project.results / "fake-a/images").rglob("*.png"))
    images[0].unlink()
    images[1].write_bytes(images[2].read_bytes())
    project.run("merge_scores", "--forcerun", "edit_lane")
    assert project.computed("edit") == 22
    assert project.scores() == before


def test_a_run_without_work_loads_no_model(finished) -> None:
    project = finished
    project.run("merge_scores", "--forcerun", "edit_lane", "score_lane")
    logs = [path.read_text(encoding="utf-8") for path in (project.results / "logs").rglob("lane*.log")]
    assert len(logs) == 4
    assert all("10 of them in the journal" in log and " score " not in log and " edited " not in log for log in logs)
    assert (project.computed("edit"), project.computed("score")) == (20, 20)
