"""The lock files of all devices at one moment: opened once, and then used by their handles.

Standard library only.
"""

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress

from editlane.core.errors import UserError
from editlane.core.locks import open_lock
from editlane.lanes.gpu_strikes import Lease, quarantined, read_lease, write_lease


class OpenLocks:
    """The lock files of the pool, by path. Those that were free are locked until `close_all_but`."""

    def __init__(self, paths: Iterable[str], folder: int) -> None:
        """Open and lock. `folder`: the handle on the folder that they are in. Raises UserError."""
        self._handles = {path: open_lock(path, folder=folder) for path in paths}
        self._free = {path for path, handle in self._handles.items() if try_lock(path, handle)}
        self._leases = {
            path: _settle(handle) if path in self._free else read_lease(handle)
            for path, handle in self._handles.items()
        }
        self._strikes = {path: lease.strikes for path, lease in self._leases.items()}
        self.quarantined = quarantined(self._strikes)

    def choose(self, wanted: int, job: str, *, patient: bool) -> dict[str, int]:
        """Return `wanted` of the free ones with their handles; nothing if too few are free.

        Devices in quarantine are not taken. One on which this job died is taken last; while the job is `patient`, it
        is not taken at all if another device is busy.
        """
        usable = [path for path in self._handles if path in self._free and path not in self.quarantined]
        usable.sort(key=lambda path: job in self._strikes[path])
        busy = self._handles.keys() - self._free - self.quarantined
        if patient and any(job not in self._strikes[path] for path in busy):
            usable = [path for path in usable if job not in self._strikes[path]]
        return {path: self._handles[path] for path in usable[:wanted]} if len(usable) >= wanted else {}

    def save_holder(self, path: str, holder: str) -> None:
        """Write down who holds a lock. On a full disk that is lost, and the strikes; the lock is not."""
        with suppress(OSError):
            write_lease(self._handles[path], Lease(holder=holder, strikes=self._strikes[path]))

    def describe(self, path: str, job: str) -> str:
        """Say in what state this job found a lock."""
        if path not in self._free:
            holder = self._leases[path].holder[:200]
            return f"held by {holder!r}" if holder else "held by an unknown process"  # quoted: anyone may write there
        if path in self.quarantined:
            return "in quarantine"
        return "free, but this command died on it" if job in self._strikes[path] else "free"

    def close_all_but(self, chosen: Iterable[str]) -> None:
        """Give all other locks back."""
        for path in self._handles.keys() - set(chosen):
            os.close(self._handles[path])


def try_lock(path: str, handle: int) -> bool:
    """Lock the file unless somebody holds it. Raises UserError where the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(f"cannot lock {path}: {error.strerror}. Set GPULEASE_DIR to a disk of this machine.") from error


def _settle(handle: int) -> Lease:
    """Turn a dead process's trial into a strike, and return the lease. The caller must hold the lock."""
    lease = read_lease(handle)
    if lease.trial:
        lease = Lease(strikes=lease.settled_strikes())
        with suppress(OSError):
            write_lease(handle, lease)
    return lease
