"""Runs whose editor is a server: several edits at once, killed and resumed, with a budget, and what they cost."""

import os
import signal
from typing import Any

import pytest
from images_double import MODEL, ImagesDouble, Refusal, serving_images
from project import Project, find_lanes, wait_for

from editlane.core import tables
from editlane.core.paths import RunPaths
from editlane.lanes.lane_status import read_heartbeats
from editlane.lanes.requests_sent import sum_up

pytestmark = pytest.mark.runs

NAME = "远方"


def use_server(project: Project, double: ImagesDouble, items: int, **params: Any) -> None:
    """Make the double the project's only editor; its edits are small."""
    size = {} if double.dialect == "openai" else {"size": "64x32"}
    options = {"dialect": double.dialect, "base_url": double.url, "concurrency": 3, "attempts": 2} | size | params
    project.write_items(range(items))
    project.config["editors"] = {NAME: {"adapter": "served", "model": MODEL, "params": options}}


def read_scores(project: Project) -> list[dict[str, Any]]:
    return tables.read_rows(project.results / "scores.parquet")


def test_lanes_of_a_served_editor_take_no_gpu_and_ask_several_at_once(project: Project) -> None:
    project.devices = "GPU-one"
    with serving_images() as double:
        use_server(project, double, 12, cost_per_image=0.04, currency="USD")
        double.seconds = lambda fields: 0.2
        project.run()
        edits, together = list(double.edits), double.most_at_once
        scores, listed, asked = project.scores(), double.listed, len(double.fields)
        assert "Nothing to be done" in project.run()
        assert (double.listed, len(double.fields)) == (listed, asked), "a finished run asks no server"
    assert sorted(one["prompt"] for one in edits) == sorted(f"让它下雨，第 {n} 次" for n in range(12))
    assert together > 2
    assert {row["state"] for row in scores} == {"scored"}
    assert {row["seed_used"] for row in scores} == {True}
    assert {row["edit_device"] for row in read_scores(project)} == {"server"}
    log = (project.results / f"logs/edit_lane/{NAME}/lane0.log").read_text(encoding="utf-8")
    assert "holds" not in log
    assert "unknown fields are ignored" in log
    costs = tables.read_rows(project.results / "costs.parquet")
    editing = [row for row in costs if row["editor"] == NAME]
    assert sum(row["requests"] for row in editing) == asked
    assert sum(row["paid"] for row in editing) == pytest.approx(0.04 * asked)
    assert {row["currency"] for row in editing} == {"USD"}
    for row in editing:
        assert row["busy_seconds"] <= row["held_seconds"]
    (stage,) = [one for one in project.report()["costs"]["stages"] if one["editor"] == NAME]
    assert (stage["requests"], stage["currency"]) == (asked, "USD")


def test_a_killed_run_is_resumed_without_asking_for_a_finished_edit_again(project: Project) -> None:
    with serving_images() as double:
        use_server(project, double, 20)
        undisturbed = project.copy(project.folder.parent / "undisturbed")
        undisturbed.run("merge_scores")
        double.fields.clear()
        double.seconds = lambda fields: 0.3
        process = project.start("merge_scores")
        wait_for(lambda: project.computed("edit") > 4)
        for lane in find_lanes(project):
            os.kill(lane, signal.SIGKILL)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        done = project.computed("edit")
        double.seconds = lambda fields: 0.0
        before = len(double.edits)
        project.run("--rerun-incomplete", "merge_scores")
        assert len(double.edits) - before == 20 - done
    assert project.scores() == undisturbed.scores()


def test_a_stopped_lane_keeps_what_comes_back(project: Project) -> None:
    project.config["lanes"] = 1
    with serving_images() as double:
        use_server(project, double, 20)
        double.seconds = lambda fields: 0.5
        process = project.start("merge_scores")
        wait_for(lambda: len(double.edits) >= 4)
        (lane,) = find_lanes(project)
        os.kill(lane, signal.SIGTERM)
        assert process.wait() == 0, "snakemake starts the lane again"
        assert len(double.edits) == 20, "no edit is asked for twice"
    phases = {one.phase for one in read_heartbeats(RunPaths(project.results)) if one.editor == NAME}
    assert phases == {"stopped", "done"}


def test_a_budget_ends_all_lanes_and_a_larger_one_goes_on(project: Project) -> None:
    with serving_images() as double:
        use_server(project, double, 20, max_requests=14)
        said = project.run(code=1)
        log = "".join(path.read_text(encoding="utf-8") for path in (project.results / "logs/edit_lane").rglob("*.log"))
        assert "may send no more (`max_requests: 14` in its `params`)" in log
        assert "max_requests: 14" in said
        (counts,) = (project.results / f"journal/edit/{NAME}/requests").iterdir()
        assert len(double.fields) == 14 == sum_up(counts).requests
        done = project.computed("edit")
        assert done == len(double.edits)
        project.config["editors"][NAME]["params"]["max_requests"] = 100
        project.run("merge_scores")
        assert len(double.edits) == 20
    assert {row["state"] for row in project.scores()} == {"scored"}


def test_one_refused_edit_is_a_row_and_the_run_goes_on(project: Project) -> None:
    with serving_images("openai") as double:
        use_server(project, double, 10)
        refusal = Refusal(400, "Your request was rejected by the safety system.", "moderation_blocked")
        double.trouble = lambda fields, attempt: refusal if "第 3 次" in fields["prompt"] else None
        project.run()
    states = {row["item_id"]: (row["state"], row["seed_used"]) for row in project.scores()}
    assert states.pop("项目-03") == ("edit_refused", None)
    assert set(states.values()) == {("scored", False)}
    for name, said in (("report.md", "cannot be made again"),):
        assert said in (project.results / "report" / name).read_text(encoding="utf-8")


def test_another_model_behind_the_same_name_is_noticed(project: Project) -> None:
    project.config["lanes"] = 1
    with serving_images() as double:
        use_server(project, double, 10)
        project.run("merge_scores")
        double.root = "/models/another"
        project.write_items(range(15))
        said = project.run("merge_scores", code=1)
        log = (project.results / f"logs/edit_lane/{NAME}/lane0.log").read_text(encoding="utf-8")
        assert "now says root: '/models/another' of its model" in log
        assert "Edits of two models must not be mixed" in said
        assert len(double.edits) == 10


def test_the_tests_of_a_server_that_ignores_seeds_are_paid_once(project: Project) -> None:
    """Snakemake tries the lane four times; see `retries` in edit.smk."""
    project.config["lanes"] = 1
    with serving_images() as double:
        use_server(project, double, 6)
        double.uses_seed = False
        said = project.run(code=1)
        paid = len(double.fields)
        assert "does not change the image for another seed" in said
        assert "attempt 4" in said
        assert (paid, double.edits) == (3, []), "the first seed, again with a made-up field, another seed"
        double.uses_seed = True
        project.run("merge_scores")
        assert len(double.edits) == 6, "the next run tries again"
    assert {row["state"] for row in project.scores()} == {"scored"}


def test_a_server_that_does_not_answer_is_tried_again(project: Project) -> None:
    project.config["lanes"] = 1
    with serving_images() as double:
        use_server(project, double, 6, attempts=1)
        double.trouble = lambda fields, attempt: "close" if len(double.fields) <= 2 else None
        project.run("merge_scores")
        assert len(double.edits) == 6
    assert {row["state"] for row in project.scores()} == {"scored"}
