"""Record of a running workflow and its lanes, which watchers read."""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from editlane.core.files import replace_text
from editlane.core.paths import COMPARE, LaneId, RunPaths, all_lanes
from editlane.lanes.lane_status import read_heartbeats

MOST_LANES = 100_000
"""Largest number of lanes of all editors and judges; a file with more counts as damaged."""
Traces = tuple[int, int | None]
"""Traces of a lane: the number of its newest process, and when its tables were written (`read_last_written`)."""


@dataclass(slots=True, kw_only=True)
class WorkflowRecord:
    """Lanes of a workflow and its phase. `time` is Unix time and advances while the workflow lives."""

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
    """Lanes that had nothing to do when the workflow began, as str(LaneId)."""
    before: dict[str, Traces] = field(default_factory=dict)
    """Traces of earlier workflows, by lane, from when this one began."""

    def begin(self, paths: RunPaths, up_to_date: Iterable[LaneId]) -> None:
        """Record the traces of earlier workflows, so that they are not taken for this one's."""
        self.up_to_date = list(map(str, up_to_date))
        newest = {one.lane_id: one.attempt for one in read_heartbeats(paths)}
        comparing = [lane for lane in newest if lane.stage == COMPARE]
        for lane in (*self.all_lanes(), *comparing):
            attempt = newest.get(lane, 0)
            tables = read_last_written(paths.lane_tables(lane, self.editors, self.categories))
            if attempt or tables is not None:
                self.before[str(lane)] = (attempt, tables)

    def all_lanes(self) -> Iterator[LaneId]:
        """Yield every lane of the workflow."""
        return all_lanes(self.editors, self.judges, self.lanes)

    def write(self, paths: RunPaths) -> None:
        """Replace the file. Raises OSError, also if the folder of heartbeats is missing."""
        self.time = time.time()
        replace_text(paths.workflow_record, json.dumps(asdict(self), ensure_ascii=False))


def read_last_written(paths: Sequence[Path]) -> int | None:
    """Return when the last of these files was written, in nanoseconds; None if there are none or one is missing.

    Compare for equality only, because clocks may be set back.
    """
    try:
        return max((path.stat().st_mtime_ns for path in paths), default=None)
    except OSError:
        return None


def read_workflow_record(paths: RunPaths) -> WorkflowRecord | None:
    """Return the record of the workflow that began last; None if there is none that this version can read."""
    try:
        found = json.loads(paths.workflow_record.read_text(encoding="utf-8"))
        record = WorkflowRecord(**{each.name: found[each.name] for each in fields(WorkflowRecord)})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    lists: list[Any] = [record.editors, record.judges, record.categories]
    names = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
    numbers = all(isinstance(number, int) and number >= 0 for number in (record.lanes, record.pid))
    texts = all(isinstance(text, str) for text in (record.host, record.phase))
    if not (names and numbers and texts and _are_traces(record.before) and isinstance(record.up_to_date, list)):
        return None
    return record if (len(record.editors) + len(record.judges)) * record.lanes <= MOST_LANES else None


def _are_traces(before: Any) -> bool:
    return isinstance(before, dict) and all(
        isinstance(pair, list) and [type(value) for value in pair] in ([int, int], [int, type(None)])
        for pair in before.values()
    )
