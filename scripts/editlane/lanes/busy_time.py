"""Share the time of a lane among units that are at work at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class Spent:
    """Seconds of one unit."""

    own: float = 0.0
    """From its begin to its end."""
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
        """Measure the block as the work on one unit; the result is known at its end."""
        spent, started = Spent(), time.monotonic()
        with self._lock:
            self._since = self._since if self._at_work else started
            self._at_work += 1
        try:
            yield spent
        finally:
            with self._lock:
                ended = time.monotonic()
                spent.own, spent.share = ended - started, ended - self._since
                self._since = ended
                self._at_work -= 1
