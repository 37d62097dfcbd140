"""What a workflow means to do, and whether it still runs: results/<run>/heartbeats/workflow.json."""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from editlane.lanes.heartbeat import read_heartbeats

MOST_LANES = 100_000
"""Of all editors and judges together; a file that says more is damaged."""
Traces = tuple[int, int | None]
"""Of a lane: the number of its newest process, and when its tables were written (`written`)."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """The names are the config's. `time` is Unix time and moves while the workflow lives; nobody compares it."""

    editors: list[str]
    judges: list[str]
    categories: list[str]
    lanes: int
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    phase: str = "running"
    """running, done or failed. A killed workflow stays at running."""
    time: float = 0.0
    up_to_date: list[str] = field(default_factory=list)
    """Lanes (`lane_key`) that the workflow had nothing to do for when it began."""
    before: dict[str, Traces] = field(default_factory=dict)
    """By lane, what an earlier workflow had left of it when this one began, perhaps of other settings."""

    def begin(self, run_dir: Path, up_to_date: Iterable[str]) -> None:
        """Note what earlier workflows left, so that nobody takes it for this one's."""
        self.up_to_date = list(up_to_date)
        newest = {lane_key(one.stage, one.editor, one.judge, one.lane): one for one in read_heartbeats(run_dir)}
        for lane in self.all_lanes():
            key = lane_key(*lane)
            attempt = newest[key].attempt if key in newest else 0
            tables = written(tables_of(run_dir, *lane, categories=self.categories))
            if attempt or tables is not None:
                self.before[key] = (attempt, tables)

    def all_lanes(self) -> Iterator[tuple[str, str, str | None, int]]:
        """Stage, editor, judge and number of every lane that the workflow means to have."""
        for editor in self.editors:
            for judge in (None, *self.judges):
                for number in range(self.lanes):
                    yield ("edit" if judge is None else "score"), editor, judge, number

    def write(self, run_dir: Path) -> None:
        """Replace the file. Raises OSError; the folder `heartbeats` must be there."""
        self.time = time.time()
        path = _path(run_dir)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")
        os.replace(partial, path)


def lane_key(stage: str, editor: str, judge: str | None, lane: int) -> str:
    """`edit/EDITOR/LANE` or `score/EDITOR/JUDGE/LANE`."""
    return "/".join([stage, editor, *([judge] if judge is not None else []), str(lane)])


def tables_of(
    run_dir: Path, stage: str, editor: str, judge: str | None, lane: int, *, categories: Sequence[str]
) -> list[Path]:
    """The tables that a lane writes when all of its items are done."""
    folder = run_dir / editor / ("edits" if judge is None else f"scores/{judge}")
    return [folder / category / f"lane{lane}.parquet" for category in categories]


def written(paths: Sequence[Path]) -> int | None:
    """When the last of these files was written, in the file system's nanoseconds: to be compared for equality only, as
    clocks may be set back. None where there are none or one is missing.
    """
    try:
        return max((path.stat().st_mtime_ns for path in paths), default=None)
    except OSError:
        return None


def read_plan(run_dir: Path) -> Plan | None:
    """The plan of the workflow that last began; None where there is none that this version understands."""
    try:
        found = json.loads(_path(run_dir).read_text(encoding="utf-8"))
        plan = Plan(**{each.name: found[each.name] for each in fields(Plan)})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    lists: list[Any] = [plan.editors, plan.judges, plan.categories]
    names = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
    numbers = all(isinstance(number, int) and number >= 0 for number in (plan.lanes, plan.pid))
    texts = all(isinstance(text, str) for text in (plan.host, plan.phase))
    if not (names and numbers and texts and _are_traces(plan.before) and isinstance(plan.up_to_date, list)):
        return None
    return plan if len(plan.editors) * (1 + len(plan.judges)) * plan.lanes <= MOST_LANES else None


def _are_traces(before: Any) -> bool:
    return isinstance(before, dict) and all(
        isinstance(pair, list) and [type(value) for value in pair] in ([int, int], [int, type(None)])
        for pair in before.values()
    )


def _path(run_dir: Path) -> Path:
    return run_dir / "heartbeats/workflow.json"
