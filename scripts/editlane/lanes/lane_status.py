"""The status that each process of a lane publishes: one small JSON file, replaced as the lane goes on.

A process that had nothing to do leaves none. The files of earlier attempts stay: they tell what a lane has cost.
"""

import json
import math
import os
import socket
import time
from dataclasses import dataclass, fields
from typing import Any, Self, get_args, get_type_hints

from editlane.core.paths import LaneId, RunPaths


@dataclass(slots=True, kw_only=True)
class LaneStatus:
    """The status of one process of a lane. Seconds are of a monotonic clock; `time` and `started` are Unix time."""

    stage: str
    """edit or score."""
    editor: str | None
    """None for a score lane, which judges the edits of all editors; older versions had one for each editor."""
    judge: str | None
    lane: int
    attempt: int
    """Counted from 1. An attempt above 1 found work that an earlier process had left."""
    host: str
    pid: int
    device: str
    total: int
    """Items of the lane, `kept` included; for a score lane, questions (edits and controls)."""
    kept: int
    """Items of `total` that came from the journal."""
    done: int = 0
    """Items that this process has finished."""
    failed: int = 0
    """Items of `kept` and `done` that ended without an edit or a score; controls, which are no items, do not count."""
    phase: str = "loading"
    """loading, working, and at the end done, stopped (on request) or failed. A killed process keeps its last phase."""
    item_id: str | None = None
    category: str | None = None
    step: int | None = None
    steps: int | None = None
    last_state: str | None = None
    last_score: float | None = None
    started: float
    """Unix time at which the process began."""
    time: float
    """Unix time of the last beat."""
    held_seconds: float = 0.0
    """Since the device was leased."""
    load_seconds: float = 0.0
    """Part of `held_seconds` until the model was loaded, and the extra time of the first item; see Warmup."""
    imports_seconds: float | None = None
    """Part of `load_seconds`, as the next three; see load_times.PHASES. Null in heartbeats of older versions."""
    reading_seconds: float | None = None
    transfer_seconds: float | None = None
    warmup_seconds: float | None = None
    busy_seconds: float = 0.0
    """Part of `held_seconds` spent on items."""
    input_seconds: float | None = None
    """Time the device waited for the next item to be read."""
    output_seconds: float | None = None
    """Time the device waited for finished items to be written."""
    settled_seconds: float | None = None
    """`held_seconds` when the last item was finished. Later time is lost if the process dies."""
    peak_memory: int | None = None
    """Highest number of bytes allocated by this process on the device; null without a GPU, as the next three."""
    memory_used: int | None = None
    """Bytes in use on the device, by all processes."""
    memory_total: int | None = None
    utilisation: float | None = None
    """Utilisation of the device, 0..1."""
    editor_key: str | None = None
    """Key of the editor's settings; for a score lane, of all settings its edits were made with, joined by commas."""
    judge_key: str | None = None
    """Key of the judge's settings and its protocol."""

    @classmethod
    def of_this_process(cls, lane: LaneId, attempt: int, **of_work: Any) -> Self:
        """Return the status with which this process begins; `of_work`: fields that depend on the lane's work."""
        now = time.time()
        return cls(
            stage=lane.stage,
            editor=lane.editor,
            judge=lane.judge,
            lane=lane.number,
            attempt=attempt,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu",
            started=now,
            time=now,
            input_seconds=0.0,
            output_seconds=0.0,
            **of_work,
        )

    @property
    def lane_id(self) -> LaneId:
        """The lane that this process belongs to."""
        return LaneId(self.stage, self.editor, self.judge, self.lane)


def read_heartbeats(paths: RunPaths) -> list[LaneStatus]:
    """Return the last status of every process, sorted by stage, editor, judge, lane and attempt.

    Files that are not heartbeats of this version are skipped.
    """
    known = {field.name for field in fields(LaneStatus)}
    found = []
    for path in paths.all_heartbeats():
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
            status = LaneStatus(**{name: value for name, value in written.items() if name in known})
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            continue
        if _is_sound(status):
            found.append(status)
    return sorted(found, key=lambda one: (one.stage, one.editor or "", one.judge or "", one.lane, one.attempt))


_TYPES = {
    name: hint | int if float in (hint, *get_args(hint)) else hint for name, hint in get_type_hints(LaneStatus).items()
}


def _is_sound(status: LaneStatus) -> bool:
    """Return whether every value has its type and every number is finite and not negative: files are untrusted."""
    values = {name: getattr(status, name) for name in _TYPES}
    return all(
        isinstance(value, _TYPES[name]) and (not isinstance(value, int | float) or 0 <= value < math.inf)
        for name, value in values.items()
    )
