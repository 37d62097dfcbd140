"""Strikes against a device: what a process leaves in its lease when it dies before anything worked.

The lock file of a lease holds the jobs that died there since something last worked. `gpulease` keeps a job away from a
device that it died on, and every job away from a device that two jobs of one run died on; see there. Of one run: when
all jobs of a run are killed together, it is nobody's fault. Standard library only.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass

QUARANTINE = 2
"""A device that so many different jobs of one run died on is left out."""


def read_strikes(path: str) -> list[str]:
    """The jobs that died on the device of this lock file; none where the file says nothing of the kind."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        return [str(job) for job in found["strikes"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def count_strikes(strikes: list[str]) -> int:
    """How many jobs of one run died; a job's name is RUN:JOB."""
    return max(Counter(job.partition(":")[0] for job in strikes).values(), default=0)


def write_lease(path: str, *, holder: str, strikes: list[str]) -> None:
    """What a lock file says; only the process that holds the lock may write it."""
    text = json.dumps({"holder": holder, "strikes": strikes}, ensure_ascii=False)
    with open(path, "r+", encoding="utf-8") as file:  # never a new file: the lock belongs to this one
        file.truncate(0)
        file.write(text + "\n")


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
        """From now on the death of this process counts as a strike."""
        for lock in self.locks:
            strikes = [job for job in read_strikes(lock) if job != self.job]
            self._write(lock, [*strikes, self.job])

    def works(self) -> None:
        """Something worked on these devices: no strikes."""
        for lock in self.locks:
            self._write(lock, [])

    def not_to_blame(self) -> None:
        """This process ends for a reason that is not the devices': its own strike is taken back."""
        for lock in self.locks:
            self._write(lock, [job for job in read_strikes(lock) if job != self.job])

    def _write(self, lock: str, strikes: list[str]) -> None:
        try:
            write_lease(lock, holder=f"{os.getpid()} {self.job}", strikes=strikes)
        except OSError:  # a lease folder that was emptied under a run is no reason to stop it
            return
