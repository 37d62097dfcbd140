"""How long a server that ended rests before it is started again."""

import time

LONGEST_REST = 60.0
"""Seconds before the next start of a server that fails again and again; the first one is after a second."""
STEADY_SECONDS = 120.0
"""A server that worked for so long begins with the shortest rest again."""


class Rests:
    """The rests of one server: 1, 2, 4 ... 60 s."""

    def __init__(self) -> None:
        self._failures, self._began = 0, time.monotonic()

    def begin(self) -> None:
        """Take note that it is started."""
        self._began = time.monotonic()

    def choose(self) -> float:
        """Return the seconds until its next start. It has just ended."""
        if time.monotonic() - self._began > STEADY_SECONDS:
            self._failures = 0
        self._failures += 1
        return min(LONGEST_REST, 2.0 ** min(self._failures - 1, 10))
