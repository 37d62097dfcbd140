"""Section 9 of the design: whatever kills a run, finished items stay and nothing is computed twice."""

import os
import signal
from pathlib import Path

import pytest
import yaml
from project import Project, wait_for

ITEMS = 20


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The scores of a run that nothing disturbed, with the config that all tests here use."""
    project = Project(tmp_path_factory.mktemp("undisturbed"))
    slow(project)
    project.run("merge_scores")
    return project.scores()


def slow(project) -> None:
    switch = {"kill_switch": "switch"}
    project.config["editors"]["fake-a"]["params"] = {"seconds": 0.15, "failure_rate": 0.1, **switch}
    project.config["judges"]["judge"]["params"] |= {"seconds": 0.03, **switch}


def lanes_of(project) -> list[int]:
    """Process ids of this project's lanes, found by their working folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                here = (entry / "cwd").resolve() == project.folder.resolve()
            except OSError:
                continue
            if here and b"_lane.py" in command and b"gpulease" not in command:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize(("stage", "after"), [("edit", 0), ("edit", 9), ("score", 12)])
def test_sigkill_to_the_workflow_loses_nothing_and_the_same_command_goes_on(project, undisturbed, stage, after) -> None:
    slow(project)
    run = project.start("merge_scores")
    wait_for(lambda: project.computed(stage) >= after and (project.results / "journal" / stage).exists())
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    project.run("merge_scores")
    assert project.computed("edit") == ITEMS
    assert project.computed("score") == sum(1 for row in project.scores() if row["state"] == "scored")
    assert project.scores() == undisturbed


def test_orphaned_lanes_stop_after_their_item(project) -> None:
    slow(project)
    run = project.start("merge_scores")
    wait_for(lambda: project.computed("edit") >= 2)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    wait_for(lambda: not lanes_of(project), seconds=5)
    assert project.computed("edit") < ITEMS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_stops_the_run_and_the_same_command_goes_on(project, undisturbed, number) -> None:
    slow(project)
    run = project.start("merge_scores")
    wait_for(lambda: project.computed("edit") >= 4)
    os.killpg(run.pid, number)
    assert run.wait(timeout=60) != 0
    wait_for(lambda: not lanes_of(project), seconds=5)
    assert 4 <= project.computed("edit") < ITEMS
    project.run("merge_scores")
    assert project.computed("edit") == ITEMS
    assert project.scores() == undisturbed


def test_a_lane_that_is_killed_goes_on_within_the_same_run(project, undisturbed) -> None:
    slow(project)
    (project.folder / "switch").write_text("10")
    project.run("merge_scores")
    assert not (project.folder / "switch").exists()
    assert project.computed("edit") == ITEMS
    assert project.scores() == undisturbed


def test_a_judge_lane_that_is_killed_goes_on_within_the_same_run(project, undisturbed) -> None:
    slow(project)
    project.run("--until", "edit_lane")
    (project.folder / "switch").write_text("7")
    project.run("merge_scores")
    assert not (project.folder / "switch").exists()
    assert project.computed("score") == sum(1 for row in project.scores() if row["state"] == "scored")
    assert project.scores() == undisturbed


def test_more_lanes_another_order_and_new_items_compute_only_what_is_new(project, other_project) -> None:
    project.run("merge_scores")
    before = project.scores()
    assert (project.computed("edit"), project.computed("score")) == (20, 20)

    project.config["lanes"] = 3
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (20, 20)
    assert project.scores() == before

    project.write_items(reversed(range(20)))
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (20, 20)
    assert project.scores() == before

    project.write_items(range(26))
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (26, 26)
    fresh = other_project()
    fresh.config["lanes"] = 3
    fresh.write_items(range(26))
    fresh.run("merge_scores")
    assert project.scores() == fresh.scores()


def test_a_changed_rubric_judges_only_its_category_again(project) -> None:
    protocols = project.folder / "resources/protocols"
    text = (protocols / "rubric.yaml").read_text(encoding="utf-8")
    own = project.folder / "resources/own.yaml"
    own.write_text(text, encoding="utf-8")
    project.config["judges"]["judge"]["protocol"] = "resources/own.yaml"
    project.run("merge_scores")
    before = {row["item_id"]: row for row in project.scores()}
    data = yaml.safe_load(text)
    data["rubrics"]["因果"] += "\nLook at the effect twice."
    own.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (20, 24)
    after = {row["item_id"]: row for row in project.scores()}
    changed = {row["category"] for item, row in after.items() if row["score"] != before[item]["score"]}
    assert changed == {"因果"}


def test_a_changed_editor_setting_edits_and_judges_again(project) -> None:
    project.run("merge_scores")
    before = project.scores()
    project.config["seed"] = 43
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (40, 40)
    project.config["seed"] = 42  # the images of the first run are gone, their scores are not
    project.run("merge_scores")
    assert (project.computed("edit"), project.computed("score")) == (60, 40)
    assert project.scores() == before


def test_an_edited_image_that_was_lost_or_changed_is_made_again(project) -> None:
    project.run("merge_scores")
    before = project.scores()
    images = sorted((project.results / "fake-a/images").rglob("*.png"))
    images[0].unlink()
    images[1].write_bytes(images[2].read_bytes())
    project.run("merge_scores", "--forcerun", "edit_lane")
    assert project.computed("edit") == 22
    assert project.scores() == before


def test_a_run_without_work_loads_no_model(project) -> None:
    project.run("merge_scores")
    project.run("merge_scores", "--forcerun", "edit_lane", "score_lane")
    logs = [path.read_text(encoding="utf-8") for path in (project.results / "logs").rglob("lane*.log")]
    assert len(logs) == 4
    assert all("10 of them in the journal" in log and " score " not in log and " edited " not in log for log in logs)
    assert (project.computed("edit"), project.computed("score")) == (20, 20)
