"""Remember the sessions that a supervisor started, so that the next one finds what is left of them after a crash.

A process is known by its session, because model servers and routers overwrite their command line and with it their
environment. A session's number is its first process's, and the kernel gives it to nobody else while a member lives.
Once none lives it may give it away. If that session, too, has lost its leader, /proc does not tell it from ours; that
takes a whole round of process ids between the crash and the next `up`.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from editlane.core.machine import is_here, read_machine


class Process(NamedTuple):
    """What /proc says of a process."""

    pid: int
    parent: int
    session: int
    began: int
    """Clock ticks since the machine started."""


def list_processes() -> list[Process]:
    """Return every process that has not ended."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it ended
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X"):
                    found.append(Process(int(folder.name), int(fields[1]), int(fields[3]), int(fields[19])))
    return found


def note_session(path: Path, leader: int) -> None:
    """Add a session to the file of a supervisor. Without it only a crash of everything at once leaves something."""
    began = next((one.began for one in list_processes() if one.pid == leader), 0)
    with suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(f"{read_machine()} {leader} {began}\n")


def find_members(path: Path) -> list[int]:
    """Return the processes that live in the sessions of a supervisor's file."""
    noted = dict(_read(path))
    processes = list_processes()
    # A leader that began at another time is somebody else's, and so is what began before its leader.
    foreign = {one.pid for one in processes if one.pid in noted and one.began != noted[one.pid]}
    ours = noted.keys() - foreign
    return [one.pid for one in processes if one.session in ours and one.began >= noted[one.session]]


def _read(path: Path) -> list[tuple[int, int]]:
    found = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) == 3 and is_here(words[0]) and words[1].isdecimal() and words[2].isdecimal():
                found.append((int(words[1]), int(words[2])))
    return found


def end_members(path: Path) -> int:
    """Kill what is left of a supervisor that was killed, forget it, and return how many processes there were."""
    seen: set[int] = set()
    for _ in range(100):
        found = find_members(path)
        seen.update(found)
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            break
        time.sleep(0.05)
    path.unlink(missing_ok=True)
    return len(seen)
