"""Strikes against a device: what a process leaves in its lease when it dies before anything worked.

The lock file of a lease names the job that has not finished an item on the device yet. If the process dies, the next
holder turns its job into a strike. The rules:

- A device with QUARANTINE strikes from one run is quarantined.
- If all devices have that many, none is: the cause is elsewhere.
- A job that died on two devices is itself to blame, and its strikes do not count.
- Strikes of different runs are not added up, because all jobs of a run die when the run is killed.

Standard library only.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

QUARANTINE = 2
"""Strikes from one run that put a device into quarantine."""
LONGEST = 65536
"""Bytes of a lock file that are read."""
MOST_STRIKES = 100
"""Strikes that are kept, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The content of a lock file."""

    holder: str = ""
    trial: str = ""
    """The job (RUN:JOB) holding the device that has not finished an item yet. If its process is dead, it died that
    way."""
    strikes: list[str] = field(default_factory=list)
    """A job for each death since something last worked."""

    def settled_strikes(self) -> list[str]:
        """Return the strikes, and one more if the last holder died before it finished an item."""
        return [*self.strikes, *([self.trial] if self.trial else [])]


def read_lease(handle: int) -> Lease:
    """Read an open lock file. Return an empty lease if it holds none: every user can write to it."""
    try:
        found = json.loads(os.pread(handle, LONGEST, 0))
        strikes = [str(job) for job in found["strikes"]]
        return Lease(holder=str(found["holder"]), trial=str(found.get("trial", "")), strikes=strikes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Lease()


def write_lease(handle: int, lease: Lease) -> None:
    """Write an open lock file. Raises OSError."""
    content = {"holder": lease.holder, "trial": lease.trial, "strikes": lease.strikes[-MOST_STRIKES:]}
    text = json.dumps(content, ensure_ascii=False) + "\n"
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(errors="replace"), 0)


def quarantined(strikes: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the devices in quarantine; `strikes` has the strikes of every device of the pool."""
    places = Counter(job for jobs in strikes.values() for job in set(jobs))
    counted = {
        device: Counter(job.partition(":")[0] for job in jobs if places[job] == 1) for device, jobs in strikes.items()
    }
    out = {device for device, runs in counted.items() if max(runs.values(), default=0) >= QUARANTINE}
    return out if len(out) < len(strikes) else set()


def name_handle(handle: int) -> str:
    """Return a text by which a program that inherits the handle recognises it."""
    found = os.fstat(handle)
    return f"{handle}:{found.st_dev}:{found.st_ino}"


def _find_handle(name: str) -> int | None:
    """Return the handle that `name_handle` named; None if this process did not inherit it."""
    try:
        handle = int(name.partition(":")[0])
        return handle if name_handle(handle) == name else None
    except (ValueError, OSError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class HeldDevices:
    """The devices that a lease holds for this process; none if it was started without a lease."""

    locks: tuple[int, ...]
    """The inherited handles of their lock files."""
    job: str

    @classmethod
    def from_environment(cls) -> "HeldDevices":
        """Read GPULEASE_LOCKS and GPULEASE_JOB, which the lease sets."""
        handles = map(_find_handle, os.environ.get("GPULEASE_LOCKS", "").split())
        return cls(tuple(handle for handle in handles if handle is not None), os.environ.get("GPULEASE_JOB", ""))

    def mark_unproven(self) -> None:
        """Count the death of this process as a strike from now on."""
        self._update(lambda lease: replace(lease, trial=self.job))

    def mark_working(self) -> None:
        """Clear all strikes, because something worked on these devices."""
        self._update(lambda lease: replace(lease, trial="", strikes=[]))

    def mark_blameless(self) -> None:
        """Count the death of this process as no strike from now on."""
        self._update(lambda lease: replace(lease, trial=""))

    def _update(self, change: Callable[[Lease], Lease]) -> None:
        for handle in self.locks:
            with suppress(OSError):  # a full disk under the lease folder is no reason to stop the run
                write_lease(handle, change(read_lease(handle)))
