"""Score edits: what every way of asking shares. This module knows no HTTP."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from editlane.core.errors import JudgeFailed, UnknownName
from editlane.core.paths import RunEntry
from editlane.core.printable import escape, hide_places
from editlane.core.types import Row
from editlane.protocols.asking import make_failed_columns
from editlane.server.accepted import read_acceptance
from editlane.server.backend import BackendState
from editlane.server.config import RewardConfig
from editlane.server.metrics import Metrics
from editlane.server.online_judge import OnlineJudge, make_judges, normalise_category
from editlane.server.questions import find_key
from editlane.server.shared_cache import SharedCache
from editlane.server.store import ScoreStore
from editlane.server.wire import Fields, ScoreItem
from editlane.server.work_queue import Full, Queue, Room

log = logging.getLogger(__name__)

PANEL = "panel"
"""The name by which a request asks all judges."""

RECENT = 20
"""Scores that the page shows."""

SHOWN_TEXT = 80
LONGEST_CATEGORY = 200

SAID_OF_ENGINES = {"transport": "the judge's engine does not answer", "timeout": "the judge's engine took too long"}
"""What is told of failures whose own words may hold addresses; the log has those."""


class NotReady(Exception):
    """No back-end of this judge answers at the moment."""


class RewardService:
    """The judges of a server, and the scores that it knows."""

    def __init__(self, config: RewardConfig, folder: Path) -> None:
        """Build queues, back-ends and the store; nothing is started. Raises UserError."""
        self.config, self.folder = config, folder
        limits = config.limits
        self.metrics = Metrics()
        self.room = Room(limits.items, int(limits.megabytes * 1e6))
        self.store = ScoreStore(
            folder / RunEntry.JOURNAL,
            int(config.store.megabytes * 1e6),
            map(Path, config.store.runs),
            self.metrics.store_errors.labels("disk").inc,
        )
        failed = self.metrics.store_errors.labels("redis").inc
        self.shared = SharedCache(config.store, failed) if config.store.redis else None
        queues = {name: Queue(name, self.room, self.metrics, limits.attempts, self.keep) for name in config.judges}
        self.judges = {judge.name: judge for judge in make_judges(config, folder, queues, self.metrics)}
        self.provenance = {name: judge.describe() for name, judge in self.judges.items()}
        for name, judge in self.judges.items() if config.accepted_by else ():
            verdict = read_acceptance(Path(config.accepted_by or ""), judge.spec.whole_key, judge.spec.protocol.sha256)
            self.provenance[name] |= {"acceptance": verdict}
            if verdict and verdict["verdict"] != "accepted":
                log.warning("the judge %s was %s in the run %s", name, verdict["verdict"], verdict["run"])
        first = self.find_judge(None).spec.protocol
        self.default_category = config.category and normalise_category(config.category, first, config)
        self.recent: deque[dict[str, Any]] = deque(maxlen=RECENT)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every back-end."""
        for judge in self.judges.values():
            self._tasks += [asyncio.create_task(backend.live()) for backend in judge.backends]
        if self.shared:
            self._tasks.append(asyncio.create_task(self.shared.run()))
        for task in self._tasks:
            task.add_done_callback(log_failure)

    async def stop(self) -> None:
        """End every back-end and write what is known to the disk."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.shared:
            await self.shared.close()
        await asyncio.to_thread(self.store.close)

    def show_workers(self) -> None:
        """Bring the figures of the workers up to date."""
        for judge in self.judges.values():
            for state in BackendState:
                count = sum(backend.state == state for backend in judge.backends)
                self.metrics.workers.labels(judge.name, str(state)).set(count)

    def find_judge(self, name: str | None) -> OnlineJudge:
        """Return the judge of this name, or the first one. Raises UnknownName."""
        if name is None:
            return next(iter(self.judges.values()))
        if name not in self.judges:
            raise UnknownName("judge", name, [*self.judges, PANEL])
        return self.judges[name]

    async def score(self, judge: OnlineJudge, items: Sequence[ScoreItem], seconds: float) -> list[Row]:
        """Return the score columns of each edit, in order. What fails is a row, too; `cached` says where it is from.

        Raises Full and NotReady before anything is taken. If it is cancelled, what nobody else waits for is not begun.
        """
        checked = await asyncio.to_thread(lambda: [self._check(judge, item) for item in items])
        rows = {place: one for place, one in enumerate(checked) if not isinstance(one, Fields)}
        asked = {place: one for place, one in enumerate(checked) if isinstance(one, Fields)}
        await self._fetch_shared([one.key for one in asked.values()])
        for place, edit in list(asked.items()):
            if (known := self.store.find(edit.key)) is not None:
                self.metrics.known.labels(judge.name, "store").inc()
                rows[place] = known | {"cached": True}
                del asked[place]
        rows |= await self._ask(judge, asked, seconds) if asked else {}
        answered = [self._complete(judge, checked[place], rows[place]) for place in range(len(items))]
        for item, row in zip(items, answered, strict=True):
            self._note(judge, item, row)
        return answered

    async def _ask(self, judge: OnlineJudge, asked: Mapping[int, Fields], seconds: float) -> dict[int, Row]:
        """Have these edits judged, and return their rows by place. Those that are late fail."""
        if not judge.is_available:
            raise NotReady(f"the judge {judge.name} is not ready")
        works = dict(zip(asked, judge.queue.join(list(asked.values())), strict=True))
        self._show_load()
        try:
            await asyncio.wait([work.future for work in works.values()], timeout=seconds)  # cancels none of them
        finally:
            for work in works.values():
                judge.queue.leave(work)
            self._show_load()
        late = make_failed_columns(JudgeFailed(f"not scored within {seconds:g} s", kind="deadline"))
        return {place: work.future.result() if work.future.done() else late for place, work in works.items()}

    async def score_few_at_once(
        self, judge: OnlineJudge, items: Sequence[ScoreItem], at_once: int, seconds: float, rows: dict[int, Row]
    ) -> None:
        """Score as `score` does, with at most so many edits in the queue at a time, and wait where the queue is full.

        The rows are put into `rows`, by place, as they come.
        """
        until = time.monotonic() + seconds
        places = iter([place for place in range(len(items)) if place not in rows])

        async def work_off() -> None:
            for place in places:
                rows[place] = await self._score_patiently(judge, items[place], until)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(at_once, len(items))):
                tasks.create_task(work_off())

    async def _score_patiently(self, judge: OnlineJudge, item: ScoreItem, until: float) -> Row:
        while True:
            try:
                (row,) = await self.score(judge, [item], max(0.01, until - time.monotonic()))
                return row
            except (Full, NotReady) as error:
                pause = getattr(error, "seconds", 1.0)
                if pause is None:
                    return self._complete(judge, None, _fail("too_large", "larger than the server's queue"))
                if time.monotonic() + pause > until:
                    return self._complete(judge, None, make_failed_columns(JudgeFailed(str(error), kind="deadline")))
                await asyncio.sleep(pause)

    def _check(self, judge: OnlineJudge, item: ScoreItem) -> Fields | Row:
        """Return what a worker needs, or the row of an item that no judge can be asked about."""
        limits = self.config.limits
        if not (item.category or self.config.category) and judge.categories is not None:
            return _fail("category", f"no category is named; there are {', '.join(judge.categories)}")
        category = normalise_category(item.category or self.config.category or "", judge.spec.protocol, self.config)
        if len(category) > LONGEST_CATEGORY:
            return _fail("category", f"a category has at most {LONGEST_CATEGORY} characters")
        if refusal := judge.find_refusal(category):
            return _fail("category", refusal)
        texts = [
            text if text and text.strip() else None for text in (item.instruction, item.description, item.rationale)
        ]
        if texts[0] is None or any(text and len(text) > limits.text for text in texts):
            return _fail("text", f"an instruction is needed, and no text may be longer than {limits.text} characters")
        for name, content in (("source", item.source), ("edited", item.edited)):
            if not content:
                return _fail("decode", f"{name}: empty, or no base64")
            if len(content) > limits.image_megabytes * 1e6:
                return _fail("too_large", f"{name}: more than {limits.image_megabytes:g} MB")
        fields = Fields("", category, texts[0], item.source, item.edited, texts[1], texts[2])
        return replace(fields, key=find_key(judge.spec, fields))

    async def _fetch_shared(self, keys: Sequence[str]) -> None:
        """Take over what other servers have scored."""
        if self.shared:
            for key, row in (await self.shared.find([key for key in keys if key not in self.store])).items():
                self.store.keep(key, row)

    def keep(self, key: str, row: Row) -> None:
        """Keep the row of a finished edit here, and where other servers find it."""
        if self.store.keep(key, row) and self.shared:
            self.shared.keep(key, row)

    def _complete(self, judge: OnlineJudge, checked: Fields | Row | None, row: Row) -> Row:
        """Return the row with the columns that every answer has."""
        columns = judge.spec.make_category_columns(checked.category) if isinstance(checked, Fields) else {}
        error = row["error"] and SAID_OF_ENGINES.get(row["error_kind"], hide_places(row["error"]))
        return {"cached": False} | row | {"judge": judge.name, "error": error} | columns

    def _note(self, judge: OnlineJudge, item: ScoreItem, row: Row) -> None:
        """Count an answer, and keep what the page shows of it."""
        self.metrics.items.labels(judge.name, row["state"], row["error_kind"] or "").inc()
        shown = {name: row[name] for name in ("judge", "state", "score", "error_kind", "error", "cached")}
        named = {"category": item.category or "", "instruction": item.instruction}
        texts = {name: escape(text[:SHOWN_TEXT]) for name, text in named.items()}
        self.recent.appendleft({"time": round(time.time(), 1)} | texts | shown)

    def _show_load(self) -> None:
        self.metrics.waiting.set(self.room.items)
        self.metrics.bytes.set(self.room.bytes)


def log_failure(task: "asyncio.Task[None]") -> None:
    """Log the error that ended a task which should have gone on."""
    if not task.cancelled() and (error := task.exception()):
        log.error("a part of the server stopped", exc_info=error)


def _fail(kind: str, message: str) -> Row:
    return make_failed_columns(JudgeFailed(message, kind=kind))
