"""What a run is doing now: read from its folder, judged by the watcher's own clock.

Clocks of other machines are never compared with ours: a process is silent for as long as we ourselves have seen no
change. Whether a process is gone can be said only where it runs on this machine.
"""

import socket
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.lanes.heartbeat import LaneStatus, read_heartbeats
from editlane.watching.stages import AT_WORK, Group, Lane
from editlane.watching.workflow_record import Plan, lane_key, read_plan, tables_of, written

PATIENCE = 120.0
"""Seconds without a sign of a workflow on another machine after which it is taken for dead."""
SHARDS_READ_EVERY = 30.0

Key = tuple[str, str, str | None]
"""Stage, editor, judge."""
LaneName = tuple[str, str, str | None, int]
"""Those and the lane's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """The stages that a run has, in order; each with its groups."""

    stages: dict[str, list[Group]]
    workflow: str
    """What became of the workflow, as a sentence without a full stop; empty where nothing is known."""
    ended: bool
    """Nothing more will happen here unless somebody starts it."""

    @property
    def groups(self) -> list[Group]:
        return [group for groups in self.stages.values() for group in groups]

    @property
    def begun(self) -> bool:
        return any(group.begun for group in self.groups)


class Watcher:
    """Looks at one run again and again."""

    def __init__(self, run_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._run_dir = run_dir
        self._clock = clock
        self._host = socket.gethostname()
        self._seen: dict[Hashable, tuple[object, float]] = {}
        self._keys_of_tables: dict[tuple[Path, int], tuple[object, object]] = {}
        self._shards: dict[int, int] = {}
        self._categories: list[str] = []
        self._shards_read = -SHARDS_READ_EVERY

    def look(self) -> RunState:
        """What the run is doing now; an empty state where there is nothing yet."""
        plan = read_plan(self._run_dir)
        newest = {(one.stage, one.editor, one.judge, one.lane): one for one in read_heartbeats(self._run_dir)}
        self._read_shards(plan)
        if plan:
            newest = {key: one for key, one in newest.items() if self._counts(plan, one)}
        numbers = range(plan.lanes) if plan else sorted(self._shards.keys() | {one.lane for one in newest.values()})
        questions = self._questions_per_item(list(newest.values()))
        stages: dict[str, list[Group]] = {}
        for stage, editor, judge in self._keys(plan, list(newest.values())):
            mine = {number: newest.get((stage, editor, judge, number)) for number in numbers}
            per_item = 1.0 if judge is None else questions
            lanes = [self._lane(plan, (stage, editor, judge, number), one, per_item) for number, one in mine.items()]
            group = Group(stage=stage, editor=printable(editor), judge=judge and printable(judge), lanes=lanes)
            stages.setdefault(stage, []).append(group)
        text, ended = self._judge_workflow(plan, stages)
        return RunState(stages=stages, workflow=text, ended=ended)

    def _keys(self, plan: Plan | None, statuses: Sequence[LaneStatus]) -> list[Key]:
        """Every editor, then every judge of every editor: as planned, or else as far as there is a trace of them."""
        if plan:
            pairs = [(editor, judge) for judge in plan.judges for editor in plan.editors]
            return [("edit", editor, None) for editor in plan.editors] + [("score", *pair) for pair in pairs]
        traces: set[Key] = {(one.stage, one.editor, one.judge) for one in statuses}
        traces |= {("edit", path.parent.name, None) for path in self._run_dir.glob("*/edits")}
        traces |= {("score", path.parts[-3], path.name) for path in self._run_dir.glob("*/scores/*")}
        known = (key for key in traces if key[0] in ("edit", "score"))
        return sorted(known, key=lambda key: (key[0], key[2] or "", key[1]))

    def _questions_per_item(self, newest: Sequence[LaneStatus]) -> float:
        """How many questions a judge has per item, where that can be seen: it is asked controls, too."""
        begun = [one for one in newest if one.judge is not None]
        items = sum(self._shards.get(one.lane, 0) for one in begun)
        return sum(one.total for one in begun) / items if items else 1.0

    def _counts(self, plan: Plan, status: LaneStatus) -> bool:
        """Whether this is a process of this workflow, or one that made tables which the workflow found up to date."""
        lane = (status.stage, status.editor, status.judge, status.lane)
        key = lane_key(*lane)
        if status.attempt > plan.before.get(key, (0, None))[0]:
            return True
        paths = tables_of(self._run_dir, *lane, categories=plan.categories)
        at = written(paths)
        if status.phase != "done" or key not in plan.up_to_date or at is None:
            return False
        if (paths[0], at) not in self._keys_of_tables:
            self._keys_of_tables[paths[0], at] = _keys_of(paths[0], status)
        return self._keys_of_tables[paths[0], at] == (status.editor_key, status.judge_key)

    def _lane(self, plan: Plan | None, lane: LaneName, status: LaneStatus | None, per_item: float) -> Lane:
        key = lane_key(*lane)
        before, old_tables = plan.before.get(key, (0, None)) if plan else (0, None)
        total = status.total if status else round(self._shards.get(lane[3], 0) * per_item)
        state, silent = self._judge_lane(lane, status)
        failed = status.failed if status else 0 if state == "waiting" else None
        if state not in (*AT_WORK, "done"):
            at = written(tables_of(self._run_dir, *lane, categories=self._categories))
            # Tables that are there and need not be made again, or were made since: by a process that found all in the
            # journal, or gave up what was missing. How much of it failed, only the tables know.
            if at is not None and (at != old_tables or (plan and key in plan.up_to_date)):
                state, silent, failed = "done", 0.0, None
        done = total if state == "done" else min(total, status.kept + status.done) if status else 0
        retries = max(0, status.attempt - before - 1) if status else 0
        return Lane(
            number=lane[3],
            state=state,
            total=total,
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
        silent = self._unchanged_for(key, beat)
        if status.phase not in AT_WORK:
            return (status.phase if status.phase in ("done", "stopped") else "failed"), 0.0
        if status.host == self._host and not _runs(status.pid, "_lane.py"):
            return "gone", silent
        return status.phase, silent

    def _judge_workflow(self, plan: Plan | None, stages: dict[str, list[Group]]) -> tuple[str, bool]:
        lanes = [lane for groups in stages.values() for group in groups for lane in group.lanes]
        if plan is None:
            return "", bool(lanes) and all(lane.state == "done" for lane in lanes)
        where = f"on {printable(plan.host)}"
        silent = self._unchanged_for("workflow", (plan.pid, plan.time))
        if plan.phase != "running":
            return ("the workflow is done" if plan.phase == "done" else "the workflow ended with errors"), True
        if plan.host == self._host:
            alive = _runs(plan.pid, "snakemake")
            return (f"the workflow runs {where}" if alive else "the workflow was killed"), not alive
        working = any(lane.state in AT_WORK and lane.silent < PATIENCE for lane in lanes)
        if silent < PATIENCE:
            return f"the workflow runs {where}", False
        return f"the workflow {where} has given no sign for {silent:.0f} s", not working

    def _unchanged_for(self, key: Hashable, value: object) -> float:
        """Seconds of our clock since we first saw this value under this key."""
        now = self._clock()
        if key not in self._seen or self._seen[key][0] != value:
            self._seen[key] = (value, now)
        return max(0.0, now - self._seen[key][1])

    def _read_shards(self, plan: Plan | None) -> None:
        """How many items each lane has; read again from time to time, as somebody may split them anew."""
        now = self._clock()
        if self._shards and now - self._shards_read < SHARDS_READ_EVERY:
            return
        self._shards_read = now
        folder = self._run_dir / "shards"
        self._categories = plan.categories if plan else sorted(path.name for path in folder.glob("*"))
        found: dict[int, int] = {}
        for category in self._categories:
            for path in (folder / category).glob("lane*.parquet"):
                number = path.stem.removeprefix("lane")
                if number.isdecimal():
                    found[int(number)] = found.get(int(number), 0) + _rows(path)
        self._shards = found


def printable(text: str) -> str:
    """A name that a file gave us, without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _keys_of(path: Path, status: LaneStatus) -> tuple[object, object]:
    """The keys of the settings, the editor's and the judge's, that a table was made with."""
    try:
        made = tables.read_provenance(path)
    except (UserError, ValueError):
        return "unreadable", None
    judge = made.get("judge", {}).get(status.judge, {}).get("key")
    return made.get("editor", {}).get(status.editor, {}).get("key"), judge


def _rows(path: Path) -> int:
    try:
        return tables.count_rows(path)
    except UserError:
        return 0


def _runs(pid: int, what: str) -> bool:
    """Whether this process of this machine is there and still the one that it was: numbers are given out again."""
    try:
        return what.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
