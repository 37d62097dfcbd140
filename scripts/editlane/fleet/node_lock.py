"""Keep other supervisors of the same processes away, by a locked file that names the one that runs."""

import errno
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
from editlane.core.machine import is_here, read_machine

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class Holder(NamedTuple):
    """Who wrote a lock file."""

    pid: int
    machine: str
    """As `read_machine` has it: process ids of another machine or container mean nothing here."""

    @property
    def is_here(self) -> bool:
        """Return whether its process id means that process here."""
        return is_here(self.machine)


class NodeLock:
    """The lock of one machine's supervisor."""

    def __init__(self, path: Path, what: str, key: str) -> None:
        """Take it. Raises UserError if another supervisor has it.

        `what`: what it says to be up, such as `The fleet judges is up on this`; `key`: the config's key of its name.
        """
        self._path, self._otherwise = path, f"choose another `{key}:`"
        self._handle = open_lock(str(self._path), otherwise=self._otherwise)
        try:
            self._take(self._handle)
        except BlockingIOError as error:
            os.close(self._handle)
            holder = read_holder(self._path)
            process = f"process {holder.pid}" if holder and holder.is_here else "in a container or machine of that name"
            raise UserError(
                f"{what} already ({process}). End it with `down`, or {self._otherwise} in the config."
            ) from error

    def _take(self, handle: int) -> None:
        """Lock a file and sign it. Raises OSError; BlockingIOError if another has it."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("%s has no file locks; make sure that only one supervisor of this name runs", self._path.parent)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {read_machine()}\n".encode(), 0)

    def renew(self) -> None:
        """Put the file back if somebody removed it, because then another supervisor could take it. Raises OSError."""
        with suppress(FileNotFoundError):
            if os.path.samestat(self._path.stat(), os.fstat(self._handle)):
                return
        make_folder(self._path.parent)
        log.warning("%s was removed; it is put back", self._path.parent)
        try:
            handle = open_lock(str(self._path), otherwise=self._otherwise)
        except UserError as error:
            raise OSError(str(error)) from error
        try:
            self._take(handle)
        except OSError:
            os.close(handle)
            raise
        old, self._handle = self._handle, handle
        os.close(old)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._handle)


@contextmanager
def hold_lock(path: Path, what: str, key: str) -> Iterator[NodeLock]:
    """Hold the lock of a machine, as NodeLock takes it. Raises UserError if another supervisor has it."""
    lock = NodeLock(path, what, key)
    try:
        yield lock
    finally:
        lock.close()


def read_holder(path: Path) -> Holder | None:
    """Return who wrote a lock file, or None."""
    try:
        pid, machine = path.read_text().split()
        return Holder(int(pid), machine)
    except (OSError, ValueError):
        return None


def is_locked(path: Path) -> bool:
    """Return whether a supervisor of this machine holds this lock."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False
