"""Keep accounts of what a process asked a fleet of model servers, and add up those of all processes.

Each process writes a file of its own, so nothing is locked, and processes on several machines share the folder. The
accounts are beside the point of the process: a full disk costs them, and never an answer. One that is killed loses
those of its last second.
"""

import atexit
import json
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from editlane.core.files import make_folder, replace_text
from editlane.core.paths import FleetPaths

log = logging.getLogger(__name__)

_VERSION = 1
_EVERY = 1.0
"""Seconds between a request and the file that counts it, at most."""
_STEPS = 20
"""Steps of the histogram in a decade: each is 12 % above the one before."""
_SHORTEST = 0.001
_LAST_STEP = 7 * _STEPS
"""Its last step, 10,000 seconds, holds all that took longer."""


@dataclass(slots=True)
class Tally:
    """Requests that reached an end. One that was repeated counts once."""

    requests: int = 0
    failures: int = 0
    """Requests without a usable answer, after all attempts."""
    seconds: float = 0.0
    """Of those with an answer, as in the histogram: what failed tells nothing about a server's speed."""
    steps: dict[int, int] = field(default_factory=dict)
    """Histogram: step -> answers."""

    def count(self, seconds: float, answered: bool) -> None:
        """Count one request."""
        self.requests += 1
        if not answered:
            self.failures += 1
            return
        self.seconds += seconds
        self._add_step(_find_step(seconds), 1)

    def add(self, other: "Tally") -> None:
        """Count the requests of another tally, too."""
        self.requests += other.requests
        self.failures += other.failures
        self.seconds += other.seconds
        for step, number in other.steps.items():
            self._add_step(step, number)

    def _add_step(self, step: int, number: int) -> None:
        self.steps[step] = self.steps.get(step, 0) + number

    def find_percentile(self, percent: float) -> float | None:
        """Return seconds within which so many percent of the answers came, at most 12 % too many; None without one."""
        needed, seen = percent / 100 * sum(self.steps.values()), 0
        for step, number in sorted(self.steps.items()):
            seen += number
            if seen >= needed:
                return _SHORTEST * 10 ** (step / _STEPS)
        return None

    def summarise(self) -> "Totals":
        """Return the figures that people ask for."""
        answered = self.requests - self.failures
        return Totals(
            total_calls=self.requests,
            success_calls=answered,
            error_calls=self.failures,
            success_rate=answered / self.requests if self.requests else None,
            average_response_time=self.seconds / answered if answered else None,
            p50=self.find_percentile(50),
            p99=self.find_percentile(99),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Figures about requests. Times are seconds of those with an answer; null where there is none."""

    total_calls: int
    success_calls: int
    error_calls: int
    success_rate: float | None
    """0 to 1."""
    average_response_time: float | None
    p50: float | None
    p99: float | None


class Accounts(NamedTuple):
    """Totals of everything, by published name, and by group; models without a group are in none."""

    total: Totals
    models: dict[str, Totals]
    groups: dict[str, Totals]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON has them."""
        models, groups = ({name: asdict(one) for name, one in part.items()} for part in (self.models, self.groups))
        return {"total": asdict(self.total), "models": models, "groups": groups}


Asked = tuple[str, str | None]
"""Published name and group."""


class Ledger:
    """Counts requests of this process. Thread-safe. With a folder, a file there follows within a second."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._start_anew()
        self._has_failed = False
        if folder is not None:
            atexit.register(self.write)

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._tallies: dict[Asked, Tally] = {}
        self._timer: threading.Timer | None = None
        self._is_written = True
        self._name = f"{socket.gethostname()}-{self._pid}-{secrets.token_hex(4)}.json"

    def record(self, model: str, group: str | None, seconds: float, answered: bool) -> None:
        """Count one request that reached its end."""
        with self._lock:
            if self._pid != os.getpid():  # forked: the parent writes what was counted before
                self._start_anew()
            self._tallies.setdefault((model, group), Tally()).count(seconds, answered)
            self._is_written = False
            if self._folder is not None and self._timer is None:
                self._timer = threading.Timer(_EVERY, self.write)
                self._timer.daemon = True
                try:
                    self._timer.start()
                except RuntimeError:  # Python is ending, and writes at its exit
                    self._timer = None

    def write(self) -> None:
        """Write the file, if anything was counted since it was written. A disk error is logged once."""
        with self._lock:
            timer, self._timer = self._timer, None
            if self._folder is not None and not self._is_written and self._pid == os.getpid():
                self._is_written = self._replace_file(self._folder)
        if timer is not None and timer is not threading.current_thread():
            timer.cancel()
            timer.join()

    def _replace_file(self, folder: Path) -> bool:
        try:
            make_folder(folder)
            replace_text(folder / self._name, self._to_json())
        except OSError as error:
            if not self._has_failed:
                log.warning("cannot write the accounts of requests to %s: %s", folder, error.strerror)
            self._has_failed = True
            return False
        return True

    def summarise(self) -> Accounts:
        """Return the figures of this process."""
        with self._lock:
            return _add_up((model, group, tally) for (model, group), tally in self._tallies.items())

    def _to_json(self) -> str:
        tallies = sorted(self._tallies.items(), key=str)
        entries = [{"model": model, "group": group} | asdict(tally) for (model, group), tally in tallies]
        return json.dumps({"version": _VERSION, "entries": entries}, ensure_ascii=False)


_LEDGERS: dict[Path, Ledger] = {}
_OPENING = threading.Lock()


def open_ledger(fleet: str) -> Ledger:
    """Return the ledger of this process about a fleet, which writes to the fleet's folder."""
    folder = FleetPaths(fleet).accounts.absolute()
    with _OPENING:
        return _LEDGERS.get(folder) or _LEDGERS.setdefault(folder, Ledger(folder))


def read_accounts(folder: Path) -> Accounts:
    """Add up the accounts of all processes; `folder`: `FleetPaths.accounts`. A file that cannot be read is left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            found += _read(path)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("the accounts in %s are left out: %s", path, error)
    return _add_up(found)


def drop_old_accounts(folder: Path, days: float = 7) -> None:
    """Remove the accounts of processes that asked nothing for so many days. One that still lives writes its anew."""
    until = time.time() - days * 86400
    for path in (*folder.glob("*.json"), *folder.glob("*.json.partial")):
        with suppress(OSError):
            if path.lstat().st_mtime < until:
                path.unlink()


def _read(path: Path) -> list[tuple[str, str | None, Tally]]:
    content = json.loads(path.read_bytes())
    if content["version"] != _VERSION:
        raise ValueError(f"they are of version {content['version']!r}")
    return [
        (
            str(one["model"]),
            None if one["group"] is None else str(one["group"]),
            Tally(
                requests=int(one["requests"]),
                failures=int(one["failures"]),
                seconds=float(one["seconds"]),
                steps={int(step): int(number) for step, number in one["steps"].items()},
            ),
        )
        for one in content["entries"]
    ]


def _add_up(entries: Iterable[tuple[str, str | None, Tally]]) -> Accounts:
    total, models, groups = Tally(), dict[str, Tally](), dict[str, Tally]()
    for model, group, tally in entries:
        total.add(tally)
        models.setdefault(model, Tally()).add(tally)
        if group is not None:
            groups.setdefault(group, Tally()).add(tally)
    by_model = {name: tally.summarise() for name, tally in sorted(models.items())}
    return Accounts(total.summarise(), by_model, {name: tally.summarise() for name, tally in sorted(groups.items())})


def _find_step(seconds: float) -> int:
    """Return the first step that is not shorter."""
    if seconds <= _SHORTEST:
        return 0
    return min(_LAST_STEP, math.ceil(_STEPS * math.log10(seconds / _SHORTEST)))
