"""Strikes against a device: what a process leaves in its lease when it dies before anything worked.

The lock file of a lease says which job is on trial there; the next holder finds the trial of a process that died and
makes it a strike. A device with two strikes from one run is left out, unless every device has two: a fault of all is
not theirs. A job that died on two devices is itself to blame, and its strikes do not count. Strikes of different runs
are not added up: when all jobs of a run are killed together, it is nobody's fault. Standard library only.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

QUARANTINE = 2
"""A device with so many strikes from one run is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a lock file says."""

    holder: str = ""
    trial: str = ""
    """The job, RUN:JOB, that holds the device and has not done anything there yet; of no process alive: it died so."""
    strikes: list[str] = field(default_factory=list)
    """A job for each death since something last worked."""


def read_lease(path: str) -> Lease:
    """What the lock file says; an empty lease where it says nothing of the kind."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        strikes = [str(job) for job in found["strikes"]]
        return Lease(holder=str(found["holder"]), trial=str(found.get("trial", "")), strikes=strikes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Lease()


def write_lease(path: str, lease: Lease) -> None:
    """Say it in the lock file. Raises OSError; a file that is gone is not made anew."""
    text = json.dumps({"holder": lease.holder, "trial": lease.trial, "strikes": lease.strikes}, ensure_ascii=False)
    with open(path, "r+", encoding="utf-8") as file:
        file.truncate(0)
        file.write(text + "\n")


def deaths(lease: Lease) -> list[str]:
    """The strikes of a device that nobody holds, with that of the process that died last."""
    return [*lease.strikes, *([lease.trial] if lease.trial else [])]


def left_out(struck: Mapping[str, Iterable[str]]) -> set[str]:
    """Which devices are left out; `struck` has the strikes of every device of the pool."""
    places = Counter(job for jobs in struck.values() for job in set(jobs))
    counted = {
        device: Counter(job.partition(":")[0] for job in jobs if places[job] == 1) for device, jobs in struck.items()
    }
    out = {device for device, runs in counted.items() if max(runs.values(), default=0) >= QUARANTINE}
    return out if len(out) < len(struck) else set()


@dataclass(frozen=True, slots=True)
class HeldDevices:
    """The devices that `gpulease` holds for this process; none where it was started without one."""

    locks: tuple[str, ...]
    job: str

    @classmethod
    def from_environment(cls) -> "HeldDevices":
        """As `gpulease` has set GPULEASE_LOCKS and GPULEASE_JOB."""
        locks = os.environ.get("GPULEASE_LOCKS", "")
        return cls(tuple(filter(None, locks.split("\n"))), os.environ.get("GPULEASE_JOB", ""))

    def on_trial(self) -> None:
        """From now on the death of this process is a strike."""
        for lock in self.locks:
            self._write(lock, self.job, read_lease(lock).strikes)

    def works(self) -> None:
        """Something worked on these devices: no strikes."""
        for lock in self.locks:
            self._write(lock, "", [])

    def not_to_blame(self) -> None:
        """From now on the death of this process is no strike."""
        for lock in self.locks:
            self._write(lock, "", read_lease(lock).strikes)

    def _write(self, lock: str, trial: str, strikes: list[str]) -> None:
        try:
            write_lease(lock, Lease(holder=f"{os.getpid()} {self.job}", trial=trial, strikes=strikes))
        except OSError:  # a lease folder that was emptied under a run is no reason to stop it
            return
