"""Where a lane is: one small JSON file per process, replaced as the lane goes on, and lines in the lane's log.

RUN/heartbeats/edit/{editor}/lane{k}.{attempt}.json and RUN/heartbeats/score/{editor}/{judge}/lane{k}.{attempt}.json; a
process that had nothing to do leaves none. The files of earlier attempts stay: they tell what a lane has cost.
"""

import faulthandler
import json
import logging
import math
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, get_args, get_type_hints

from editlane.core.errors import Stopped, UserError
from editlane.core.types import EDITED, State
from editlane.lanes.gpu_strikes import HeldDevices
from editlane.models import load_times
from editlane.models.devices import read_usage

log = logging.getLogger(__name__)

WRITTEN_EVERY = 0.5
"""Seconds between two writes at least, so that watching costs next to nothing; where the folder is slow, more: ..."""
WRITING_SHARE = 0.005
"""... writing may take this share of the time, ..."""
WRITTEN_AT_LEAST_EVERY = 20.0
"""... but whoever watches hears from a working lane so often."""
WORKED = (EDITED, State.SCORED, State.JUDGE_UNREADABLE)
"""States of items that no broken device gives."""
MEASURED_EVERY = 5.0
"""Seconds between two looks at the device."""


@dataclass(slots=True, kw_only=True)
class LaneStatus:
    """What one process of a lane says about itself. Seconds are of a clock that nobody sets; `time` is not."""

    stage: str
    """edit or score."""
    editor: str
    judge: str | None
    lane: int
    attempt: int
    """Counted from 1; an attempt above 1 had work left to do after an earlier process."""
    host: str
    pid: int
    device: str
    total: int
    """Items of the lane, with `kept`; of a score lane, questions (edits and controls)."""
    kept: int
    """Of these, how many came from the journal."""
    done: int = 0
    """How many this process has finished."""
    failed: int = 0
    """Of `kept` and `done`, how many ended without an edit or a score."""
    phase: str = "loading"
    """loading, working, and at the end done, stopped (told to) or failed. A killed process stays at its last phase."""
    item_id: str | None = None
    category: str | None = None
    step: int | None = None
    steps: int | None = None
    last_state: str | None = None
    last_score: float | None = None
    started: float
    """Unix time at which the process began."""
    time: float
    """Unix time of the last beat."""
    held_seconds: float = 0.0
    """Since the device was leased."""
    load_seconds: float = 0.0
    """Of these, until the model was loaded, and what the first item took longer than the others; see Warmup."""
    imports_seconds: float | None = None
    """Of `load_seconds`, as are the next three; see load_times.PHASES. Null in heartbeats of older versions."""
    reading_seconds: float | None = None
    transfer_seconds: float | None = None
    warmup_seconds: float | None = None
    busy_seconds: float = 0.0
    """Of `held_seconds`, spent on items."""
    input_seconds: float | None = None
    """Of the rest, how long the device waited for the next item to be read."""
    output_seconds: float | None = None
    """The same for finished ones to be written."""
    settled_seconds: float | None = None
    """`held_seconds` when the last item was finished: what came later is lost if the process dies."""
    peak_memory: int | None = None
    """Bytes that this process had allocated on the device at most; null without a GPU, as are the next three."""
    memory_used: int | None = None
    """Bytes in use on the device, by whomever."""
    memory_total: int | None = None
    utilisation: float | None = None
    """Of the device, 0..1."""
    editor_key: str | None = None
    """Of the editor's settings; of a score lane, those that its edits were made with."""
    judge_key: str | None = None
    """Of the judge's settings and its protocol."""


class Heartbeat:
    """The heartbeat of this process, from just before the model is loaded; leaving the context ends it.

    A heart that stands still for `timeout` seconds (no loaded model, no step, no finished item) ends the process: all
    threads' stacks go to stderr, the exit code is 1, and the lane is started again from its journal. Works while the
    interpreter hangs, too; not for a process that someone has stopped (SIGSTOP).
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        stage: str,
        editor: str,
        lane: int,
        total: int,
        kept: int,
        failed: int = 0,
        judge: str | None = None,
        timeout: float | None = None,
        editor_key: str | None = None,
        judge_key: str | None = None,
    ) -> None:
        folder = run_dir.joinpath("heartbeats", stage, editor, *([judge] if judge else []))
        attempt = 1 + max((_attempt(path) for path in folder.glob(f"lane{lane}.*.json")), default=0)
        self._path = folder / f"lane{lane}.{attempt}.json"
        self._since = load_times.get_start()
        self._loaded = self._items = 0.0
        self._warmup = load_times.Warmup()
        now = time.time()
        self._status = LaneStatus(
            stage=stage,
            editor=editor,
            judge=judge,
            lane=lane,
            attempt=attempt,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu",
            total=total,
            kept=kept,
            failed=failed,
            started=now,
            time=now,
            input_seconds=0.0,
            output_seconds=0.0,
            editor_key=editor_key,
            judge_key=judge_key,
        )
        self._timeout = timeout
        self._lock = threading.Lock()  # the model's thread and the writer's both report
        self._written = self._measured = self._logged = self._armed = self._pause = 0.0
        self._lease = HeldDevices.from_environment()
        self._worked = False

    def __enter__(self) -> Self:
        self._lease.on_trial()
        self._beat(seldom=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._timeout = None
        if error is None or isinstance(error, Stopped | UserError | OSError | KeyboardInterrupt):
            self._lease.not_to_blame()
        self._status.phase = "done" if error is None else "stopped" if isinstance(error, Stopped) else "failed"
        self._measured = 0.0
        self._beat(seldom=False)

    def loaded(self, device: str) -> None:
        """The model is there; `device` as the tables name it."""
        self._loaded = time.monotonic() - self._since
        self._beat(seldom=False, phase="working", device=device, settled_seconds=self._loaded)

    def begin(self, item_id: str, category: str, *, suspect: bool = False) -> None:
        """The lane turns to this item. `suspect`: a process died on it before, so another death is not the device's."""
        if suspect and not self._worked:
            self._lease.not_to_blame()
        self._logged = time.monotonic()
        self._beat(item_id=item_id, category=category, step=None, steps=None)

    def step(self, step: int, steps: int) -> None:
        """One denoising step is done; logged at most every two seconds."""
        now = time.monotonic()
        if now - self._logged >= 2:
            self._logged = now
            log.info("%s/%s step %d/%d", self._status.category, self._status.item_id, step, steps)
        self._beat(step=step, steps=steps)

    def finished(self, count: int, *, seconds: float, state: str, score: float | None = None, failed: int = 0) -> None:
        """`count` more items are in the journal, `failed` of them without an edit or a score; `seconds` went into
        them; `state` and `score` are the latest's."""
        if not self._worked and state in WORKED:
            self._worked = True
            self._lease.works()
        with self._lock:
            self._status.done += count
            self._status.failed += failed
            self._items += seconds
            if state in WORKED and not failed:
                self._warmup.add(count, seconds)
        self._beat(last_state=state, last_score=score, settled_seconds=time.monotonic() - self._since)

    @contextmanager
    def waiting(self, side: Literal["input", "output"]) -> Iterator[None]:
        """The device has nothing to do in here: the next item is still read, or finished ones are written."""
        started = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                spent = getattr(self._status, f"{side}_seconds") or 0.0
                setattr(self._status, f"{side}_seconds", spent + time.monotonic() - started)

    def _beat(self, *, seldom: bool = True, **changes: Any) -> None:
        with self._lock:
            for name, value in changes.items():
                setattr(self._status, name, value)
            now = time.monotonic()
            if self._timeout is not None and now - self._armed >= min(1.0, self._timeout / 4):
                self._armed = now
                faulthandler.dump_traceback_later(self._timeout, exit=True)
            if seldom and now - self._written < self._pause:
                return
            self._written = now
            if now - self._measured >= MEASURED_EVERY:
                self._measured = now
                for name, value in read_usage().items():
                    setattr(self._status, name, value)
            self._status.time, self._status.held_seconds = time.time(), now - self._since
            self._add_up()
            self._write()
            spent = time.monotonic() - now
            self._pause = max(WRITTEN_EVERY, min(spent / WRITING_SHARE, WRITTEN_AT_LEAST_EVERY))

    def _add_up(self) -> None:
        for name, seconds in load_times.get_seconds().items():
            setattr(self._status, f"{name.replace('-', '')}_seconds", seconds)
        first = self._warmup.seconds
        self._status.warmup_seconds = (self._status.warmup_seconds or 0.0) + first
        self._status.load_seconds = self._loaded + first if self._loaded else 0.0
        self._status.busy_seconds = self._items - first

    def _write(self) -> None:
        partial = self._path.with_name(self._path.name + ".partial")
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(asdict(self._status), ensure_ascii=False), encoding="utf-8")
            os.replace(partial, self._path)
        except OSError as error:  # a lane that nobody can watch still works
            log.warning("cannot write the heartbeat: %s", error.strerror)


def stood_still(line: str) -> float | None:
    """After how many seconds without progress the process was ended whose log has this line; None for other lines."""
    found = re.match(r"Timeout \((\d+):(\d\d):(\d\d(?:\.\d+)?)\)!$", line.rstrip())  # above faulthandler's stacks
    return 3600 * int(found[1]) + 60 * int(found[2]) + float(found[3]) if found else None


def _attempt(path: Path) -> int:
    """The number in lane{k}.{attempt}.json; 0 where a file of that kind has another name."""
    name = path.name.split(".")[-2]
    return int(name) if name.isdecimal() else 0


def read_heartbeats(run_dir: Path) -> list[LaneStatus]:
    """What the processes of all lanes of a run last said, sorted by stage, editor, judge, lane and attempt.

    Files that are not heartbeats of this version are left out.
    """
    known = {field.name for field in fields(LaneStatus)}
    found = []
    for path in (run_dir / "heartbeats").rglob("lane*.json"):
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
            status = LaneStatus(**{name: value for name, value in written.items() if name in known})
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            continue
        if _is_sound(status):
            found.append(status)
    return sorted(found, key=lambda one: (one.stage, one.editor, one.judge or "", one.lane, one.attempt))


_TYPES = {
    name: hint | int if float in (hint, *get_args(hint)) else hint for name, hint in get_type_hints(LaneStatus).items()
}


def _is_sound(status: LaneStatus) -> bool:
    """Whether every value is of its type and no number negative or infinite: the file may be anybody's."""
    values = {name: getattr(status, name) for name in _TYPES}
    return all(
        isinstance(value, _TYPES[name]) and (not isinstance(value, int | float) or 0 <= value < math.inf)
        for name, value in values.items()
    )
