"""Stop a process in good order: on SIGTERM or SIGINT, or once the workflow that started it has died."""

import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType

from editlane.core.errors import Stopped, UserError
from editlane.core.os_errors import explain_os_error

log = logging.getLogger(__name__)


def is_in_good_order(error: BaseException) -> bool:
    """Return whether no item and no device is to blame for this end of a lane.

    That is a stop, a mistake in the config, a full disk, a server that refuses. Other OSErrors are bugs: of an encoder
    that cannot save an image, or of a worker that died.
    """
    if isinstance(error, OSError):
        return explain_os_error(error) is not None
    return isinstance(error, (Stopped, UserError, KeyboardInterrupt))


def workflow_pid() -> int | None:
    """Return the process id of the nearest ancestor that is Snakemake itself (not its shell); None without one."""
    pid = os.getppid()
    while pid > 1:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().split(b"\0")
            parent = int(_read_stat(pid)[1])
        except OSError:
            return None
        is_shell = os.path.basename(arguments[0]) in (b"bash", b"sh", b"dash")
        if not is_shell and any(b"snakemake" in argument for argument in arguments[:4]):
            return pid
        pid = parent
    return None


def identify_workflow() -> str | None:
    """Return what no other process shares with the workflow that started this one; None without one."""
    pid = workflow_pid()
    try:
        return None if pid is None else f"{pid} since {_read_stat(pid)[19]}"
    except OSError:
        return None


def _read_stat(pid: int) -> list[str]:
    """Return the fields of a process from its state on. Raises OSError."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


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


class StopRequest:
    """A request to stop, which a lane checks between two units."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._at_once: Callable[[], None] = lambda: None

    def check(self) -> None:
        """Raise Stopped if a stop was requested."""
        if self._reason is not None:
            raise Stopped(self._reason)

    def call_at_once(self, act: Callable[[], None]) -> None:
        """Call `act` when a stop is requested, in another thread, while the lane is still at work."""
        self._at_once = act

    def ask(self, reason: str) -> None:
        """Request a stop."""
        self._reason = reason  # first: what begins after the call below sees it at its next check
        log.info("stopping after this item: %s", reason)
        self._at_once()


class StopSignal(StopRequest):
    """A request to stop by SIGTERM or SIGINT, or by the end of the workflow."""

    def __init__(self) -> None:
        super().__init__()
        self._signals: SimpleQueue[int] = SimpleQueue()  # its `put` may be called in a signal handler
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.Thread(target=self._answer_signals, daemon=True, name="stop").start()
        on_workflow_exit(lambda: self.ask("the workflow that started this lane is gone"))

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals.put(number)

    def _answer_signals(self) -> None:
        while True:  # not in the handler: it runs in the middle of anything, also of what holds a lock
            number = self._signals.get()
            self.ask(f"got {signal.Signals(number).name}; finished items are in the journal")
