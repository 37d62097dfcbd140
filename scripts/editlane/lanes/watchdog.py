"""End this process if it makes no progress, so that its lane is started again from its journal."""

import faulthandler
import re
import threading
import time


class Watchdog:
    """A timer that ends the process with exit code 1 unless it is reset in time.

    All threads' stacks go to stderr first. It works while the interpreter hangs, too; not for a process that was
    stopped with SIGSTOP.
    """

    def __init__(self, timeout: float | None) -> None:
        """Take the timeout in seconds; None for no timer."""
        self._timeout = timeout
        self._last_reset = 0.0
        self._lock = threading.Lock()  # a thread that waits must not start a timer that was stopped

    def reset(self, now: float) -> None:
        """Start the timer anew. `now`: time.monotonic(). Resets in quick succession cost nothing."""
        with self._lock:
            if self._timeout is not None and now - self._last_reset >= min(1.0, self._timeout / 4):
                self._last_reset = now
                _RUNNING.add(self)
                faulthandler.dump_traceback_later(self._timeout, exit=True)

    def stop(self) -> None:
        """Stop the timer for good."""
        with self._lock:
            self._timeout = None
            faulthandler.cancel_dump_traceback_later()
            _RUNNING.discard(self)


_RUNNING: set[Watchdog] = set()
"""The timer of this process, if it has one."""


def keep_alive() -> None:
    """Start the timer of this process anew: a thread waits for its turn, or is about to send a request."""
    for watchdog in tuple(_RUNNING):
        watchdog.reset(time.monotonic())


_DUMP = re.compile(
    r"^Timeout \((\d+):(\d\d):(\d\d(?:\.\d+)?)\)!\n"
    r"(?:(?:Current thread|Thread) 0x.*(?:\n|\Z)|  .*(?:\n|\Z)|\n)*\Z",
    re.MULTILINE,
)
"""The stacks that faulthandler writes last of all, before it ends the process."""


def find_timeout(log: str) -> float | None:
    """Return the timeout in seconds if this log ends with the watchdog's stacks, else None."""
    found = _DUMP.search(log)
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) if found else None
