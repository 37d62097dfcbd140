"""Tell waiting from work: a thread that waits for its turn, or between two attempts, works on nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Clock(Protocol):
    """Measures the work of one thread."""

    def stop(self) -> None:
        """Stop until `start`."""
        ...

    def start(self) -> None:
        """Go on."""
        ...


_OWN = threading.local()


@contextmanager
def measured_by(clock: Clock) -> Iterator[None]:
    """Let `clock` stop where this thread waits within the block."""
    before = getattr(_OWN, "clock", None)
    _OWN.clock = clock
    try:
        yield
    finally:
        _OWN.clock = before


@contextmanager
def waiting() -> Iterator[None]:
    """Run the block as a wait of this thread."""
    clock: Clock | None = getattr(_OWN, "clock", None)
    if clock is None:
        yield
        return
    clock.stop()
    try:
        yield
    finally:
        clock.start()
