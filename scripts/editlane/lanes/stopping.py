"""Stop a process in good order: on SIGTERM or SIGINT, or once the workflow that started it has died."""

import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType

from editlane.core.errors import Stopped, UserError

log = logging.getLogger(__name__)

GOOD_ORDER = (Stopped, UserError, OSError, KeyboardInterrupt)
"""What ends a lane in good order: a stop, a mistake in the config, a full disk, a server that refuses. No item and no
device is to blame for it."""


def workflow_pid() -> int | None:
    """Return the process id of the nearest ancestor that is Snakemake itself (not its shell); None without one."""
    pid = os.getppid()
    while pid > 1:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
            with open(f"/proc/{pid}/stat") as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            return None
        is_shell = os.path.basename(arguments[0]) in (b"bash", b"sh", b"dash")
        if not is_shell and any(b"snakemake" in argument for argument in arguments[:4]):
            return pid
        pid = parent
    return None


def on_workflow_exit(act: Callable[[], None]) -> None:
    """Call `act` in a thread once the workflow that started this process has ended; never if there is none."""
    pid = workflow_pid()
    if pid is not None:
        threading.Thread(target=_wait_for_exit, args=(pid, act), daemon=True, name="workflow-exit").start()


def _wait_for_exit(pid: int, act: Callable[[], None]) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        act()
        return
    except OSError as error:
        log.info("cannot watch the workflow's process (%s); only signals stop this one early", error)
        return
    select.select([handle], [], [])
    os.close(handle)
    act()


class StopSignal:
    """A request to stop, which a lane checks between two units."""

    def __init__(self) -> None:
        self._reason: str | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        on_workflow_exit(lambda: self._stop("the workflow that started this lane is gone"))

    def check(self) -> None:
        """Raise Stopped if a stop was requested."""
        if self._reason is not None:
            raise Stopped(self._reason)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop(f"got {signal.Signals(number).name}; finished items are in the journal")

    def _stop(self, reason: str) -> None:
        self._reason = reason
        log.info("stopping after this item: %s", reason)
