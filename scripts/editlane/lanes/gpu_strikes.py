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
from dataclasses import dataclass, field

QUARANTINE = 2
"""Strikes from one run that put a device into quarantine."""


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


def read_lease(path: str) -> Lease:
    """Read a lock file. Return an empty lease if it holds none."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        strikes = [str(job) for job in found["strikes"]]
        return Lease(holder=str(found["holder"]), trial=str(found.get("trial", "")), strikes=strikes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Lease()


def write_lease(path: str, lease: Lease) -> None:
    """Write a lock file that exists. Raises OSError."""
    text = json.dumps({"holder": lease.holder, "trial": lease.trial, "strikes": lease.strikes}, ensure_ascii=False)
    with open(path, "r+", encoding="utf-8") as file:
        file.truncate(0)
        file.write(text + "\n")


def quarantined(strikes: Mapping[str, Iterable[str]]) -> set[str]:
    """Return the devices in quarantine; `strikes` has the strikes of every device of the pool."""
    places = Counter(job for jobs in strikes.values() for job in set(jobs))
    counted = {
        device: Counter(job.partition(":")[0] for job in jobs if places[job] == 1) for device, jobs in strikes.items()
    }
    out = {device for device, runs in counted.items() if max(runs.values(), default=0) >= QUARANTINE}
    return out if len(out) < len(strikes) else set()


@dataclass(frozen=True, slots=True)
class HeldDevices:
    """The devices that a lease holds for this process; none if it was started without a lease."""

    locks: tuple[str, ...]
    job: str

    @classmethod
    def from_environment(cls) -> "HeldDevices":
        """Read GPULEASE_LOCKS and GPULEASE_JOB, which the lease sets."""
        locks = os.environ.get("GPULEASE_LOCKS", "")
        return cls(tuple(filter(None, locks.split("\n"))), os.environ.get("GPULEASE_JOB", ""))

    def mark_unproven(self) -> None:
        """Count the death of this process as a strike from now on."""
        self._update(lambda lease: Lease(trial=self.job, strikes=lease.strikes))

    def mark_working(self) -> None:
        """Clear all strikes, because something worked on these devices."""
        self._update(lambda lease: Lease())

    def mark_blameless(self) -> None:
        """Count the death of this process as no strike from now on."""
        self._update(lambda lease: Lease(strikes=lease.strikes))

    def _update(self, change: Callable[[Lease], Lease]) -> None:
        for lock in self.locks:
            changed = change(read_lease(lock))
            try:
                holder = f"{os.getpid()} {self.job}"
                write_lease(lock, Lease(holder=holder, trial=changed.trial, strikes=changed.strikes))
            except OSError:  # a lease folder that was emptied during a run is no reason to stop it
                return
