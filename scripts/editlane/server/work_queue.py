"""The edits that wait for a judge: bounded, each once, asked for by any number of requests."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from msgspec.structs import replace

from editlane.core.errors import CRASHED, JudgeFailed
from editlane.core.types import Row
from editlane.protocols.asking import make_failed_columns
from editlane.server.metrics import Metrics
from editlane.server.wire import Fields

CRASH_MEMORY = 600.0
"""Seconds for which an edit that killed its workers is not asked about again: trainers retry at once."""

NEAR = 4
"""How far behind the front of the queue others of its category are looked for, in chunks."""

LONGEST_WAIT = 10.0
"""Longest time after which a refused request is told to come again."""

PAUSE = 2.0
"""A longer time between two finished edits is none of work: nobody asked, or a worker was loading."""

RECENT = 256
"""Finished edits from which the rate is estimated."""


class Full(Exception):
    """There is no room. `seconds` is when to ask again; None if there will never be enough."""

    def __init__(self, seconds: float | None) -> None:
        super().__init__("the queue is full")
        self.seconds = seconds


@dataclass(slots=True)
class Room:
    """What all queues of a server may hold together."""

    max_items: int
    max_bytes: int
    items: int = 0
    bytes: int = 0

    def check(self, items: int, size: int, rate: float) -> None:
        """Raise Full if so much more does not fit; `rate`: edits finished a second."""
        if items > self.max_items or size > self.max_bytes:
            raise Full(None)
        if self.items + items > self.max_items or self.bytes + size > self.max_bytes:
            too_many = max(self.items + items - self.max_items, 1)
            raise Full(min(LONGEST_WAIT, max(1.0, too_many / rate if rate else 5.0)))


@dataclass(eq=False, slots=True)
class Work:
    """An edit to judge, and who waits for it."""

    fields: Fields
    future: "asyncio.Future[Row]"
    arrived: float
    waiters: int = 0
    failures: int = 0
    """Workers that were lost while this edit was at work."""
    size: int = 0
    keep: bool = True


class Queue:
    """The waiting edits of one judge, in order of arrival."""

    def __init__(
        self, judge: str, room: Room, metrics: Metrics, attempts: int, keep: Callable[[str, Row], object]
    ) -> None:
        """`keep` is called with the key and the row of every edit that is finished, unless nobody wants it kept."""
        self.judge = judge
        self._keep = keep
        self.arrival = asyncio.Event()
        self._room, self._metrics, self._attempts = room, metrics, attempts
        self._waiting: OrderedDict[str, Work] = OrderedDict()
        self._known: dict[str, Work] = {}
        self._crashed: dict[str, float] = {}
        self._finished: deque[float] = deque(maxlen=RECENT)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def rate(self) -> float:
        """Edits finished a second, lately and without pauses; 0 if that is unknown."""
        gaps = [min(later - earlier, PAUSE) for earlier, later in pairwise(self._finished)]
        return len(gaps) / max(sum(gaps), 1e-3) if gaps else 0.0

    def join(self, edits: Sequence[Fields], *, keep: bool = True) -> list[Work]:
        """Return a work for each edit: that of an earlier request, or a new one. Takes all, or raises Full."""
        fresh = {edit.key: edit for edit in edits if edit.key not in self._known}
        self._room.check(len(fresh), sum(edit.size for edit in fresh.values()), self.rate)
        found = []
        for edit in edits:
            work = self._known.get(edit.key)
            if work is None:
                work = self._add(edit, keep)
            elif work.waiters:
                self._metrics.known.labels(self.judge, "joined").inc()
            work.waiters += 1
            found.append(work)
        return found

    def _add(self, edit: Fields, keep: bool) -> Work:
        now = time.monotonic()
        work = Work(edit, asyncio.get_running_loop().create_future(), now, size=edit.size, keep=keep)
        self._known[edit.key] = work
        self._room.items += 1
        self._room.bytes += work.size
        if self._crashed.get(edit.key, 0.0) > now:
            self.finish(work, make_failed_columns(JudgeFailed(CRASHED, kind="crash")))
        else:
            self._waiting[edit.key] = work
            self.arrival.set()
        return work

    def leave(self, work: Work) -> None:
        """Say that one request waits no longer. What no request waits for is not begun."""
        work.waiters -= 1
        key = work.fields.key
        if work.waiters <= 0 and self._waiting.get(key) is work:  # a later request may have a new one of this key
            del self._waiting[key]
            self._forget(work)
            self._metrics.dropped.labels(self.judge).inc()

    def take(self, most: int, max_bytes: int, *, alone: bool) -> list[Work]:
        """Take the oldest edit with others of its category, in their order.

        An edit on which a worker was lost is taken only by a worker without other work (`alone`), and by itself. Until
        one has become idle, nothing behind that edit is taken.
        """
        taken: list[Work] = []
        size = 0
        for place, work in enumerate(self._waiting.values()):
            if work.failures and place == 0:
                taken = [work] if alone else []
                break
            if len(taken) == most or place >= NEAR * most:
                break
            if work.failures or (taken and work.fields.category != taken[0].fields.category):
                continue
            if taken and size + work.size > max_bytes:
                break
            taken.append(work)
            size += work.size
        now = time.monotonic()
        for work in taken:
            del self._waiting[work.fields.key]
            self._metrics.wait.labels(self.judge).observe(now - work.arrived)
        self._metrics.asked.labels(self.judge).inc(len(taken))
        if not self._waiting:
            self.arrival.clear()
        return taken

    def give_back(self, works: Iterable[Work], blamed: Iterable[Work], error: JudgeFailed) -> None:
        """Put the edits of a lost worker in front again. One that was `blamed` too often fails with `error`."""
        guilty = set(map(id, blamed))
        for work in reversed(list(works)):
            work.failures += id(work) in guilty
            if work.failures >= self._attempts:
                if error.kind == "crash":
                    self._remember_crash(work.fields.key)
                self.finish(work, make_failed_columns(error))
            elif work.waiters <= 0:
                self._forget(work)
            else:
                self._metrics.again.labels(self.judge).inc()
                self._waiting[work.fields.key] = work
                self._waiting.move_to_end(work.fields.key, last=False)
        if self._waiting:
            self.arrival.set()

    def _remember_crash(self, key: str) -> None:
        now = time.monotonic()
        self._crashed = {one: until for one, until in self._crashed.items() if until > now}
        self._crashed[key] = now + CRASH_MEMORY

    def finish(self, work: Work, row: Row) -> None:
        """Answer everybody who waits for this edit."""
        if work.keep:
            self._keep(work.fields.key, row)
        self._forget(work)
        self._finished.append(time.monotonic())
        if not work.future.done():
            work.future.set_result(row)

    def _forget(self, work: Work) -> None:
        if self._known.get(work.fields.key) is work:
            del self._known[work.fields.key]
            self._room.items -= 1
            self._room.bytes -= work.size
            work.fields = replace(work.fields, source=b"", edited=b"")  # requests hold the work for longer
