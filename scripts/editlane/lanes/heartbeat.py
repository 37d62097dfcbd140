"""Publish the status of this process while its lane is at work, and end the process if it hangs."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from types import TracebackType
from typing import Any, Literal, Self

from editlane.core.errors import Stopped
from editlane.core.files import replace_text
from editlane.core.paths import LaneId, RunPaths
from editlane.core.types import EDITED, State
from editlane.lanes.gpu_strikes import HeldDevices
from editlane.lanes.lane_status import LaneStatus
from editlane.lanes.stopping import is_in_good_order
from editlane.lanes.watchdog import Watchdog
from editlane.models import load_times
from editlane.models.devices import read_usage

log = logging.getLogger(__name__)

WRITTEN_EVERY = 0.5
"""Shortest time in seconds between two writes, so that watching costs next to nothing."""
WRITING_SHARE = 0.005
"""Largest share of the time spent on writing; in a slow folder the status is written less often."""
WRITTEN_AT_LEAST_EVERY = 20.0
"""Upper limit of the pause in a slow folder, in seconds; below SILENT_AFTER in watching/plain_text.py. A step that
takes longer is a longer silence."""
MEASURED_EVERY = 5.0
"""Seconds between two readings of the device's memory and utilisation."""
WORKED = (EDITED, State.SCORED, State.JUDGE_UNREADABLE)
"""States of items that show that the device works."""


def remove_partials(paths: RunPaths, lane: LaneId) -> None:
    """Remove what processes of this lane left that were killed while they wrote a heartbeat."""
    with suppress(OSError):  # on a disk that cannot be written a finished lane can still be read
        for path in paths.partial_heartbeats(lane):
            path.unlink(missing_ok=True)


class Heartbeat:
    """The published status of this process, from just before the model is loaded until the context ends.

    Ends the process if it makes no progress for `timeout` seconds (loading, a step, a finished item); see Watchdog.
    """

    def __init__(
        self,
        paths: RunPaths,
        lane: LaneId,
        *,
        total: int,
        kept: int,
        failed: int = 0,
        timeout: float | None = None,
        editor_key: str | None = None,
        judge_key: str | None = None,
    ) -> None:
        attempt = 1 + paths.last_attempt(lane)
        self._path = paths.heartbeat(lane, attempt)
        self._status = LaneStatus.of_this_process(
            lane, attempt, total=total, kept=kept, failed=failed, editor_key=editor_key, judge_key=judge_key
        )
        self._watchdog = Watchdog(timeout)
        self._since = load_times.get_start()
        self._loaded = self._items = 0.0
        self._warmup = load_times.Warmup()
        self._lock = threading.Lock()  # the model's thread and the writer's both report
        self._written = self._measured = self._logged = self._pause = 0.0
        self._lease = HeldDevices.from_environment()
        self._worked = False
        self._warms_up = True

    def __enter__(self) -> Self:
        self._lease.mark_unproven()
        self._beat(force=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watchdog.stop()
        if error is None or is_in_good_order(error):
            self._lease.mark_blameless()
        self._status.phase = "done" if error is None else "stopped" if isinstance(error, Stopped) else "failed"
        self._measured = 0.0
        self._beat(force=True)

    def loaded(self, device: str, *, warms_up: bool = True) -> None:
        """Report that the model is loaded; `device` as the tables name it.

        `warms_up`: what the first items take longer than later ones belongs to loading; see load_times.Warmup.
        """
        self._loaded = time.monotonic() - self._since
        self._warms_up = warms_up
        self._beat(force=True, phase="working", device=device, settled_seconds=self._loaded)

    def begin(self, item_id: str, category: str, *, suspect: bool = False) -> None:
        """Report that the lane begins an item.

        `suspect`: a process died on it before, so another death is not blamed on the device.
        """
        if suspect and not self._worked:
            self._lease.mark_blameless()
        self._logged = time.monotonic()
        self._beat(item_id=item_id, category=category, step=None, steps=None)

    def step(self, step: int, steps: int) -> None:
        """Report a denoising step, counted from 1; logged at most every two seconds."""
        now = time.monotonic()
        if now - self._logged >= 2:
            self._logged = now
            log.info("%s/%s step %d/%d", self._status.category, self._status.item_id, step, steps)
        self._beat(step=step, steps=steps)

    def finished(self, count: int, *, seconds: float, state: str, score: float | None = None, failed: int = 0) -> None:
        """Report that `count` more items are in the journal.

        `failed`: how many of them have no edit or no score. `seconds`: spent on all of them. `state` and `score`: the
        last one's.
        """
        if not self._worked and state in WORKED:
            self._worked = True
            self._lease.mark_working()
        with self._lock:
            self._status.done += count
            self._status.failed += failed
            self._items += seconds
            if self._warms_up and state in WORKED and not failed:
                self._warmup.add(count, seconds)
        self._beat(last_state=state, last_score=score, settled_seconds=time.monotonic() - self._since)

    @contextmanager
    def waiting(self, side: Literal["input", "output"]) -> Iterator[None]:
        """Count the block's time as idle: the device waits for its next input, or for finished items to be written."""
        started = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                spent = getattr(self._status, f"{side}_seconds") or 0.0
                setattr(self._status, f"{side}_seconds", spent + time.monotonic() - started)

    def _beat(self, *, force: bool = False, **changes: Any) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(self._status, name, value)
            now = time.monotonic()
            self._watchdog.reset(now)
            if not force and now - self._written < self._pause:
                return
            self._written = now
            if now - self._measured >= MEASURED_EVERY:
                self._measured = now
                for name, value in read_usage().items():
                    setattr(self._status, name, value)
            self._status.time, self._status.held_seconds = time.time(), now - self._since
            self._update_sums()
            self._write()
            spent = time.monotonic() - now
            self._pause = max(WRITTEN_EVERY, min(spent / WRITING_SHARE, WRITTEN_AT_LEAST_EVERY))

    def _update_sums(self) -> None:
        for name, seconds in load_times.get_seconds().items():
            setattr(self._status, f"{name.replace('-', '')}_seconds", seconds)
        first = self._warmup.seconds
        self._status.warmup_seconds = (self._status.warmup_seconds or 0.0) + first
        self._status.load_seconds = self._loaded + first if self._loaded else 0.0
        self._status.busy_seconds = self._items - first

    def _write(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(self._path, json.dumps(asdict(self._status), ensure_ascii=False))
        except OSError as error:  # a lane that cannot be watched still works
            log.warning("cannot write the heartbeat: %s", error.strerror)
