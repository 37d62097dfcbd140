"""The status that each process of a lane publishes: one small JSON file, replaced as the lane goes on.

A process that had nothing to do leaves none. The files of earlier attempts stay: they tell what a lane has cost.
"""

import json
import math
from dataclasses import dataclass, fields
from typing import get_args, get_type_hints

from editlane.core.paths import LaneId, RunPaths


@dataclass(slots=True, kw_only=True)
class LaneStatus:
    """What one process of a lane says about itself. Seconds are of a clock that nobody sets; `time` is not."""

    stage: str
    """edit or score."""
    editor: str
    judge: str | None
    lane: int
    attempt: int
    """Counted from 1; an attempt above 1 had work left to do after an earlier process."""
    host: str
    pid: int
    device: str
    total: int
    """Items of the lane, with `kept`; of a score lane, questions (edits and controls)."""
    kept: int
    """Of these, how many came from the journal."""
    done: int = 0
    """How many this process has finished."""
    failed: int = 0
    """Of `kept` and `done`, how many ended without an edit or a score."""
    phase: str = "loading"
    """loading, working, and at the end done, stopped (told to) or failed. A killed process stays at its last phase."""
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
    """Of these, until the model was loaded, and what the first item took longer than the others; see Warmup."""
    imports_seconds: float | None = None
    """Of `load_seconds`, as are the next three; see load_times.PHASES. Null in heartbeats of older versions."""
    reading_seconds: float | None = None
    transfer_seconds: float | None = None
    warmup_seconds: float | None = None
    busy_seconds: float = 0.0
    """Of `held_seconds`, spent on items."""
    input_seconds: float | None = None
    """Of the rest, how long the device waited for the next item to be read."""
    output_seconds: float | None = None
    """The same for finished ones to be written."""
    settled_seconds: float | None = None
    """`held_seconds` when the last item was finished: what came later is lost if the process dies."""
    peak_memory: int | None = None
    """Bytes that this process had allocated on the device at most; null without a GPU, as are the next three."""
    memory_used: int | None = None
    """Bytes in use on the device, by whomever."""
    memory_total: int | None = None
    utilisation: float | None = None
    """Of the device, 0..1."""
    editor_key: str | None = None
    """Of the editor's settings; of a score lane, those that its edits were made with."""
    judge_key: str | None = None
    """Of the judge's settings and its protocol."""

    @property
    def lane_id(self) -> LaneId:
        """The lane that this process belongs to."""
        return LaneId(self.stage, self.editor, self.judge, self.lane)


def read_heartbeats(paths: RunPaths) -> list[LaneStatus]:
    """What the processes of all lanes of a run last said, sorted by stage, editor, judge, lane and attempt.

    Files that are not heartbeats of this version are left out.
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
    return sorted(found, key=lambda one: (one.stage, one.editor, one.judge or "", one.lane, one.attempt))


_TYPES = {
    name: hint | int if float in (hint, *get_args(hint)) else hint for name, hint in get_type_hints(LaneStatus).items()
}


def _is_sound(status: LaneStatus) -> bool:
    """Whether every value is of its type and no number negative or infinite: the file may be anybody's."""
    values = {name: getattr(status, name) for name in _TYPES}
    return all(
        isinstance(value, _TYPES[name]) and (not isinstance(value, int | float) or 0 <= value < math.inf)
        for name, value in values.items()
    )
