"""One fault on one real run: when it is noticed, when the work goes on, what it did to the results."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from audit import NONE, Damage, Row, damage, finished
from project import Project, find_lanes, wait_for

INJECT = Path(__file__).parent / "inject"
PATIENCE = 300
"""Seconds until a run that does not get there fails its test."""


class FaultyProject(Project):
    """Three lanes on three devices, slow enough to be struck; `plan` says by what."""

    devices = "gpu0,gpu1,gpu2"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.faults: list[dict[str, Any]] = []
        self.config["lanes"] = 3
        self.config["editors"]["fake-a"]["params"] = {"seconds": 0.15, "failure_rate": 0.1}
        self.config["judges"]["judge"]["params"] |= {"seconds": 0.03}

    def environment(self) -> dict[str, str]:
        return super().environment() | {"PYTHONPATH": str(INJECT), "FAULTS": str(self._write_plan())}

    def _write_plan(self) -> Path:
        folder = self.folder / "faults"
        for name in ("tokens", "fired", "go"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(self.faults, ensure_ascii=False), encoding="utf-8")
        return folder


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row of the suite's table."""

    fault: str
    detected: float | None
    """Seconds from the fault until its process was gone or somebody said so."""
    recovered: float | None
    """Seconds from the fault until the next item that it held up was finished."""
    damage: Damage


class Trial:
    """One fault on one run."""

    def __init__(self, project: FaultyProject, expected: Sequence[Row], report: Callable[[str, Any], None]) -> None:
        self.project, self.expected, self._report = project, expected, report
        self.name = ""
        self.run: subprocess.Popen[str] | None = None
        self._runs: list[subprocess.Popen[str]] = []
        self.struck: float | None = None
        self._detected: float | None = None
        self._recovered: float | None = None

    def plan(self, name: str, at: str, do: str, **where: Any) -> None:
        """One more fault of this run, as inject/sitecustomize.py describes it."""
        folder = self.project.folder / "faults/tokens"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(where.get("times", 1)):
            (folder / f"{name}.{number}").touch()
        self.project.faults.append({"name": name, "at": at, "do": do} | where)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the workflow; `merge_scores` unless told otherwise."""
        self.run = self.project.start(*(arguments or ("merge_scores",)))
        self._runs.append(self.run)
        return self.run

    def fires(self, name: str = "") -> int:
        """Wait until the planned fault happened (the first of those called `name`...); the id of its process."""
        folder = self.project.folder / "faults/fired"
        wait_for(lambda: list(folder.glob(f"{name}*.[0-9]")), PATIENCE)
        fired = [json.loads(path.read_text()) for path in folder.glob(f"{name}*.[0-9]")]
        first = min(fired, key=lambda one: one["at"])
        self.struck = first["at"]
        return int(first["pid"])

    def strikes_now(self) -> None:
        """The test itself does something to the run at this moment."""
        self.struck = time.monotonic()

    def let_go(self, name: str) -> None:
        """End the `wait` of this name."""
        (self.project.folder / "faults/go" / name).touch()

    def unprepare(self) -> None:
        """Start from nothing: no items, no lanes."""
        shutil.rmtree(self.project.results)

    def devices_come_back(self) -> None:
        """Wait until no lane is left and every device is free again."""
        locks = list((self.project.folder / "leases").glob("*.lock"))
        wait_for(lambda: not find_lanes(self.project) and all(map(is_free, locks)), PATIENCE)

    def notices(self, condition: Callable[[], Any]) -> None:
        """Wait until somebody noticed the fault."""
        wait_for(condition, PATIENCE)
        assert self.struck is not None
        self._detected = time.monotonic() - self.struck

    def gone(self, pid: int) -> None:
        """Wait until this process has ended, which is how the fault is noticed."""
        self.notices(lambda: not is_alive(pid))

    def goes_on(self, pattern: str = "*/**/*.jsonl") -> None:
        """Wait until these writers' journals have one more finished item, or the merged table is there."""
        before = self.progress(pattern)
        wait_for(lambda: self.progress(pattern) != before, PATIENCE)
        assert self.struck is not None
        self._recovered = time.monotonic() - self.struck

    def progress(self, pattern: str = "*/**/*.jsonl") -> tuple[int, bool]:
        """Finished items in the journals, and whether they are merged."""
        return finished(self.project.results, pattern).total(), (self.project.results / "scores.parquet").exists()

    def ends(self, code: int | None = None) -> str:
        """Wait for the run's end; what it said. Without a code any failure will do."""
        assert self.run is not None
        got = self.run.wait(PATIENCE)
        assert got == code if code is not None else got != 0, self.said()[-4000:]
        return self.said()

    def said(self) -> str:
        """What the workflow printed so far, all runs of it."""
        return (self.project.folder / "snakemake.log").read_text(encoding="utf-8", errors="replace")

    def again(self, *arguments: str) -> str:
        """The same command once more, to its end."""
        before = self.progress()
        self.start(*arguments)
        wait_for(lambda: self.progress() != before or self.run.poll() is not None, PATIENCE)
        self._recovered = time.monotonic() - self.struck
        return self.ends(0)

    def tables(self, kind: str) -> list[Row]:
        """All rows of the lanes' tables: `edits` or `scores`."""
        paths = sorted(self.project.results.glob(f"*/{kind}/**/lane*.parquet"))
        return [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]

    def logs(self) -> str:
        """What the lanes said, each in its last attempt."""
        found = []
        for path in sorted(self.project.results.glob("logs/*_lane/**/*.log")):
            with suppress(FileNotFoundError):  # Snakemake removes a log before the next attempt
                found.append(path.read_text(encoding="utf-8", errors="replace"))
        return "".join(found)

    def verdict(self, name: str, *, redone: int = 0) -> Damage:
        """Hold the results against the undisturbed run, and add a row to the suite's table."""
        found = damage(self.project.results, self.project.scores(), self.expected, redone=redone)
        self._report("fault", asdict(Outcome(name, self._detected, self._recovered, found)))
        assert found == NONE
        assert not list(self.project.results.rglob("*.partial"))
        return found

    def clean_up(self) -> None:
        """End what a failed test left running."""
        for run in self._runs:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
        for pid in find_lanes(self.project):
            os.kill(pid, signal.SIGKILL)


def final_lines(out: str) -> str:
    """What the workflow itself said at its end; what it shows of a job's log is indented."""
    return "\n".join(line for line in out.splitlines() if line.startswith(("error: ", "warning: ")))


def is_free(lock: Path) -> bool:
    """Whether nobody holds the device of this lock file."""
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that waits to be asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    except OSError:
        return False
