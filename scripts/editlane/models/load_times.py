"""Seconds that a process spends before its first item, by phase."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from editlane.models import page_cache

PHASES = ("imports", "reading", "transfer", "warm-up")
"""Python and modules; what of the next one passed while the files were still read, by this process or another; weights
to the device and all that is built with them; first calls that compile or measure."""

_spent = dict.fromkeys(PHASES, 0.0)
_running: list[str] = []


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Add the seconds spent in here to `name`, one of PHASES. For one thread; raises ValueError for another name and
    inside of another phase."""
    if name not in _spent or _running:
        raise ValueError(f"phase {name!r} inside of {_running[0]!r}" if _running else f"unknown phase {name!r}")
    _running.append(name)
    started = time.monotonic()
    if name == "imports":
        gc.disable()  # modules make objects by the hundred thousand, all of which stay: searching them finds nothing
    try:
        yield
    finally:
        if name == "imports":
            gc.enable()
            gc.freeze()  # nor are they searched later, or at the end
        _running.clear()
        now = time.monotonic()
        if name == "transfer":
            waited = max(0.0, page_cache.reading_until(now) - started)
            _spent["reading"] += waited
            started += waited
        _spent[name] += now - started


def began() -> float:
    """When this process began, in seconds of time.monotonic: when it got its device. The wait for a free device is
    no part of it; without a lease it is now."""
    return float(os.environ.get("GPULEASE_SINCE") or time.monotonic())


def imported() -> None:
    """The modules of the step program are imported: what passed since the process began went into that."""
    _spent["imports"] += time.monotonic() - began()


def spent() -> dict[str, float]:
    """Seconds of this process by phase, of all PHASES."""
    return dict(_spent)


class Warmup:
    """What the first batch of a lane took longer than the next ones: kernels are compiled and memory is found.

    Compared are seconds an item with the median of the batches after it; an estimate, as items differ in size. Without
    FEWEST batches after the first it is 0.
    """

    FEWEST, MOST = 3, 9
    """Batches that say something, and that suffice: later ones may be of another size."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._first: tuple[int, float] | None = None
        self._later: list[float] = []

    def add(self, count: int, seconds: float) -> None:
        """`count` items, of which none failed, took so many seconds together."""
        if self._first is None:
            self._first = count, seconds
        elif len(self._later) < self.MOST:
            self._later.append(seconds / count)
            if len(self._later) >= self.FEWEST:
                usual = sorted(self._later)[len(self._later) // 2]
                self.seconds = max(0.0, self._first[1] - self._first[0] * usual)
