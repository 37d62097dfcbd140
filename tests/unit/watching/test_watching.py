"""What a watcher says about a run, from its folder alone: beside it, before it, after it, and when things die."""

import io
import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from private_folder import make_private
from rich.console import Console

from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.core.text_width import measure_width, shorten_name
from editlane.lanes.lane_status import LaneStatus
from editlane.models.devices import read_usage
from editlane.watching import live, starting
from editlane.watching.live import check_run_folder, watch
from editlane.watching.plain_text import describe_run, format_duration, format_pace, summarize_run
from editlane.watching.starting import is_workflow_starting
from editlane.watching.state import RunState, Watcher
from editlane.watching.table import RunTable, shorten_device
from editlane.watching.terminal import JobLines, Terminal, shorten_job_texts
from editlane.watching.workflow_record import WorkflowRecord, read_workflow_record

GIB = 2**30
CATEGORIES = ["物理", "环境"]
EDITORS = ["qwen-image-edit-2511-lightning-8-steps", "flux-kontext"]
JUDGES = ["qwen3-vl-30b-a3b-instruct", "第二个评委"]


class Clock:
    """A watcher's clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def beat(run_dir: Path, **changes: Any) -> None:
    """The heartbeat of one lane, on another machine, whose clock is a year behind."""
    values: dict[str, Any] = {
        "stage": "edit", "editor": EDITORS[0], "judge": None, "lane": 0, "attempt": 1, "host": "节点-7", "pid": 1,
        "device": "NVIDIA H200 (GPU-3a4f12c0-5c1d-11ef-9d31-0242ac120002)", "total": 20, "kept": 4, "done": 6,
        "phase": "working", "category": "物理", "item_id": "i", "step": 10, "steps": 40, "busy_seconds": 60.0,
        "last_state": "edited", "started": 1.7e9, "time": 1.7e9, "memory_used": 70 * GIB, "memory_total": 140 * GIB,
        "utilisation": 0.97,
    }  # fmt: skip
    status = LaneStatus(**(values | changes))
    path = RunPaths(run_dir).heartbeat(status.lane_id, status.attempt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(status), ensure_ascii=False), encoding="utf-8")


def shards(run_dir: Path, lanes: int, each: int = 10) -> None:
    for category in CATEGORIES:
        (run_dir / "shards" / category).mkdir(parents=True)
        for lane in range(lanes):
            pq.write_table(pa.table({"item_id": ["i"] * each}), run_dir / f"shards/{category}/lane{lane}.parquet")


def write_record(run_dir: Path, **changes: Any) -> WorkflowRecord:
    values: dict[str, Any] = {"editors": EDITORS, "judges": JUDGES, "categories": CATEGORIES, "lanes": 2}
    made = WorkflowRecord(**(values | {"host": "节点-7", "pid": 1} | changes))
    (run_dir / "heartbeats").mkdir(parents=True, exist_ok=True)
    made.write(RunPaths(run_dir))
    return made


@pytest.fixture
def busy_run(tmp_path: Path) -> Path:
    """Two editors, two judges, eight lanes: some done, at work, dead, or still to come."""
    run_dir = tmp_path / "结果"
    shards(run_dir, 8)
    write_record(run_dir, lanes=8)
    for lane in range(8):
        phase = "done" if lane < 3 else "working"
        beat(run_dir, lane=lane, attempt=1 + (lane == 5), phase=phase, kept=0, done=20 if lane < 3 else lane)
    beat(run_dir, editor=EDITORS[1], lane=0, phase="loading", kept=0, done=0, busy_seconds=0.0, device="GPU-11223344")
    score = {"stage": "score", "editor": None, "judge": JUDGES[0], "total": 90, "kept": 0, "step": None, "steps": None}
    beat(run_dir, **score, lane=0, done=10, busy_seconds=5.0, last_state="scored", last_score=7.25)
    beat(run_dir, **score, lane=1, done=10, busy_seconds=5.0, last_state="judge_unreadable", phase="failed", failed=3)
    return run_dir


def drawn(state: RunState, width: int = 80, height: int | None = None) -> list[str]:
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(RunTable("results/结果", state, clock="14:03:05", height=height))
    return [line.rstrip() for line in console.export_text().splitlines()]


def row(lines: list[str], start: str) -> str:
    return next(line for line in lines if line.strip().startswith(start))


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_table_fits_its_terminal_and_never_wraps(busy_run: Path, width: int) -> None:
    state = Watcher(RunPaths(busy_run)).look()
    lines = drawn(state, width)
    assert all(measure_width(line) <= width for line in lines)
    lanes = [line for line in lines if line.strip()[:1].isdigit()]
    assert len(lanes) == 3 * 8  # both editors and the first judge have begun
    assert ("memory" in "".join(lines), "device" in "".join(lines)) == (width >= 120, width >= 80)


def test_a_line_says_all_about_its_lane(busy_run: Path) -> None:
    lines = drawn(Watcher(RunPaths(busy_run)).look(), 200)
    working = row(lines, "5  ").split()
    assert working[:4] == ["5", "GPU-3a4f12", "物理", "5/20"]
    assert working[5:] == [
        "10/40", "━━······", "12.0", "3", "min", "edited", "1", "70.0/140", "GiB", "97%"
    ]  # fmt: skip
    judged = lines[lines.index(row(lines, "score")) :]
    assert "7.25" in row(judged, "0  ")
    assert row(judged, "1  ").split()[-4:-3] == ["unreadable"]
    assert "failed" in row(judged, "1  ")
    assert "loading" in row(lines[lines.index(row(lines, "flux-kontext")) :], "0  ")


def test_every_stage_has_one_line_on_all_of_it_and_names_what_has_not_begun(busy_run: Path) -> None:
    lines = drawn(Watcher(RunPaths(busy_run)).look(), 200)
    assert row(lines, "edit").startswith("edit  85/320, ")
    assert row(lines, "edit").endswith("6 lanes at work, 7 waiting")
    assert "3 failed" in row(lines, "score")
    assert "score  20/~1440" in row(lines, "score")  # 90 questions for every 20 items, as far as one can know
    assert row(lines, "第二个评委").endswith("not begun")
    assert sum("waiting" in line for line in lines if line.strip()[:1].isdigit()) == 7 + 6


def test_a_low_terminal_keeps_the_lanes_that_matter(busy_run: Path) -> None:
    state = Watcher(RunPaths(busy_run)).look()
    lines = drawn(state, 80, height=23)
    assert len(lines) <= 23
    assert not any("waiting" in line for line in lines if line.strip()[:1].isdigit())
    assert "failed" in row(lines[lines.index(row(lines, "score")) :], "1  ")
    lines = drawn(state, 80, height=10)
    assert len(lines) == 10
    assert lines[-1].endswith("more lines; a taller window shows them")


def test_bars_can_be_read_without_colours_and_colours_can_be_switched_off(busy_run: Path, monkeypatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = Console(width=120, file=out, force_terminal=True)
    console.print(RunTable("r", Watcher(RunPaths(busy_run)).look()))
    assert "━━━" in out.getvalue()
    assert "\x1b[31m" not in out.getvalue()
    assert "\x1b[32m" not in out.getvalue()


def test_a_plain_line_holds_all_stages_and_the_lanes_in_trouble(busy_run: Path) -> None:
    edit, score = describe_run(Watcher(RunPaths(busy_run)).look()).split(" | ")
    assert edit.startswith("edit qwen-image-edit-2511-lightning-8-steps and 1 more 85/320, 5.65 s/item, about ")
    assert score.startswith("score qwen3-vl-30b-a3b-instruct 20/~1440, 0.50 s/item, ")
    assert score.endswith("[lane 1 of qwen3-vl-30b-a3b-instruct: failed]")


def test_the_lanes_of_an_arena_do_not_count_as_those_of_a_judge(busy_run: Path) -> None:
    before = Watcher(RunPaths(busy_run)).look()
    pairs = {"stage": "compare", "editor": None, "judge": JUDGES[0], "total": 5000, "step": None, "steps": None}
    beat(busy_run, **pairs, lane=1)
    state = Watcher(RunPaths(busy_run)).look()
    (comparing,) = state.stages.pop("compare")
    assert state.stages == before.stages
    assert (comparing.name, [(lane.number, lane.state, lane.done) for lane in comparing.lanes]) == (
        JUDGES[0], [(1, "working", 10)],
    )  # fmt: skip
    assert any(line.startswith("compare") for line in drawn(Watcher(RunPaths(busy_run)).look()))


def test_the_arenas_of_an_earlier_workflow_are_not_shown(busy_run: Path) -> None:
    beat(busy_run, stage="compare", editor=None, judge=JUDGES[0], total=9, phase="done")
    record = read_workflow_record(RunPaths(busy_run))
    assert record is not None
    record.begin(RunPaths(busy_run), [])
    record.write(RunPaths(busy_run))
    assert "compare" not in Watcher(RunPaths(busy_run)).look().stages


def test_a_lane_is_silent_by_the_watchers_own_clock(tmp_path: Path) -> None:
    """The lane's clock is a year behind, then jumps into the future; neither counts."""
    clock = Clock()
    watcher = Watcher(RunPaths(tmp_path), clock)
    beat(tmp_path)

    def word() -> str:
        lines = drawn(watcher.look(), 200)
        return re.findall(r"\d\.\d+ +(.*?) +edited", row(lines, "0  "))[0]

    assert word() == "2 min"
    clock.now += 49
    assert word() == "2 min"  # an item of this lane takes 10 s
    clock.now += 1
    assert word() == "silent 50 s"
    assert "lane 0 of qwen-image-edit-2511-lightning-8-steps: silent 50 s" in describe_run(watcher.look())
    beat(tmp_path, time=4e9)
    assert word() == "2 min"
    clock.now -= 1000  # no clock does that, and still nothing is negative
    assert "-" not in word()
    beat(tmp_path, time=4e9, done=7)
    assert word() == "1 min"


def test_a_killed_process_of_this_machine_is_gone_at_once_and_a_living_one_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print(flush=True); input()", "edit_lane.py"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    beat(tmp_path, host=socket.gethostname(), pid=process.pid)
    watcher = Watcher(RunPaths(tmp_path))
    assert watcher.look().groups[0].lanes[0].state == "working"
    process.kill()
    process.communicate()
    state = watcher.look()
    assert state.groups[0].lanes[0].state == "gone"
    assert describe_run(state).endswith("[lane 0 of qwen-image-edit-2511-lightning-8-steps: gone]")
    beat(tmp_path, host=socket.gethostname(), pid=1)  # another process got the number
    assert watcher.look().groups[0].lanes[0].state == "gone"


def test_a_new_process_takes_the_place_of_a_dead_one(tmp_path: Path) -> None:
    beat(tmp_path, phase="failed", done=3, kept=0)
    beat(tmp_path, attempt=2, kept=3, done=0, phase="loading", busy_seconds=0.0)
    (lane,) = Watcher(RunPaths(tmp_path)).look().groups[0].lanes
    assert (lane.state, lane.done, lane.status and lane.status.attempt) == ("loading", 3, 2)


def test_a_lane_that_found_everything_in_the_journal_is_done_without_a_heartbeat(tmp_path: Path) -> None:
    shards(tmp_path, 2)
    write_record(tmp_path, editors=["甲"], judges=["乙"], phase="running")
    for category in CATEGORIES:
        for folder in ("甲/edits", "甲/scores/乙"):
            path = tmp_path / folder / category / "lane0.parquet"
            path.parent.mkdir(parents=True)
            path.touch()
    state = Watcher(RunPaths(tmp_path)).look()
    assert [[lane.state for lane in group.lanes] for group in state.groups] == [["done", "waiting"]] * 2
    assert describe_run(state) == "edit 20/40, 1 waiting | score 20/~40, 1 waiting"


def test_shards_that_are_being_written_tell_no_total(tmp_path: Path) -> None:
    write_record(tmp_path, editors=["甲"], judges=["乙"])
    watcher = Watcher(RunPaths(tmp_path), Clock())
    shards(tmp_path, 2, each=3)
    (tmp_path / "shards/环境/lane1.parquet").rename(tmp_path / "later")
    assert [lane.total for group in watcher.look().groups for lane in group.lanes] == [0, 0, 0, 0]
    (tmp_path / "later").rename(tmp_path / "shards/环境/lane1.parquet")
    assert [lane.total for group in watcher.look().groups for lane in group.lanes] == [6, 6, 6, 6]


def test_totals_follow_a_new_split_as_soon_as_a_lane_begins(tmp_path: Path) -> None:
    write_record(tmp_path, editors=["甲"], judges=["乙"])
    watcher = Watcher(RunPaths(tmp_path), Clock())
    shards(tmp_path, 2, each=2)
    watcher.look()
    for path in (tmp_path / "shards").rglob("*.parquet"):
        pq.write_table(pa.table({"item_id": ["i"] * 9}), path)
    beat(tmp_path, editor="甲", total=18, kept=4, done=0)
    assert describe_run(watcher.look()).startswith("edit 甲 4/36")


def test_a_judges_lane_without_a_heartbeat_has_the_questions_of_its_tables(tmp_path: Path) -> None:
    """An estimate would count no control, and grow when the next lane tells of its own."""
    shards(tmp_path, 2)
    write_record(tmp_path, editors=["甲"], judges=["乙"])
    paths = RunPaths(tmp_path)
    scores = [paths.lane_scores("甲", "乙", category, 0) for category in CATEGORIES]
    for path in (*scores, paths.lane_controls("甲", "乙", 0)):
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"state": ["scored"] * 7 + ["judge_unreadable", "edit_failed", "edit_refused"]}), path)
    watcher = Watcher(paths, Clock())
    assert describe_run(watcher.look()).endswith("score 24/~44, 1 waiting")
    score = {"stage": "score", "editor": None, "judge": "乙", "lane": 1, "total": 30, "kept": 0, "done": 1}
    beat(tmp_path, **score, busy_seconds=1.0, step=None)
    assert " 25/54, " in describe_run(watcher.look())


def write_tables(run_dir: Path, lane: int, editor_key: str, judge_key: str) -> None:
    """The tables of one lane of editor 甲 and judge 乙, as made with these settings."""
    made = {"editor": {"甲": {"key": editor_key}}, "judge": {"乙": {"key": judge_key}}}
    table = pa.table({"item_id": ["i"]}).replace_schema_metadata({"editlane": json.dumps(made)})
    for category in CATEGORIES:
        for folder in ("甲/edits", "甲/scores/乙"):
            path = run_dir / folder / category / f"lane{lane}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # as Snakemake does before it starts a job
            pq.write_table(table, path)


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    """A run of two lanes that has ended well; one edit and one score failed."""
    shards(tmp_path, 2)
    for lane in range(2):
        names = {"editor": "甲", "lane": lane, "phase": "done", "kept": 0, "editor_key": "e1", "failed": int(lane == 0)}
        beat(tmp_path, **names, done=20)
        score = {"stage": "score", "editor": None, "judge": "乙", "judge_key": "j1"}
        beat(tmp_path, **names | score, total=25, done=25, busy_seconds=50.0)
        write_tables(tmp_path, lane, "e1", "j1")
    return tmp_path


def begun_again(run_dir: Path, *up_to_date: str) -> Callable[[], str]:
    """The next workflow has begun; what a watcher says in one line."""
    made = write_record(run_dir, editors=["甲"], judges=["乙"])
    made.begin(RunPaths(run_dir), up_to_date)
    made.write(RunPaths(run_dir))
    assert read_workflow_record(RunPaths(run_dir)) is not None
    watcher = Watcher(RunPaths(run_dir))
    return lambda: describe_run(watcher.look())


def test_a_lane_of_an_earlier_split_counts_the_items_it_has_today(finished_run: Path) -> None:
    """Its last process had fewer items; the one that followed found all in the journal and left no heartbeat."""
    names = {"editor": "甲", "editor_key": "e1", "kept": 0, "phase": "done"}
    beat(finished_run, **names, lane=1, total=12, done=12, failed=0)
    describe = begun_again(finished_run, "edit/甲/0", "edit/甲/1")
    assert describe() == "edit 40/40 done, 3.75 s/item, at least 1 failed"


def test_nothing_is_done_because_it_was_done_with_other_settings(finished_run: Path) -> None:
    """The judge's settings have changed: the edits stay, all scores are to come, one lane after the other."""
    describe = begun_again(finished_run, "edit/甲/0", "edit/甲/1")
    edits = "edit 40/40 done, 3.00 s/item, 1 failed"
    assert describe() == edits
    new = {"stage": "score", "editor": None, "judge": "乙", "judge_key": "j2", "kept": 0, "total": 25, "attempt": 2}
    beat(finished_run, **new, lane=0, done=24, busy_seconds=24.0, step=None)
    assert describe() == f"{edits} | score 乙 24/~50, 1.00 s/item, about 26 s left, 1 lane at work, 1 waiting"
    beat(finished_run, **new, lane=0, done=25, busy_seconds=25.0, phase="done")
    write_tables(finished_run, 0, "e1", "j2")
    assert describe().endswith("score 25/~50, 1.00 s/item, 1 waiting")
    beat(finished_run, **new, lane=1, done=25, busy_seconds=25.0, phase="done")
    assert describe().endswith("score 50/50 done, 1.00 s/item")


def test_tables_that_are_to_be_made_again_are_done_when_they_are_new(finished_run: Path) -> None:
    """Back to settings whose edits the journal still has: no process has work to do, and none leaves a heartbeat."""
    describe = begun_again(finished_run, "edit/甲/1")
    assert describe() == "edit 20/40, 3.00 s/item, 1 waiting"
    write_tables(finished_run, 0, "e0", "j0")
    assert describe() == "edit 40/40 done, 3.00 s/item | score 20/~40, 1 waiting"
    describe = begun_again(finished_run, "edit/甲/0", "edit/甲/1", "score/乙/1")
    assert describe().startswith("edit 40/40 done, 3.00 s/item | ")  # what failed with the other settings is not said


def test_failures_are_counted_only_where_a_process_has_told_them(finished_run: Path) -> None:
    """Its last item killed the lane's process twice; the next gave it up, had nothing left to do and left no word."""
    describe = begun_again(finished_run, "edit/甲/1", "score/乙/0", "score/乙/1")
    (finished_run / "甲/edits/物理/lane0.parquet").unlink()
    died = {"editor": "甲", "editor_key": "e1", "total": 20, "phase": "failed", "failed": 1, "busy_seconds": 38.0}
    beat(finished_run, **died, attempt=2, kept=0, done=19)
    assert describe().startswith("edit 39/40, 2.51 s/item, 1 failed [lane 0 of 甲: failed]")
    write_tables(finished_run, 0, "e1", "j1")
    assert describe().startswith("edit 40/40 done, 2.51 s/item | ")
    beat(finished_run, editor="甲", lane=1, attempt=2, kept=0, done=20, failed=3, phase="done", busy_seconds=60.0)
    assert ", at least 3 failed | " in describe()


def test_only_processes_of_this_workflow_are_retries(finished_run: Path) -> None:
    """Neither a run under new settings is one, nor going on after Ctrl-C."""
    for attempt in (2, 3):
        beat(finished_run, editor="甲", attempt=attempt, phase="stopped", kept=5, done=3)
    begun_again(finished_run)
    assert "retr" not in "".join(summarize_run(Watcher(RunPaths(finished_run)).look()))
    beat(finished_run, editor="甲", attempt=4, kept=8, done=3)
    state = Watcher(RunPaths(finished_run)).look()
    assert "retr" not in "".join(summarize_run(state))
    assert "retries" not in "".join(drawn(state, 200))
    beat(finished_run, editor="甲", attempt=5, kept=11, done=3)
    assert list(summarize_run(Watcher(RunPaths(finished_run)).look()))[1].endswith(", 1 retry")


def test_a_damaged_record_hangs_no_watcher(tmp_path: Path) -> None:
    for damage in ({"lanes": 300_000_000}, {"before": {"edit/甲/0": [1]}}, {"before": []}, {"up_to_date": 3}):
        write_record(tmp_path, **damage)
        assert read_workflow_record(RunPaths(tmp_path)) is None


def test_empty_foreign_and_hostile_files_are_shown_as_nothing_or_as_text(tmp_path: Path) -> None:
    folder = tmp_path / "heartbeats/edit/甲"
    folder.mkdir(parents=True)
    for name, text in {"lane0.1": "", "lane1.1": "[]", "lane2.1": '{"lane": "x"}', "lane.x": "\0"}.items():
        (folder / f"{name}.json").write_text(text)
    for text in ("", "[]", "{", '{"editors": 3}', json.dumps(asdict(write_record(tmp_path)) | {"lanes": -1})):
        (tmp_path / "heartbeats/workflow.json").write_text(text)
        assert read_workflow_record(RunPaths(tmp_path)) is None
        assert Watcher(RunPaths(tmp_path)).look().groups == []
    (tmp_path / "shards/物理").mkdir(parents=True)
    (tmp_path / "shards/物理/lane0.parquet").write_bytes(b"PAR1")
    (tmp_path / "shards/物理/lane.parquet").touch()
    hostile = {"category": "[red]\x1b[31m环境", "device": "[x](\x07)", "last_state": "\x1b]0;"}
    beat(tmp_path, editor="[bold]甲[/bold]", total=0, **hostile)
    text = "\n".join(drawn(Watcher(RunPaths(tmp_path)).look(), 200))
    assert "[bold]甲[/bold]" in text
    assert "[red]\\x1b[31m环" in text
    assert not any(ord(letter) < 32 for letter in text.replace("\n", ""))


def test_before_a_run_there_is_nothing_and_that_is_no_end(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        state = Watcher(RunPaths(folder)).look()
        assert not (state.ended or state.begun or state.groups)
        assert describe_run(state) == "no lane has begun"
    write_record(tmp_path)
    state = Watcher(RunPaths(tmp_path)).look()
    assert not (state.ended or state.begun)
    assert [len(groups) for groups in state.stages.values()] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "text", "ended"),
    [
        ({}, "the workflow runs on 节点-7", False),
        ({"phase": "done"}, "the workflow is done", True),
        ({"phase": "failed"}, "the workflow ended with errors", True),
        ({"host": socket.gethostname(), "pid": 2**22 + 1}, "the workflow was killed", True),
    ],
)
def test_the_workflow_is_over_when_it_says_so_or_is_no_more(tmp_path: Path, changes, text: str, ended: bool) -> None:
    write_record(tmp_path, **changes)
    state = Watcher(RunPaths(tmp_path)).look()
    assert (state.workflow, state.ended) == (text, ended)


def test_a_workflow_of_another_machine_is_given_up_only_when_its_lanes_are_silent_too(tmp_path: Path) -> None:
    clock = Clock()
    watcher = Watcher(RunPaths(tmp_path), clock)
    made = write_record(tmp_path)
    beat(tmp_path)
    assert not watcher.look().ended
    clock.now += 130
    beat(tmp_path, step=11)
    state = watcher.look()
    assert (state.workflow, state.ended) == ("the workflow on 节点-7 has given no sign for 130 s", False)
    clock.now += 130
    assert watcher.look().ended
    made.write(RunPaths(tmp_path))
    assert not watcher.look().ended


def test_the_summary_has_a_line_for_every_editor_and_judge(busy_run: Path) -> None:
    lines = list(summarize_run(Watcher(RunPaths(busy_run)).look()))
    assert lines[0] == "the workflow runs on 节点-7"
    assert lines[1] == f"edit {EDITORS[0]}: 85 of 160, 5 lanes working, 5.65 s/item, 1 retry"
    assert lines[-1] == "score 第二个评委: not begun"
    assert len(lines) == 1 + 2 + 2


def test_time_left_counts_the_lanes_to_come_and_the_item_in_work(tmp_path: Path) -> None:
    shards(tmp_path, 2)
    write_record(tmp_path, editors=["e"], judges=[])
    beat(tmp_path, editor="e", total=20, kept=0, done=10, busy_seconds=100.0, step=20, steps=40)
    line = describe_run(Watcher(RunPaths(tmp_path)).look())
    assert line == "edit e 10/40, 10.0 s/item, about 5 min left, 1 lane at work, 1 waiting"
    beat(tmp_path, editor="e", lane=1, total=20, kept=0, done=10, busy_seconds=10.0, step=None)
    # 95 s and 10 s, at the same time: the longer one
    assert "about 2 min left" in describe_run(Watcher(RunPaths(tmp_path)).look())


def test_the_time_left_of_a_model_is_never_guessed_from_another_ones_speed(tmp_path: Path) -> None:
    shards(tmp_path, 1)
    write_record(tmp_path, editors=["quick", "slow"], judges=[], lanes=1)
    beat(tmp_path, editor="quick", total=20, kept=0, done=10, busy_seconds=10.0, step=None)
    beat(tmp_path, editor="slow", total=20, kept=0, done=0, busy_seconds=0.0, phase="loading", step=None)
    line = describe_run(Watcher(RunPaths(tmp_path)).look())
    assert "1.00 s/item, about 10 s left without slow, 2 lanes at work" in line
    beat(tmp_path, editor="slow", total=20, kept=0, done=1, busy_seconds=100.0, step=None)
    assert "about 32 min left, 2 lanes at work" in describe_run(Watcher(RunPaths(tmp_path)).look())


def test_a_slow_disk_counts_into_pace_and_time_left(tmp_path: Path) -> None:
    shards(tmp_path, 1)
    write_record(tmp_path, editors=["e"], judges=[], lanes=1)
    slow = {"busy_seconds": 10.0, "load_seconds": 30.0, "settled_seconds": 630.0}
    beat(tmp_path, editor="e", total=20, kept=0, done=10, step=None, **slow)
    assert "60.0 s/item, about 10 min left" in describe_run(Watcher(RunPaths(tmp_path)).look())


def test_numbers_and_names_are_short(tmp_path: Path) -> None:
    assert [format_duration(seconds) for seconds in (-3, 0.4, 59, 60, 3599, 3600, 12000, 172800, 200000)] == [
        "0 s", "0 s", "59 s", "1 min", "60 min", "1 h 0 min", "3 h 20 min", "2 d 0 h", "2 d 7 h",
    ]  # fmt: skip
    assert [format_pace(each) for each in (None, 0.0123, 0.5, 17.34, 321.5)] == ["-", "0.012", "0.50", "17.3", "322"]
    assert shorten_name("qwen-image-edit-2511-base", 12) == "qwen-i…-base"
    assert [measure_width(shorten_name("一二三四五六七八九十", width)) for width in (3, 7, 8, 20)] == [3, 7, 7, 20]
    devices = ["cpu", "0", "NVIDIA H200 (3)", "NVIDIA L4 (GPU-3a4f12c0-5c1d-11ef)", "MIG-0a1b2c3d-1111"]
    assert [shorten_device(name) for name in devices] == ["cpu", "0", "3", "GPU-3a4f12", "MIG-0a1b2c"]


def test_a_folder_that_is_no_run_is_refused_and_one_to_come_is_not(tmp_path: Path, monkeypatch) -> None:
    results = tmp_path / "results"
    (results / "empty").mkdir(parents=True)
    (results / "file").touch()
    (results / "begun/logs").mkdir(parents=True)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").touch()
    for folder in ("results/empty", "results/begun", "results/to-come"):
        check_run_folder(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    for folder in ("results/file", "results", "photos", "photos/a.png", "none", "none/run", "begun"):
        with pytest.raises(UserError, match=r"Give results/<run>, .* \(runs in .*results: begun\)\.$"):
            check_run_folder(tmp_path / folder)
    with pytest.raises(UserError, match="results/file is not a folder"):
        check_run_folder(Path("results/file"))


@pytest.mark.parametrize("name", ["results", "empty"])
def test_an_empty_folder_that_becomes_no_run_is_not_waited_for(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=rf"{name} is not the folder of a run"):
        check_run_folder(tmp_path / name)


@pytest.fixture
def young_snakemake(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like Snakemake and works in the folder of results/."""
    process = start_snakemake(tmp_path)
    yield process
    process.kill()
    process.wait()


def start_snakemake(folder: Path, *flags: str) -> subprocess.Popen[bytes]:
    (folder / "snakemake").write_text("import time\ntime.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "snakemake", *flags], cwd=folder)
    while b"snakemake" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():  # it is still a copy of this process
        time.sleep(0.01)
    return process


def test_a_workflow_that_starts_here_is_noticed(tmp_path: Path, young_snakemake, monkeypatch) -> None:
    assert is_workflow_starting(tmp_path / "results/run")
    assert not is_workflow_starting(tmp_path / "other/results/run")
    monkeypatch.setattr(starting, "STARTING_SECONDS", 0.0)
    assert not is_workflow_starting(tmp_path / "results/run")


@pytest.mark.parametrize(
    ("flags", "starts"),
    [
        (["--cores", "all", "--configfile", "甲.yaml"], True),
        (["--cores", "all", "--configfile=甲.yaml"], True),
        (["--configfile", "乙.yaml"], False),
        (["--configfile", "乙.yaml", "--config", "run=运行"], True),
        (["--configfile", "甲.yaml", "-n"], False),
        (["--configfile", "missing.yaml"], True),
        ([], False),
    ],
)
def test_only_a_workflow_of_the_same_run_is_waited_for(tmp_path: Path, flags: list[str], starts: bool) -> None:
    (tmp_path / "config").mkdir()
    for name, run in (("甲.yaml", '"运行"'), ("乙.yaml", "other  # run: 运行"), ("config/config.yaml", "demo")):
        (tmp_path / name).write_text(f"# a config\nrun: {run}\n", encoding="utf-8")
    process = start_snakemake(tmp_path, *flags)
    try:
        assert is_workflow_starting(tmp_path / "results/运行") is starts
    finally:
        process.kill()
        process.wait()


def watched(run_dir: Path) -> str:
    out = io.StringIO()
    watch(run_dir, Console(file=out, width=200), table=False, every=1.0)
    return out.getvalue()


def test_just_after_a_restart_the_end_of_the_last_workflow_is_not_taken_for_its_own(
    tmp_path: Path, young_snakemake, monkeypatch
) -> None:
    run_dir = tmp_path / "results/run"
    write_record(run_dir, phase="failed")
    monkeypatch.setattr(live, "READ_EVERY", 0.05)
    ended = threading.Timer(0.5, lambda: (young_snakemake.kill(), young_snakemake.wait()))
    ended.start()
    text = watched(run_dir)
    assert text.startswith("the workflow ended with errors; another one is starting here\n")
    assert not ended.is_alive()
    assert watched(run_dir).startswith("the workflow ended with errors\n")


def test_a_folder_that_is_not_there_is_told_at_once(tmp_path: Path, monkeypatch) -> None:
    write_record(tmp_path / "results/other", phase="done")
    (tmp_path / "results/other/items.parquet").touch()
    run_dir = tmp_path / "results/tpyo"
    monkeypatch.setattr(live.time, "sleep", lambda _: write_record(run_dir, phase="done"))
    told = watched(run_dir).splitlines()[0].partition(" ")[2]
    assert told == f"{run_dir} is not there yet (runs in {run_dir.parent}: other): no lane has begun"


def test_a_private_run_of_another_user_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("other", "private"):
        write_record(tmp_path / "results" / name, phase="done")
        (tmp_path / "results" / name / "items.parquet").touch()
    make_private(monkeypatch, tmp_path / "results/private")
    run_dir = tmp_path / "results/tpyo"
    monkeypatch.setattr(live.time, "sleep", lambda _: write_record(run_dir, phase="done"))
    assert "(runs in" in (told := watched(run_dir)) and ": other)" in told


def output(**changes: Any) -> Any:
    return types.SimpleNamespace(**({"quiet": set(), "verbose": False, "printshellcmds": False} | changes))


def snakemakes_logger() -> tuple[logging.Logger, io.StringIO]:
    """A logger as Snakemake has it, with what its terminal shows."""
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    handler.name = "DefaultStreamHandler"
    logger = logging.Logger("snakemake's")
    logger.addHandler(handler)
    return logger, shown


def test_the_workflows_terminal_gets_a_line_a_job_and_the_end_of_the_log_of_one_that_failed(tmp_path: Path) -> None:
    logger, shown = snakemakes_logger()
    lines = io.StringIO()
    shorten_job_texts(logger, lines)
    path = tmp_path / "lane0.log"
    path.write_text("".join(f"line {number}\n" for number in range(100)) + "error: 磁盘已满\n", encoding="utf-8")
    wildcards = {"editor": "甲", "lane": "0"}
    job = {"event": "job_info", "jobid": 3, "rule_name": "edit_lane", "wildcards": wildcards, "shellcmd": "x"}
    for _ in range(2):
        logger.info("Select jobs to execute...")
        logger.info(None, extra=job)
        error = job | {"event": "job_error", "rule_msg": None, "log": [str(path), "/no"]}
        logger.error("Error in rule edit_lane", extra=error)
        logger.info("Trying to restart job 3.")
    logger.info("1 of 2 steps", extra={"event": "progress"})
    logger.info(None, extra=job | {"rule_name": "all", "shellcmd": None})
    logger.warning("the disk is nearly full")
    assert shown.getvalue() == "the disk is nearly full\n"
    text = lines.getvalue()
    assert [line[9:] for line in text.splitlines() if "edit_lane" in line] == [
        "edit_lane 甲 lane 0", "failed: edit_lane 甲 lane 0",
        "edit_lane 甲 lane 0, attempt 2", "failed: edit_lane 甲 lane 0",
    ]  # fmt: skip
    assert text.count("    error: 磁盘已满\n") == 2
    assert ("line 80\n" in text, "line 82\n" in text) == (False, True)
    assert "\nerror: " not in text  # what stands at the start of a line is the workflow's last word


def test_a_lane_that_stood_still_is_told_in_one_line_and_its_stacks_stay_in_the_log(tmp_path: Path) -> None:
    logger, _ = snakemakes_logger()
    lines = io.StringIO()
    shorten_job_texts(logger, lines)
    log = tmp_path / "lane0.log"
    log.write_text("loading\nTimeout (0:10:00)!\nThread 0x1 (most recent call first):\n  File 'x', line 1 in f\n")
    error = {"event": "job_error", "jobid": 3, "rule_name": "edit_lane", "rule_msg": None, "log": [str(log)]}
    logger.error("Error in rule edit_lane", extra=error)
    assert [line[9:] for line in lines.getvalue().splitlines()] == [
        "failed: edit_lane", f"it made no progress for 600 s and was ended; its stacks are in {log}",
    ]  # fmt: skip


def test_a_step_that_ctrl_c_met_among_its_imports_was_stopped_and_shows_no_traceback(tmp_path: Path) -> None:
    logger, _ = snakemakes_logger()
    lines = io.StringIO()
    shorten_job_texts(logger, lines)
    log = tmp_path / "merge_scores.log"
    log.write_text('Traceback (most recent call last):\n  File "merge_scores.py", line 12\nKeyboardInterrupt\n')
    error = {"event": "job_error", "jobid": 3, "rule_name": "merge_scores", "rule_msg": None, "log": [str(log)]}
    logger.error("Error in rule merge_scores", extra=error)
    assert [line[9:] for line in lines.getvalue().splitlines()] == ["stopped: merge_scores"]


ALL, RULES = (types.SimpleNamespace(name=name) for name in ("ALL", "RULES"))


@pytest.mark.parametrize(
    "settings", [{"quiet": [ALL]}, {"quiet": [RULES]}, {"verbose": True}, {"printshellcmds": True}]
)
def test_silence_or_snakemakes_own_text_can_be_requested(tmp_path: Path, settings) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.name = "DefaultStreamHandler"
    logger = logging.getLogger("snakemake.logging")
    logger.addHandler(handler)
    terminal = Terminal(
        RunPaths(tmp_path), WorkflowRecord(editors=[], judges=[], categories=[], lanes=1), output(**settings)
    )
    terminal.start()
    terminal.end("done")
    added, filters = [one for one in logger.handlers if isinstance(one, JobLines)], handler.filters
    logger.removeHandler(handler)
    assert (added, filters) == ([], [])


def test_the_workflow_says_when_it_began_and_how_it_ended(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("editlane.watching.terminal.READ_EVERY", 0.01)
    monkeypatch.setattr("editlane.watching.terminal.PRINT_EVERY", 0.02)
    printed: list[str] = []  # capsys loses a line that a thread prints while it is read
    monkeypatch.setattr("editlane.watching.terminal.print_line", printed.append)
    shards(tmp_path, 1)
    made = WorkflowRecord(editors=["甲"], judges=[], categories=CATEGORIES, lanes=1)
    terminal = Terminal(RunPaths(tmp_path), made, output(quiet=[RULES]))
    terminal.end("done")
    assert read_workflow_record(RunPaths(tmp_path)) is None  # it was never started
    terminal.start()
    beat(tmp_path, editor="甲", kept=0, done=1, busy_seconds=10.0)
    assert (read_workflow_record(RunPaths(tmp_path)) or made).phase == "running"
    while not printed:
        time.sleep(0.01)
    beat(tmp_path, editor="甲", kept=0, done=20, busy_seconds=200.0, phase="done")
    terminal.end("failed")
    assert printed == [
        "edit 甲 1/20, 10.0 s/item, about 3 min left, 1 lane at work", "edit 20/20 done, 10.0 s/item",
    ]  # fmt: skip
    assert (read_workflow_record(RunPaths(tmp_path)) or made).phase == "failed"


def fake_gpu(monkeypatch, nvml: Callable[[str], Any] | None) -> None:
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        max_memory_allocated=lambda: 5 * GIB,
        get_device_properties=lambda _: types.SimpleNamespace(uuid="3a4f12c0-5c1d"),
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    module = nvml and types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=nvml,
        nvmlDeviceGetMemoryInfo=lambda handle: types.SimpleNamespace(used=7 * GIB, total=140 * GIB),
        nvmlDeviceGetUtilizationRates=lambda handle: types.SimpleNamespace(gpu=93),
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_the_device_is_asked_by_its_uuid_and_unknown_values_are_left_out(monkeypatch) -> None:
    asked: list[str] = []
    fake_gpu(monkeypatch, asked.append)
    known = {"peak_memory": 5 * GIB, "memory_used": 7 * GIB, "memory_total": 140 * GIB, "utilisation": 0.93}
    assert read_usage() == known
    assert asked == ["GPU-3a4f12c0-5c1d"]
    fake_gpu(monkeypatch, None)  # nvidia-ml-py is not installed
    assert read_usage() == {"peak_memory": 5 * GIB}
    monkeypatch.delitem(sys.modules, "torch")
    assert read_usage() == {}
