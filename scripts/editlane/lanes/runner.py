"""Run what is left of a lane through its model: read ahead, compute, save, and record each finished item.

Three things happen at once: the next unit is read (reader thread), the model works on this one (this thread), and
finished ones are saved and recorded (writer thread). A unit is what the model gets at once: an item to edit, or a batch
of edits to judge. Each of its items has a journal key. Where a server has the model, several units are at work at once,
each in a thread that also saves and records it.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Generic, Literal, Protocol, TypeVar

from editlane.core.paths import LaneId, RunPaths
from editlane.core.text_width import pluralize
from editlane.core.types import EDITED, Row, State
from editlane.lanes.budget import check_budget, is_asked
from editlane.lanes.busy_time import BusyTime, Spent
from editlane.lanes.first_failures import FirstFailures
from editlane.lanes.heartbeat import Heartbeat, remove_partials
from editlane.lanes.journal import DEATHS, Journal
from editlane.lanes.journal_set import JournalSet
from editlane.lanes.permanent_errors import ending_further_tries
from editlane.lanes.prefetch import prefetched
from editlane.lanes.stopping import StopRequest, is_in_good_order

log = logging.getLogger(__name__)

Unit = TypeVar("Unit")


class Work(Protocol[Unit]):
    """The part of a lane that depends on its stage."""

    paths: RunPaths
    lane: LaneId
    judge_key: str | None
    """Key of the judge's settings; None for an editor."""
    ahead: int
    """Units that are read ahead, and units that may wait to be saved."""
    at_once: int
    """Units that the model works on at once: 1 for a model in this process. Known when it is loaded, as `ahead`."""
    warms_up: bool
    """What the first units take longer belongs to loading. Known when the model is loaded."""

    @property
    def wanted(self) -> Mapping[str, Any]:
        """The inputs of all items that the lane has to finish, by journal key."""
        ...

    def find_kept(self, finished: Mapping[str, Row]) -> dict[str, Row]:
        """Return the rows, by key, that need not be computed because the journal has them."""
        ...

    def get_editor_key(self, missing: Collection[str]) -> str | None:
        """Return the key of the settings of the editor of these items; those of several editors joined by commas."""
        ...

    def make_crash_row(self, key: str) -> Row:
        """Return the row of an item on which one process after another died."""
        ...

    def load_model(self) -> str:
        """Load the model and return the device as the tables name it."""
        ...

    def cut_units(self, missing: Collection[str], deaths: Mapping[str, int]) -> list[Unit]:
        """Cut the missing items into units. Called once, after the model is loaded."""
        ...

    def get_keys(self, unit: Unit, /) -> Sequence[str]:
        """Return the journal keys of a unit's items."""
        ...

    def list_needed(self, unit: Unit, /) -> Sequence[str]:
        """Return the journal keys of all items whose rows `compute` needs for this unit, also by way of others.

        Their units come before it in `cut_units`.
        """
        ...

    def count_items(self, key: str, /) -> int:
        """Return how many rows of the report have this key: none if it is an extra question to a judge."""
        ...

    def get_name(self, unit: Unit, /) -> tuple[str, str]:
        """Return the item id and the category that the heartbeat shows for this unit."""
        ...

    def read(self, unit: Unit, /) -> Any:
        """Read the unit's inputs, in the reader thread."""
        ...

    def compute(self, unit: Unit, inputs: Any, /, on_step: Callable[[int, int], None]) -> Any:
        """Run the model and return what `save` needs. A failure of single items is part of it, not raised.

        `on_step(step, steps)` reports progress within the unit.
        """
        ...

    def save(self, unit: Unit, outcome: Any, /, seconds: float) -> dict[str, Row]:
        """Save a computed unit, in the writer thread, and return its rows by key. `seconds`: of `compute`."""
        ...


def run_lane(
    work: Work[Unit], journal: Journal | JournalSet, stop: StopRequest, timeout: float | None = None
) -> dict[str, Row]:
    """Return the row of every wanted key, computing those that the journal lacks. Loads no model if there are none.

    An item on which DEATHS processes died gets the row of a crash; see `record_crashes`. Raises Stopped before the next
    unit once a stop is requested. `timeout`: seconds without progress after which the process is ended.
    """
    remove_partials(work.paths, work.lane)
    deaths = journal.finished.deaths
    rows = work.find_kept(journal.finished.rows)
    log.info("%s: %s, %d of them in the journal", work.lane, pluralize(len(work.wanted), "item"), len(rows))
    rows |= {key: work.make_crash_row(key) for key in work.wanted if key not in rows and deaths[key] >= DEATHS}
    missing = [key for key in work.wanted if key not in rows]
    if missing:
        with ending_further_tries(work.paths.permanent_error(work.lane)):
            heartbeat = Heartbeat(
                work.paths,
                work.lane,
                total=len(work.wanted),
                kept=len(rows),
                failed=_count_failed(work, rows),
                timeout=timeout,
                editor_key=work.get_editor_key(missing),
                judge_key=work.judge_key,
            )
            with heartbeat:
                device = work.load_model()
                heartbeat.loaded(device, warms_up=work.warms_up)
                _Run(work, journal, heartbeat, rows, stop).run(work.cut_units(missing, deaths))
    return rows


def record_crashes(journal: Journal | JournalSet, rows: Mapping[str, Row]) -> None:
    """Record the rows of crashes, which resets their counts of deaths. Call it after the tables are written.

    Otherwise a lane that is restarted before its tables are written would retry these items.
    """
    journal.finish({key: row for key, row in rows.items() if row["error_kind"] == "crash"})


class _Run(Generic[Unit]):
    """The units of one lane on their way through the model.

    What is at work when the lane ends in good order is taken back from the journal. If the lane ends in another way,
    only the items of the unit that it happened to are left there, as after a death.
    """

    def __init__(
        self,
        work: Work[Unit],
        journal: Journal | JournalSet,
        heartbeat: Heartbeat,
        rows: dict[str, Row],
        stop: StopRequest,
    ) -> None:
        self._work, self._journal, self._heartbeat, self._rows, self._stop = work, journal, heartbeat, rows, stop
        self._deaths: Counter[str] = journal.finished.deaths
        self._saving: set[Future[None]] = set()
        self._busy = BusyTime()
        self._recording = threading.Lock()  # for what threads that save change: the sets below, and the failures
        self._begun: set[str] = set()
        self._needed: dict[str, Future[None]] = {}
        """By key, when an item is recorded that other units need, or what ended its unit."""
        self._first_failures = FirstFailures(rows.values())

    def run(self, units: Sequence[Unit]) -> None:
        """Compute and save all units.

        Units on which a process died come last, after all others are saved, so that another death is their own. What
        needs them comes after them.
        """
        self._stop.call_at_once(self._take_back)  # who asked for a stop may not wait for the unit's end before it kills
        ordered = sorted(units, key=self._count_deaths)
        made = {key for unit in units for key in self._work.get_keys(unit)}
        self._needed = {key: Future() for unit in units for key in self._work.list_needed(unit) if key in made}
        try:
            with ThreadPoolExecutor(self._work.at_once, thread_name_prefix="writer") as threads:
                for unit, reading in prefetched(self._work.read, ordered, depth=self._work.ahead):
                    self._begin(unit)
                    self._stop.check()  # now: a stop before it has not taken this unit back
                    self._saving.add(self._start(unit, reading, threads))
                    self._wait_until_saved(self._work.ahead)
                self._wait_until_saved(0)
        finally:
            self._take_back()

    def _count_deaths(self, unit: Unit) -> int:
        return max(self._deaths[key] for key in (*self._work.get_keys(unit), *self._work.list_needed(unit)))

    def _start(self, unit: Unit, reading: Future[Any], threads: ThreadPoolExecutor) -> Future[None]:
        """Compute a unit here and save it in a thread; with several at once, do both in the thread."""
        if self._work.at_once == 1:
            return threads.submit(self._save, unit, *self._compute(unit, reading))
        return threads.submit(lambda: self._save(unit, *self._compute(unit, reading)))

    def _begin(self, unit: Unit) -> None:
        keys = self._work.get_keys(unit)
        suspect = self._count_deaths(unit) > 0
        if suspect:
            self._wait_until_saved(0)
        with self._recording:
            self._begun.update(keys)
        self._journal.begin(keys)
        self._heartbeat.begin(*self._work.get_name(unit), suspect=suspect)

    def _compute(self, unit: Unit, reading: Future[Any]) -> tuple[Any, Spent]:
        """Return the outcome of a unit and the time that it took, without waiting for what it needs."""
        with self._telling(unit):
            self._wait_for_needed(unit)
            with self._to_blame(unit):
                with self._waiting("input"):
                    inputs = reading.result()
                with self._busy.spending() as spent:
                    outcome = self._work.compute(unit, inputs, self._heartbeat.step)
                return outcome, spent

    def _wait_for_needed(self, unit: Unit) -> None:
        """Wait until all that a unit needs is recorded; raises what ended the unit of one of them.

        What it waits for has begun, because it comes first.
        """
        with self._waiting("output"):
            for key in self._work.list_needed(unit):
                if key in self._needed:
                    self._needed[key].result()

    @contextmanager
    def _telling(self, unit: Unit) -> Iterator[None]:
        """Let nothing wait for a unit that has failed."""
        try:
            yield
        except BaseException as error:
            for key in self._work.get_keys(unit):
                if key in self._needed:
                    self._needed[key].set_exception(error)
            raise

    @contextmanager
    def _to_blame(self, unit: Unit) -> Iterator[None]:
        """Leave it on record that these items were at work if the block fails otherwise than in good order."""
        try:
            yield
        except BaseException as error:
            if not is_in_good_order(error):
                with self._recording:
                    self._begun.difference_update(self._work.get_keys(unit))
            raise

    def _take_back(self) -> None:
        with self._recording:
            begun = list(self._begun)
        self._journal.take_back(begun)

    def _wait_until_saved(self, most: int) -> None:
        """Wait until at most `most` units are unsaved; raises what saving raised."""
        with self._waiting("output"):
            while len(self._saving) > most:
                saved, self._saving = wait(self._saving, return_when=FIRST_COMPLETED)
                for one in saved:
                    one.result()

    def _waiting(self, side: Literal["input", "output"]) -> AbstractContextManager[None]:
        """Count the block's time as idle, unless other units may be at work in it."""
        return self._heartbeat.waiting(side) if self._work.at_once == 1 else nullcontext()

    def _save(self, unit: Unit, outcome: Any, spent: Spent) -> None:
        with self._telling(unit):
            with self._to_blame(unit):
                rows = self._work.save(unit, outcome, spent.own)
            self._journal.finish(rows)
        for key in self._needed.keys() & rows.keys():
            self._needed[key].set_result(None)
        with self._recording:
            self._begun.difference_update(rows)
            self._count({key: row for key, row in rows.items() if is_asked(row)}, spent.share)
            check_budget(rows.values(), self._stop.check)

    def _count(self, rows: dict[str, Row], seconds: float) -> None:
        if not rows:
            return
        self._rows.update(rows)
        last, failed = list(rows.values())[-1], _count_failed(self._work, rows)
        self._heartbeat.finished(
            len(rows), seconds=seconds, state=last["state"], score=last.get("score"), failed=failed
        )
        self._first_failures.add(rows.values())


def _count_failed(work: Work[Any], rows: Mapping[str, Row]) -> int:
    """Count the items without an edit or a score, as the report does. Controls are no items."""
    return sum(work.count_items(key) for key, row in rows.items() if row["state"] not in (EDITED, State.SCORED))
