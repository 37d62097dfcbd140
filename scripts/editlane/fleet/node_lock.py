"""Keep other supervisors of a fleet away from a machine, by a locked file that names the one that runs."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.core.locks import open_lock
from editlane.core.paths import FleetPaths
from editlane.fleet.sessions import BOOT

log = logging.getLogger(__name__)


class Holder(NamedTuple):
    """Who wrote a lock file."""

    pid: int
    boot: str
    """Id of a machine's start: process ids of another machine mean nothing here."""

    @property
    def is_here(self) -> bool:
        """Return whether it is a process of this machine."""
        return self.boot == read_boot()


class NodeLock:
    """The lock of one machine's supervisor."""

    def __init__(self, paths: FleetPaths, node: str) -> None:
        """Take it. Raises UserError if another supervisor has it."""
        self._path = paths.lock(node)
        self._handle = open_lock(str(self._path), otherwise="choose another `fleet:`")
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sign()
        except BlockingIOError as error:
            os.close(self._handle)
            holder = read_holder(self._path)
            process = f"process {holder.pid}" if holder and holder.is_here else "on another machine of this name"
            raise UserError(
                f"The fleet {paths.folder.name} is up on {node} already ({process}). End it with `down`, or choose "
                "another `fleet:` in the config."
            ) from error

    def _sign(self) -> None:
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()} {read_boot()}\n".encode(), 0)

    def renew(self) -> None:
        """Put the file back if somebody removed it, because then another supervisor could take it. Raises OSError."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), os.fstat(self._handle)):
                return
        make_folder(self._path.parent)
        log.warning("%s was removed; it is put back", self._path.parent)
        try:
            handle = open_lock(str(self._path), otherwise="choose another `fleet:`")
        except UserError as error:
            raise OSError(str(error)) from error
        old, self._handle = self._handle, handle
        os.close(old)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._sign()

    def close(self) -> None:
        """Let others have it."""
        os.close(self._handle)


@contextmanager
def hold_lock(paths: FleetPaths, node: str) -> Iterator[NodeLock]:
    """Hold the lock of a machine. Raises UserError if another supervisor has it."""
    lock = NodeLock(paths, node)
    try:
        yield lock
    finally:
        lock.close()


def read_boot() -> str:
    """Return the id of this machine's start."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return "unknown"


def read_holder(path: Path) -> Holder | None:
    """Return who wrote a lock file, or None."""
    try:
        pid, boot = path.read_text().split()
        return Holder(int(pid), boot)
    except (OSError, ValueError):
        return None
