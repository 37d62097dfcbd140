"""Run a command, and end all that it started when it ends, or when the process that started this one ends.

    python scripts/guard.py --with-parent PID -- COMMAND [ARG ...]

A model server consists of several processes. If one of them is killed, the others live on and hold the GPU. This
program adopts them (it is their subreaper) and kills them before it ends itself. It inherits a GPU's lease, so the
lease lasts until the last of them is gone. SIGTERM is passed on to the command.
Exit codes: the command's own, 128 + a signal's number, 2 if the command cannot be started.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PARENT_ENDED = signal.SIGUSR1


class ParentEnded(BaseException):
    """The process that started this one has ended."""


def list_children() -> list[int]:
    """Return the process ids of this process's children, adopted ones included."""
    found, own = [], os.getpid()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it ended
                parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
                if parent == own:
                    found.append(int(folder.name))
    return found


def kill_children() -> None:
    """Kill all children, and those that they leave to this process, until there are none."""
    while True:
        for child in list_children():
            os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def wait_for(command: int) -> int:
    """Return the exit code of the command. Reaps the processes that were left to this one meanwhile."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def pass_on(command: int) -> None:
    """Send the command SIGTERM."""
    with suppress(ProcessLookupError):
        os.kill(command, signal.SIGTERM)


def ignore_signals() -> None:
    """Let nothing break off what follows."""
    for number in (_PARENT_ENDED, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def guard(command: list[str], parent: int) -> int:
    """Run the command, and return its exit code once nothing of it is left."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(_PR_SET_PDEATHSIG, _PARENT_ENDED)  # instead of SIGKILL, after which the command would live on

    def end(*_: Any) -> None:
        signal.signal(_PARENT_ENDED, signal.SIG_IGN)  # it comes once for each thread of the parent
        raise ParentEnded

    signal.signal(_PARENT_ENDED, end)
    try:
        if os.getppid() != parent:
            raise ParentEnded
        process = subprocess.Popen(command, close_fds=False)  # the lease's lock is an open file
        signal.signal(signal.SIGTERM, lambda *_: pass_on(process.pid))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = wait_for(process.pid)
        ignore_signals()  # within `try`: until then the parent may end, and then everything goes on below
    except ParentEnded:
        code = 128 + signal.SIGKILL
    finally:
        ignore_signals()
        kill_children()
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with-parent", type=int, required=True, metavar="PID", help="the process that starts it")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- COMMAND [ARG ...]")
    args = parser.parse_args()
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        parser.error("give a command after --")
    try:
        sys.exit(guard(command, args.with_parent))
    except OSError as error:
        print(f"guard: cannot start {command[0]!r}: {error.strerror}.", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
