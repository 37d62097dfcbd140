"""Measure how long a process takes before its first item, by phase."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from editlane.models import page_cache

PHASES = ("imports", "reading", "transfer", "warm-up")
"""imports: Python and modules. reading: the part of the transfer during which files were still being read, by this
process or another. transfer: moving weights to the device and building the model. warm-up: first calls, which compile
or measure."""

_spent = dict.fromkeys(PHASES, 0.0)
_running: list[str] = []


@contextmanager
def measure_phase(name: str) -> Iterator[None]:
    """Add the seconds spent in the block to `name`, one of PHASES. Not thread-safe.

    Raises ValueError for an unknown name, and inside another phase.
    """
    if name not in _spent or _running:
        raise ValueError(f"phase {name!r} inside of {_running[0]!r}" if _running else f"unknown phase {name!r}")
    _running.append(name)
    started = time.monotonic()
    if name == "imports":
        gc.disable()  # modules create hundreds of thousands of objects that all stay: collecting finds nothing
    try:
        yield
    finally:
        if name == "imports":
            gc.enable()
            gc.freeze()  # excludes them from later collections, too
        _running.clear()
        now = time.monotonic()
        if name == "transfer":
            waited = max(0.0, page_cache.get_read_end(now) - started)
            _spent["reading"] += waited
            started += waited
        _spent[name] += now - started


def get_start() -> float:
    """Return when this process got its device, in seconds of time.monotonic.

    This excludes the wait for a free device. Without a lease it is the current time.
    """
    return float(os.environ.get("GPULEASE_SINCE") or time.monotonic())


def record_imports() -> None:
    """Count the time since the process got its device as imports. Call after the step program's imports."""
    _spent["imports"] += time.monotonic() - get_start()


def get_seconds() -> dict[str, float]:
    """Return the seconds of this process in each of PHASES."""
    return dict(_spent)


class Warmup:
    """Estimate how much longer the first batch of a lane took than later ones, for compiling and allocating memory.

    The seconds per item are compared with the median of the batches after it. This is an estimate, because items differ
    in size. It is 0 below FEWEST batches after the first.
    """

    FEWEST, MOST = 3, 9
    """Number of later batches that are needed, and that are used; batches after these may differ in size."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._first: tuple[int, float] | None = None
        self._later: list[float] = []

    def add(self, count: int, seconds: float) -> None:
        """Add a batch of `count` items, none of them failed, that took `seconds` altogether."""
        if self._first is None:
            self._first = count, seconds
        elif len(self._later) < self.MOST:
            self._later.append(seconds / count)
            if len(self._later) >= self.FEWEST:
                usual = sorted(self._later)[len(self._later) // 2]
                self.seconds = max(0.0, self._first[1] - self._first[0] * usual)
