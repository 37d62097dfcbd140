"""Share the time of a lane among units that are at work at once. A unit that waits is not at work."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from editlane.core.waiting import measured_by


@dataclass(slots=True)
class Spent:
    """Seconds of one unit."""

    own: float = 0.0
    """In which it was at work."""
    share: float = 0.0
    """Its part of the time in which any unit was at work: the shares of all sum to that time. Equal to `own` for a unit
    that was alone."""


class BusyTime:
    """Measures units. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work = 0
        self._since = 0.0
        """Until then, the time has been given to a unit."""

    @contextmanager
    def spending(self) -> Iterator[Spent]:
        """Measure the block as the work on one unit, without its waits; the result is known at its end."""
        clock = _Clock(self)
        clock.start()
        try:
            with measured_by(clock):
                yield clock.spent
        finally:
            clock.stop()

    def begin(self) -> float:
        """Note that one more unit is at work, and return the time."""
        with self._lock:
            now = time.monotonic()
            if not self._at_work:
                self._since = now
            self._at_work += 1
            return now

    def end(self, spent: Spent, began: float) -> None:
        """Note that a unit is no longer at work, and add what it spent since it `began`."""
        with self._lock:
            now = time.monotonic()
            spent.own += now - began
            spent.share += now - self._since
            self._since = now
            self._at_work -= 1


class _Clock:
    """Measures one unit."""

    def __init__(self, busy: BusyTime) -> None:
        self.spent = Spent()
        self._busy = busy
        self._began = 0.0

    def start(self) -> None:
        self._began = self._busy.begin()

    def stop(self) -> None:
        self._busy.end(self.spent, self._began)
