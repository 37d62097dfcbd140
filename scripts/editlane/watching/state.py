"""Read the state of a run from its folder.

Clocks of other machines are never compared with the watcher's own clock. A process is silent for as long as this
watcher has seen no change. Only a process on this machine can be recognized as gone.
"""

import socket
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.paths import COMPARE, EDIT, SCORE, LaneId, RunPaths
from editlane.core.printable import escape
from editlane.core.types import State
from editlane.lanes.lane_status import LaneStatus, read_heartbeats
from editlane.watching.stages import AT_WORK, Group, Lane
from editlane.watching.workflow_record import WorkflowRecord, read_last_written, read_workflow_record

WORKFLOW_TIMEOUT = 120.0
"""Seconds without a change after which a workflow on another machine counts as dead."""
SHARDS_READ_EVERY = 30.0
_ASKED = (State.SCORED, State.JUDGE_UNREADABLE, State.JUDGE_FAILED)
"""States of the rows that a judge was asked about; the others have no edit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Stages of a run, in order, each with its groups."""

    stages: dict[str, list[Group]]
    workflow: str
    """State of the workflow, as a sentence without a full stop; empty if unknown."""
    ended: bool
    """True if nothing more will happen unless the run is started again."""

    @property
    def groups(self) -> list[Group]:
        return [group for groups in self.stages.values() for group in groups]

    @property
    def begun(self) -> bool:
        return any(group.begun for group in self.groups)


class Watcher:
    """Reads one run again and again."""

    def __init__(self, paths: RunPaths, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = paths
        self._clock = clock
        self._host = socket.gethostname()
        self._seen: dict[Hashable, tuple[object, float]] = {}
        self._keys_of_tables: dict[tuple[Path, int], object] = {}
        self._questions: dict[tuple[LaneId, int], int | None] = {}
        self._shards: dict[int, int] = {}
        self._begun: frozenset[tuple[LaneId, int]] = frozenset()
        self._categories: list[str] = []
        self._editors: list[str] = []
        self._shards_read = -SHARDS_READ_EVERY

    def look(self) -> RunState:
        """Return what the run is doing now; an empty state if there is nothing yet."""
        record = read_workflow_record(self._paths)
        newest = {one.lane_id: one for one in read_heartbeats(self._paths)}
        self._read_shards(record, frozenset((one.lane_id, one.attempt) for one in newest.values()))
        if record:
            newest = {key: one for key, one in newest.items() if self._belongs_to(record, one)}
        of_shards = {one.lane for one in newest.values() if one.stage != COMPARE}
        numbers = range(record.lanes) if record else sorted(self._shards.keys() | of_shards)
        questions = self._estimate_questions_per_item(list(newest.values()))
        stages: dict[str, list[Group]] = {}
        for stage, name in self._list_keys(record, list(newest.values())):
            ids = [_make_id(stage, name, number) for number in numbers]
            per_item = 1.0 if stage == EDIT else questions
            lanes = [self._make_lane(record, lane, newest.get(lane), per_item) for lane in ids]
            stages.setdefault(stage, []).append(Group(stage=stage, name=escape(name), lanes=lanes))
        if comparing := self._group_comparing(record, newest):
            stages[COMPARE] = comparing
        text, ended = self._judge_workflow(record, stages)
        return RunState(stages=stages, workflow=text, ended=ended)

    def _group_comparing(self, record: WorkflowRecord | None, newest: dict[LaneId, LaneStatus]) -> list[Group]:
        """Return the judges of the arena with the lanes of their latest rounds that have begun."""
        begun: dict[str, list[Lane]] = {}
        for lane, status in sorted(newest.items(), key=lambda pair: (pair[0].judge or "", pair[0].number)):
            if lane.stage == COMPARE:
                begun.setdefault(str(lane.judge), []).append(self._make_lane(record, lane, status, 1.0))
        return [Group(stage=COMPARE, name=escape(name), lanes=lanes) for name, lanes in begun.items()]

    def _list_keys(self, record: WorkflowRecord | None, statuses: Sequence[LaneStatus]) -> list[tuple[str, str]]:
        """Return (stage, name) of every editor, then of every judge: as recorded, or else as far as they left traces.

        A score lane of an older version, which judged one editor's edits, is skipped.
        """
        if record:
            return [(EDIT, name) for name in record.editors] + [(SCORE, name) for name in record.judges]
        editors = {one.editor for one in statuses if one.stage == EDIT and one.editor}
        judges = {one.judge for one in statuses if one.stage == SCORE and one.judge}
        editors |= set(self._editors)
        judges |= self._paths.judges_with_scores()
        return [(EDIT, name) for name in sorted(editors)] + [(SCORE, name) for name in sorted(judges)]

    def _estimate_questions_per_item(self, newest: Sequence[LaneStatus]) -> float:
        """Return the questions a judge has per item about the edits of all editors, controls included.

        Without a judge that has begun, this is the number of editors.
        """
        begun = [one for one in newest if one.stage == SCORE and one.editor is None]
        items = sum(self._shards.get(one.lane, 0) for one in begun)
        return sum(one.total for one in begun) / items if items else float(max(1, len(self._editors)))

    def _belongs_to(self, record: WorkflowRecord, status: LaneStatus) -> bool:
        """Return whether this process is of this workflow, or made tables that the workflow found up to date."""
        key = str(status.lane_id)
        if status.attempt > record.before.get(key, (0, None))[0]:
            return True
        paths = self._paths.lane_tables(status.lane_id, record.editors, record.categories)
        at = read_last_written(paths)
        if status.phase != "done" or key not in record.up_to_date or at is None:
            return False
        if (paths[0], at) not in self._keys_of_tables:
            self._keys_of_tables[paths[0], at] = _read_key(paths[0], status.lane_id)
        return self._keys_of_tables[paths[0], at] == (status.judge_key or status.editor_key)

    def _make_lane(
        self, record: WorkflowRecord | None, lane: LaneId, status: LaneStatus | None, per_item: float
    ) -> Lane:
        key = str(lane)
        before, old_tables = record.before.get(key, (0, None)) if record else (0, None)
        items = self._shards.get(lane.number, 0)
        total = status.total if status else max(int(items > 0), round(items * per_item))
        estimated = status is None and lane.stage == SCORE
        state, silent = self._judge_lane(lane, status)
        failed = status.failed if status else 0 if state == "waiting" else None
        if state not in (*AT_WORK, "done"):
            at = read_last_written(self._paths.lane_tables(lane, self._editors, self._categories))
            # A lane with up-to-date tables is done, whatever its heartbeat: a process that finds everything in the
            # journal writes tables without a heartbeat. Only the tables hold its number of failures.
            if at is not None and (at != old_tables or (record and key in record.up_to_date)):
                state, silent, failed = "done", 0.0, None
                if estimated and (questions := self._count_questions(lane, at)) is not None:
                    total, estimated = questions, False
        if lane.stage == EDIT and state == "done" and items and total != items:
            total, failed = items, None  # of an earlier split; the process that followed found all in the journal
        done = total if state == "done" else min(total, status.kept + status.done) if status else 0
        retries = max(0, status.attempt - before - 1) if status else 0
        return Lane(
            number=lane.number,
            state=state,
            total=total,
            is_estimated=estimated,
            done=done,
            silent=silent,
            status=status,
            failed=failed,
            retries=retries,
        )

    def _judge_lane(self, key: Hashable, status: LaneStatus | None) -> tuple[str, float]:
        if status is None:
            return "waiting", 0.0
        beat = (status.attempt, status.pid, status.time, status.phase, status.done, status.step)
        silent = self._measure_silence(key, beat)
        if status.phase not in AT_WORK:
            return (status.phase if status.phase in ("done", "stopped") else "failed"), 0.0
        if status.host == self._host and not _is_running(status.pid, "_lane.py"):
            return "gone", silent
        return status.phase, silent

    def _judge_workflow(self, record: WorkflowRecord | None, stages: dict[str, list[Group]]) -> tuple[str, bool]:
        lanes = [lane for groups in stages.values() for group in groups for lane in group.lanes]
        if record is None:
            return "", bool(lanes) and all(lane.state == "done" for lane in lanes)
        where = f"on {escape(record.host)}"
        silent = self._measure_silence("workflow", (record.pid, record.time))
        if record.phase != "running":
            return ("the workflow is done" if record.phase == "done" else "the workflow ended with errors"), True
        if record.host == self._host:
            alive = _is_running(record.pid, "snakemake")
            return (f"the workflow runs {where}" if alive else "the workflow was killed"), not alive
        working = any(lane.state in AT_WORK and lane.silent < WORKFLOW_TIMEOUT for lane in lanes)
        if silent < WORKFLOW_TIMEOUT:
            return f"the workflow runs {where}", False
        return f"the workflow {where} has given no sign for {silent:.0f} s", not working

    def _measure_silence(self, key: Hashable, value: object) -> float:
        """Return the seconds, by our clock, since this value was first seen under this key."""
        now = self._clock()
        if key not in self._seen or self._seen[key][0] != value:
            self._seen[key] = (value, now)
        return max(0.0, now - self._seen[key][1])

    def _count_questions(self, lane: LaneId, at: int) -> int | None:
        """Return the questions of a score lane, by its tables, which were written at `at`; None if that fails."""
        if (lane, at) not in self._questions:
            paths = self._paths.lane_tables(lane, self._editors, self._categories)
            paths += [self._paths.lane_controls(editor, str(lane.judge), lane.number) for editor in self._editors]
            try:
                states = [state for path in paths for state in tables.read_column(path, "state")]
                self._questions[lane, at] = sum(state in _ASKED for state in states)
            except UserError:
                self._questions[lane, at] = None
        return self._questions[lane, at]

    def _read_shards(self, record: WorkflowRecord | None, begun: frozenset[tuple[LaneId, int]]) -> None:
        """Count the items of each lane, again when a process begins and from time to time: they may be split anew.

        While they are being split, nothing is known of any lane.
        """
        now = self._clock()
        if self._shards and begun == self._begun and now - self._shards_read < SHARDS_READ_EVERY:
            return
        self._shards_read, self._begun = now, begun
        self._categories = record.categories if record else self._paths.shard_categories()
        self._editors = record.editors if record else self._paths.editors_with_edits()
        found: dict[int, list[int]] = {}
        for category in self._categories:
            for lane, path in self._paths.shards_of(category):
                found.setdefault(lane, []).append(_count_rows(path))
        whole = not record or all(len(found.get(lane, ())) == len(self._categories) for lane in range(record.lanes))
        self._shards = {lane: sum(counts) for lane, counts in found.items()} if whole else {}


def _make_id(stage: str, name: str, number: int) -> LaneId:
    """Return the id of a lane of this editor or judge."""
    return LaneId(stage, name, None, number) if stage == EDIT else LaneId(stage, None, name, number)


def _read_key(path: Path, lane: LaneId) -> object:
    """Return the key of the settings of the lane's editor or judge that a table was made with."""
    try:
        made = tables.read_provenance(path)
    except UserError:
        return "unreadable"
    kind, name = ("judge", lane.judge) if lane.judge is not None else ("editor", lane.editor)
    return made.get(kind, {}).get(name, {}).get("key")


def _count_rows(path: Path) -> int:
    try:
        return tables.count_rows(path)
    except UserError:
        return 0


def _is_running(pid: int, what: str) -> bool:
    """Return whether this process exists and is still the same one, because process ids are reused."""
    try:
        return what.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
