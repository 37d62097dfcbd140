"""Start a supervisor in the background, and end one that runs."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.fleet.node_lock import is_locked, read_holder


def stop_at_signals(stopping: threading.Event) -> None:
    """Have SIGTERM and Ctrl-C finish the work at hand; a second Ctrl-C ends at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            if number == signal.SIGINT:
                os._exit(128 + number)  # the guards notice, and end everything at once
            return  # a second `down` must not drop the work at hand
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def start_in_background(words: list[str], log_file: Path, lock: Path, state: Path) -> int:
    """Start this program with these words, and return its process id once its supervisor runs.

    `lock` and `state` are the files of that supervisor. Raises UserError with the reason for which it ended.
    """
    make_folder(log_file.parent)
    with log_file.open("ab", buffering=0) as out:
        _begin_log(out, log_file)
        began = log_file.stat().st_size
        process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    while process.poll() is None:
        holder = read_holder(lock)
        if state.exists() and holder and holder.pid == process.pid and is_locked(lock):
            return process.pid
        time.sleep(0.1)
    with log_file.open("rb") as lines:
        lines.seek(began)
        said = lines.read().decode(errors="replace").strip()
    raise UserError(said.removeprefix("error: ") or f"The supervisor ended with exit code {process.returncode}.")


def _begin_log(out: IO[bytes], path: Path) -> None:
    """Write a first line, because on a full disk nobody would read why the supervisor ended. Raises OSError."""
    try:
        out.write(f"-- up, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
    except OSError as error:
        error.filename = str(path)
        raise


def end_supervisor(lock: Path, *, seconds: float, what: str, node: str, logs: Path) -> None:
    """End the supervisor that holds this lock, and return once it is gone. Raises UserError if none does.

    `seconds`: how long that may take; `what` it looks after, on which `node`, and where its logs are.
    """
    holder = read_holder(lock)
    if holder is None or not is_locked(lock):
        raise UserError(f"{what} is not up on {node}.")
    if not holder.is_here:
        raise UserError(f"{node} is another machine, whose processes cannot be ended from here. Run `down` there.")
    os.kill(holder.pid, signal.SIGTERM)
    until = time.monotonic() + seconds
    while is_locked(lock):
        if time.monotonic() > until:
            raise UserError(f"The supervisor (process {holder.pid}) has not ended yet. See {logs}.")
        time.sleep(0.1)
