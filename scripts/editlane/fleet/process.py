"""One process of a fleet with all that it starts: begun in a session of its own, ended as a whole."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from editlane.core.files import make_folder
from editlane.core.printable import escape
from editlane.fleet.commands import guarded
from editlane.fleet.sessions import list_processes, note_session

LARGEST_LOG = 64 * 2**20
"""Bytes; a longer log is put aside when its process starts again."""

_TAIL = 200_000
"""Bytes: vLLM ends with several tracebacks, and each of its processes with its own."""
_LONGEST_REASON = 300
_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?([A-Z]+ [\d-]+ [\d:]+ \[[^\]]+\] ?)?")
"""What vLLM begins its lines with: `(Worker pid=1) ERROR 12-01 01:38:53 [core.py:151] `."""
_HARMLESS = re.compile(
    r"\s*$|gpulease: |\s*(File|Traceback|During handling|The above exception|\^|~)"
    r"|.*(See root cause above|See stack trace \(above\)|\bleaked\b)|RuntimeError: cancelled$"
)
_ERROR = re.compile(r"[\w.]+(Error|Exception)\b|[\w.-]+: error:|Worker proc \S+ died unexpectedly")
_HEADING = re.compile(r".*\d+ validation errors? for ")
"""A line of pydantic's that says nothing; the next one does."""


class GuardedProcess:
    """A command that runs under guard.py, and with a GPU's lease if it needs one.

    It must be started and ended by one thread, because it is tied to the thread that started it.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        sessions: Path,
        *,
        leased: bool,
        folder: Path | None = None,
    ) -> None:
        """Start it, in this folder or in the current one. Raises OSError."""
        make_folder(log.parent)
        with suppress(OSError):
            if log.stat().st_size > LARGEST_LOG:
                os.replace(log, log.with_name(f"{log.name}.old"))
        self._log = log
        self._began = log.stat().st_size if log.exists() else 0
        words = guarded(command, os.getpid(), leased=leased)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.pid = self._process.pid
        note_session(sessions, self.pid)

    def wait(self, seconds: float) -> bool:
        """Wait so long for its end, and return whether it has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def is_waiting(self) -> bool:
        """Return whether it still waits for a GPU: the lease's program has not become the guard yet."""
        try:
            words = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return any(word.endswith(b"/gpulease.py") for word in words[:3])

    def read_device(self) -> str:
        """Return the GPU that it leased, as CUDA_VISIBLE_DEVICES names it; "cpu" without one."""
        with suppress(OSError):
            for entry in Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0"):
                if entry.startswith(b"CUDA_VISIBLE_DEVICES="):
                    return escape(entry.partition(b"=")[2].decode(errors="replace")) or "cpu"
        return "cpu"

    def ask_to_end(self) -> None:
        """Send SIGTERM, after which it finishes the work at hand."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it and all that it started at once. It is still to be ended by its own thread."""
        _kill_tree(self.pid)

    def end(self, grace: float) -> None:
        """End it and all that it started, after at most `grace` seconds."""
        self.ask_to_end()
        self.wait(grace)
        if self._process.poll() is None:
            _kill_tree(self.pid)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what a killed guard left behind has its group
        self._process.wait()

    def explain_end(self) -> str:
        """Return why it ended: its exit code, and the last telling line of its log."""
        code = self._process.returncode
        how = f"ended by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        reason = self._read_reason()
        return f"{how}: {reason}" if reason else how

    def _read_reason(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(max(self._began, self._log.stat().st_size - _TAIL))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return escape(find_reason(lines))[:_LONGEST_REASON]


def find_reason(lines: Sequence[str]) -> str:
    """Return the last line of a log that tells why a program ended; "" if there is none."""
    telling = [line for line in (_PREFIX.sub("", line) for line in lines) if not _HARMLESS.match(line)]
    errors = [place for place, line in enumerate(telling) if _ERROR.match(line)]
    if not errors:
        return " ".join(telling[-1].split()) if telling else ""
    last = errors[-1]
    if _HEADING.match(telling[last]) and last + 1 < len(telling):
        last += 1
    return " ".join(telling[last].split())


def _kill_tree(guard: int) -> None:
    """Kill what runs under a guard; it then ends by itself, and the lease with it."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        children = [one.pid for one in list_processes() if one.parent == guard]
        if not children:
            return
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.05)
