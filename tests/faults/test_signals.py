"""A signal to the workflow, to one process or to the whole process group, wherever it strikes."""

import os
import signal
import time

import pytest
from project import find_lanes, wait_for
from trial import is_alive

EDIT, SCORE, MERGE = "edit_lane.py", "score_lane.py", "merge_scores.py"
POINTS = {
    "preparing": {"at": "editlane.cli.step:run_step", "program": "prepare_items.py"},
    "starting": {"at": "editlane.cli.step:run_step", "program": EDIT, "lane": 1},
    "loading": {"at": "editlane.models.registry:build", "program": EDIT, "lane": 1},
    "editing": {"at": "editlane.editors.fake:FakeEditor.edit", "lane": 1, "nth": 3},
    "saving, image not renamed": {"at": "os:replace", "match": "/images/", "lane": 1, "nth": 3},
    "saving, image not recorded": {"at": "editlane.lanes.journal:Journal.finish", "program": EDIT, "lane": 1, "nth": 3},
    "saving, inside the record": {
        "at": "editlane.lanes.journal:_write_all", "match": '{"key"',
        "program": EDIT, "lane": 1, "nth": 3, "do": "half",
    },
    "judging": {"at": "editlane.judges.fake:FakeJudge.read_out", "lane": 1, "nth": 3},
    "judging, inside the record": {
        "at": "editlane.lanes.journal:_write_all", "match": '{"key"',
        "program": SCORE, "lane": 1, "nth": 2, "do": "half",
    },
    "merging": {"at": "editlane.lanes.merging:merge", "program": MERGE},
    "merging, table not renamed": {"at": "os:replace", "match": "scores.parquet.partial", "program": MERGE},
}  # fmt: skip


def strike(trial, point, name, target) -> int:
    """Start the run and wait until the signal was sent; the process at that point."""
    where = {"do": "kill", "signal": name, "target": target} | POINTS[point]
    trial.plan("signal", where.pop("at"), where.pop("do"), **where)
    if point == "preparing":
        trial.unprepare()
    trial.start()
    return trial.fires()


def others(*matrix):
    """Cases of the whole matrix, for `make faults` alone."""
    return [pytest.param(*case, marks=pytest.mark.faults) for case in matrix]


@pytest.mark.parametrize(
    ("name", "point"),
    [
        pytest.param("SIGKILL", "editing", marks=pytest.mark.runs),
        *others(
            ("SIGKILL", "preparing"),
            ("SIGKILL", "loading"),
            ("SIGKILL", "saving, image not renamed"),
            ("SIGKILL", "judging"),
            ("SIGKILL", "merging"),
            ("SIGTERM", "starting"),
            ("SIGTERM", "editing"),
            ("SIGTERM", "merging"),
            ("SIGINT", "editing"),
            ("SIGINT", "judging"),
        ),
    ],
)
def test_a_signal_to_the_workflow_stops_its_lanes_and_the_same_command_goes_on(trial, name, point) -> None:
    pid = strike(trial, point, name, "workflow")
    trial.notices(lambda: trial.run.poll() is not None)
    trial.ends()
    trial.devices_come_back()
    wait_for(lambda: not is_alive(pid))
    if (name, point) == ("SIGKILL", "merging"):
        assert not (trial.project.results / "scores.parquet").exists()  # an orphan that merges would meet the next one
    if (name, point) == ("SIGKILL", "editing"):
        assert trial.project.computed("edit") < 20  # orphans stop after their item
    trial.again()
    trial.verdict(f"{name} to the workflow, {point}")


@pytest.mark.parametrize(
    ("name", "point"),
    [
        pytest.param("SIGINT", "editing", marks=pytest.mark.runs),
        pytest.param("SIGTERM", "judging", marks=pytest.mark.runs),
        *others(
            ("SIGKILL", "starting"),
            ("SIGKILL", "editing"),
            ("SIGKILL", "merging"),
            ("SIGTERM", "loading"),
            ("SIGTERM", "editing"),
            ("SIGINT", "preparing"),
            ("SIGINT", "saving, image not recorded"),
            ("SIGINT", "merging"),
        ),
    ],
)
def test_a_signal_to_the_whole_group_stops_all_and_the_same_command_goes_on(trial, name, point) -> None:
    strike(trial, point, name, "group")
    trial.notices(lambda: trial.run.poll() is not None)
    trial.ends()
    trial.devices_come_back()
    trial.again()
    trial.verdict(f"{name} to the process group, {point}")


@pytest.mark.parametrize(
    ("name", "point"),
    [
        pytest.param("SIGKILL", "saving, inside the record", marks=pytest.mark.runs),
        *others(
            ("SIGKILL", "starting"),
            ("SIGKILL", "loading"),
            ("SIGKILL", "editing"),
            ("SIGKILL", "saving, image not renamed"),
            ("SIGKILL", "saving, image not recorded"),
            ("SIGKILL", "judging"),
            ("SIGKILL", "judging, inside the record"),
            ("SIGTERM", "starting"),
            ("SIGTERM", "editing"),
            ("SIGTERM", "judging"),
            ("SIGINT", "loading"),
            ("SIGINT", "editing"),
        ),
    ],
)
def test_a_signal_to_one_lane_ends_it_and_the_run_goes_on_by_itself(trial, name, point) -> None:
    pid = strike(trial, point, name, "lane")
    trial.gone(pid)
    trial.goes_on("score/*/*/lane1.jsonl" if "judging" in point else "edit/*/lane1.jsonl")
    trial.ends(0)
    trial.verdict(f"{name} to one lane, {point}")


@pytest.mark.faults
@pytest.mark.parametrize("point", ["merging", "merging, table not renamed"])
def test_a_merge_that_is_killed_leaves_no_table_and_the_same_command_goes_on(trial, point) -> None:
    trial.gone(strike(trial, point, "SIGKILL", "lane"))
    trial.ends(1)
    assert not (trial.project.results / "scores.parquet").exists()
    trial.again()
    trial.verdict(f"SIGKILL to the step, {point}")


@pytest.mark.faults
def test_orphans_stop_after_their_item_and_a_new_run_waits_for_them(trial) -> None:
    """The workflow dies while lane 1 is at an item that takes long; the same command is given again at once."""
    trial.plan("slow", POINTS["editing"]["at"], "wait", lane=1, nth=3)
    trial.start()
    orphan = trial.fires("slow")
    os.kill(trial.run.pid, signal.SIGKILL)
    trial.strikes_now()
    trial.ends()
    trial.start()
    log = trial.project.results / "logs/edit_lane/fake-a/lane1.log"
    trial.notices(lambda: log.exists() and "journal: waiting for the process" in log.read_text(encoding="utf-8"))
    assert orphan in find_lanes(trial.project)
    before = trial.progress("edit/*/lane1.jsonl")
    trial.let_go("slow")
    trial.goes_on("edit/*/lane1.jsonl")
    trial.ends(0)
    assert trial.progress("edit/*/lane1.jsonl") > before
    trial.verdict("SIGKILL to the workflow, a new run beside its orphans")


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [1, 6])
def test_a_run_that_is_stopped_as_a_whole_goes_on_when_it_is_continued(trial, seconds) -> None:
    """As by Ctrl-Z and fg, for a shorter and for a longer time than a lane may hang."""
    trial.project.config["lane_timeout"] = 4
    trial.plan("stop", POINTS["editing"]["at"], "kill", signal="SIGSTOP", target="group", lane=1, nth=3)
    trial.start()
    trial.fires()
    time.sleep(seconds)
    os.killpg(trial.run.pid, signal.SIGCONT)
    trial.goes_on()
    trial.ends(0)
    trial.verdict(f"the whole run is stopped for {seconds} s, and continued")
