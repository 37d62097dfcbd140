"""Judge the edits of a lane with one judge, batch by batch.

Three things happen at once: the next batch is read, resized and tokenised (reader threads), the model works on this
one, and the last one is recorded (writer thread). Batches are cut by weight from all edits of a shard, finished ones
included, and never mix categories: a lane that goes on after a kill forms the batches of an undisturbed one, and so a
judge gets its numbers whose rounding depends on nothing else (vLLM's, and a server's, does).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from editlane.core.errors import CRASHED, ItemError, JudgeFailed, OutOfMemory, SourceUnreadable, one_line
from editlane.core.schemas import controls_schema, scores_schema
from editlane.core.tables import to_item
from editlane.core.types import EDITED, Control, Judge, Question, Row, State
from editlane.images.files import PREPARING_THREADS
from editlane.images.recorded import open_recorded
from editlane.lanes.heartbeat import Heartbeat
from editlane.lanes.journal import content_key
from editlane.lanes.prefetch import prefetched
from editlane.protocols.scoring import (
    ScoringProtocol,
    category_fingerprint,
    questions,
    said,
    score_readouts,
    score_replies,
)

log = logging.getLogger(__name__)

Questions = dict[str, Question]
"""About one edit, by criterion."""

Prepared = Any | ItemError
"""What the judge made of a batch's questions, or why it could make nothing of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeLane:
    """What is the same for all edits that one judge scores in one lane."""

    judge: str
    identity: dict[str, Any]
    run_dir: Path
    protocol: ScoringProtocol
    criteria: tuple[str, ...]
    samples: int
    """How often an edit of the repeats is asked again: once where the same question gives the same answer."""
    _fingerprints: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _protocol_parts(self, category: str) -> list[str]:
        """What of the protocol a score of this category depends on."""
        if category not in self._fingerprints:  # asked for with every key
            self._fingerprints[category] = category_fingerprint(self.protocol, category)
        return [self.protocol.name, self.protocol.version, self._fingerprints[category]]

    def key(self, row: Row) -> str:
        """The journal key of this edit's score. Holds the text of its own category only."""
        return content_key(
            judge=self.identity,
            protocol=self._protocol_parts(row["category"]),
            criteria=self.criteria,
            source=row["source_sha256"],
            edited=row["edited_sha256"],
            text=[row["instruction"], row["description"], row["rationale"]],
            **({"repeat": row["repeat"]} if row.get("repeat") else {}),
        )

    @property
    def whole_key(self) -> str:
        """16 hex digits of the judge's settings and its protocol; says nothing of the text of a single category."""
        protocol = [self.protocol.name, self.protocol.version, self.criteria]
        return content_key(judge=self.identity, protocol=protocol)[:16]

    def common(self, row: Row) -> Row:
        """The columns that every score of this edit has."""
        key = content_key(judge=self.identity, protocol=self._protocol_parts(row["category"]))
        return {"judge": self.judge, "judge_key": key[:16], "protocol_version": self.protocol.version}

    def unjudged(self, row: Row) -> Row:
        """The score columns of an item that has no edit to judge: its state is handed on."""
        handed_on = {name: row[name] for name in ("state", "error_kind", "error")}
        return self.common(row) | handed_on | {"score": None}

    def score_row(self, row: Row, scored: Row | None) -> Row:
        """A whole row of a scores table, or of a controls table, from a row of an edits table, or a control about one,
        and, if it has an edit, its score columns."""
        columns = row | (scored if scored is not None else self.unjudged(row))
        return {name: columns.get(name) for name in _columns(self.criteria, "control" in row)}

    def crashed(self, row: Row) -> Row:
        """The score columns of an edit on which one process after another died."""
        return self.common(row) | _failed(JudgeFailed(CRASHED, kind="crash"))

    def weigh(self, judge: Judge, row: Row) -> int:
        """What this edit adds to a batch of `judge`."""
        source = (row["width"] or 1024, row["height"] or 1024)
        edited = (row.get("edited_width") or source[0], row.get("edited_height") or source[1])
        sizes = {"source": source, "edited": edited}
        asked = said(self.protocol, to_item(row), self.criteria)
        return judge.weigh(
            [sizes[shown] for images, _ in asked for shown in images], "".join(text for _, text in asked)
        )

    def ask(self, row: Row) -> Questions:
        """The questions about one edit. Raises JudgeFailed if one of its images is not what was recorded."""
        try:
            source = open_recorded(self.run_dir, row["source_path"], row["source_sha256"])
            if row.get("control") == Control.BLANK_EDIT:
                edited = Image.new("RGB", source.size, "white")
            else:
                edited = open_recorded(self.run_dir, row["edited_path"], row["edited_sha256"])
        except SourceUnreadable as error:
            raise JudgeFailed(str(error), kind=error.kind) from error
        return questions(self.protocol, to_item(row), source, edited, self.criteria)


@cache
def _columns(criteria: tuple[str, ...], of_controls: bool) -> list[str]:
    """Of a scores table, or of a controls table."""
    names: list[str] = (controls_schema(criteria) if of_controls else scores_schema(criteria)).names
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Edits of one category that are judged together."""

    rows: list[Row]
    asked: list[Questions | ItemError]
    """One per row: its questions by criterion, or why it cannot be asked."""
    prepared: Prepared


WINDOW = 256
"""Edits of a category among which those of a size are put together."""


def cut_batches(
    rows: Sequence[Row],
    weigh: Callable[[Row], int],
    capacity: int,
    wanted: Callable[[Row], bool],
    alone: Callable[[Row], bool] = lambda row: False,
) -> Iterator[list[Row]]:
    """Batches of one category, heavy edits first within a window, each without the rows that are not wanted; none is
    empty.

    A batch weighs its number of rows times the heaviest, since shorter ones are padded, and at most `capacity`; a
    heavier row stands alone, and so does one that is to. What is wanted does not change which rows meet.
    """
    for category in dict.fromkeys(row["category"] for row in rows):
        members = [row for row in rows if row["category"] == category]
        for start in range(0, len(members), WINDOW):
            for chunk in _chunks(members[start : start + WINDOW], weigh, capacity):
                left = [row for row in chunk if wanted(row)]
                together = [row for row in left if not alone(row)]
                if together:
                    yield together
                yield from ([row] for row in left if alone(row))


def _chunks(rows: Sequence[Row], weigh: Callable[[Row], int], capacity: int) -> Iterator[list[Row]]:
    weighed = sorted(((weigh(row), place) for place, row in enumerate(rows)), key=lambda pair: (-pair[0], pair[1]))
    start = 0
    while start < len(weighed):
        count = max(1, capacity // max(1, weighed[start][0]))
        yield [rows[place] for _, place in weighed[start : start + count]]
        start += count


def score_batches(
    lane: JudgeLane,
    judge: Judge,
    batches: Sequence[list[Row]],
    *,
    device: str,
    check: Callable[[], None],
    heartbeat: Heartbeat,
    begin: Callable[[list[Row]], None],
    died: Callable[[list[Row]], bool],
    finished: Callable[[list[tuple[Row, Row]]], None],
) -> None:
    """Judge every batch; `begin` gets its rows before, `finished` (edit row, score columns) of all of them, together,
    from the writer thread.

    Before a batch with a row on which a process `died` all others are saved. `check` is asked before each batch and may
    raise Stopped. Only errors that concern more than one item leave here.
    """
    saving: deque[Future[None]] = deque()

    def save(rows: list[Row], scored: list[Row], seconds: float) -> None:
        for row, columns in zip(rows, scored, strict=True):
            each = {"score_seconds": round(seconds / len(rows), 4), "score_device": device}
            columns |= lane.common(row) | each
            log.info("%s/%s %s on %s", row["category"], row["item_id"], _verdict(columns), device)
        finished(list(zip(rows, scored, strict=True)))
        last, failed = scored[-1], sum(columns["state"] != State.SCORED for columns in scored)
        heartbeat.finished(len(rows), seconds=seconds, state=last["state"], score=last["score"], failed=failed)

    def settle(most: int) -> None:
        """Wait until at most so many batches are unsaved."""
        with heartbeat.waiting("output"):
            while len(saving) > most:
                saving.popleft().result()

    with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer:
        for rows, loading in prefetched(lambda rows: load_batch(lane, judge, rows), batches, depth=1):
            check()
            if died(rows):
                settle(0)
            begin(rows)
            heartbeat.begin(rows[0]["item_id"], rows[0]["category"], suspect=died(rows))
            with heartbeat.waiting("input"):
                batch = loading.result()
            started = time.monotonic()
            scored = judge_batch(lane, judge, batch)
            saving.append(writer.submit(save, rows, scored, time.monotonic() - started))
            settle(1)
        settle(0)


def load_batch(lane: JudgeLane, judge: Judge, rows: list[Row]) -> Batch:
    """Read the images of a batch and let the judge prepare them; runs in the reader thread."""

    def ask(row: Row) -> Questions | ItemError:
        try:
            return lane.ask(row)
        except ItemError as error:
            return error

    with ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images") as threads:
        asked = list(threads.map(ask, rows))
    askable = [entry for entry in asked if not isinstance(entry, ItemError)]
    return Batch(rows=rows, asked=asked, prepared=_prepare(lane, judge, askable))


def _prepare(lane: JudgeLane, judge: Judge, asked: list[Questions]) -> Prepared:
    if not asked:
        return None
    try:
        return judge.prepare([list(entry.values()) for entry in asked])
    except ItemError as error:
        return error


def judge_batch(lane: JudgeLane, judge: Judge, batch: Batch) -> list[Row]:
    """The score columns of every row of the batch, in order."""
    askable = [entry for entry in batch.asked if not isinstance(entry, ItemError)]
    pairs = zip(batch.rows, batch.asked, strict=True)
    seeds = [_seed(lane, row) for row, entry in pairs if not isinstance(entry, ItemError)]
    answers = iter(answer(lane, judge, askable, batch.prepared, seeds))
    return [_failed(entry) if isinstance(entry, ItemError) else next(answers) for entry in batch.asked]


def _seed(lane: JudgeLane, row: Row) -> int:
    """Of a judge that samples its replies: from what is asked, so the same in every batch, and another at a repeat."""
    return int(lane.key(row)[:12], 16)


def answer(
    lane: JudgeLane, judge: Judge, asked: list[Questions], prepared: Prepared, seeds: Sequence[int]
) -> list[Row]:
    """Ask the judge; a batch that fails is halved until the edit that fails stands alone, as a row of its own."""
    if not asked:
        return []
    try:
        if isinstance(prepared, ItemError):
            raise prepared
        return _answer(lane, judge, asked, prepared, seeds)
    except ItemError as error:
        if len(asked) == 1:
            return [_failed(error)]
        log.warning("a batch of %d failed (%s); trying halves", len(asked), one_line(error))
    middle = len(asked) // 2
    halves = ((asked[:middle], seeds[:middle]), (asked[middle:], seeds[middle:]))
    return [row for half, own in halves for row in answer(lane, judge, half, _prepare(lane, judge, half), own)]


def _answer(lane: JudgeLane, judge: Judge, asked: list[Questions], prepared: Any, seeds: Sequence[int]) -> list[Row]:
    protocol = lane.protocol
    if protocol.answers:
        found = judge.read_out(prepared, protocol.answers)
        answered = zip(asked, found, strict=True)
        return [score_readouts(protocol, dict(zip(entry, readouts, strict=True))) for entry, readouts in answered]
    own = [[seed + number for number in range(len(entry))] for seed, entry in zip(seeds, asked, strict=True)]
    written = zip(asked, judge.generate(prepared, protocol.max_new_tokens, own), strict=True)
    return [score_replies(protocol, dict(zip(entry, replies, strict=True))) for entry, replies in written]


def _failed(error: ItemError) -> Row:
    """An edit that could not be judged; running out of memory while judging is the judge's failure, too."""
    own = not isinstance(error, OutOfMemory) and error.state != State.EDIT_FAILED
    state = error.state if own else State.JUDGE_FAILED
    return {"state": str(state), "error_kind": error.kind, "error": one_line(error), "score": None}


def is_judgeable(row: Row) -> bool:
    """Whether this row of an edits table has an edit."""
    return bool(row["state"] == EDITED)


def _verdict(columns: Row) -> str:
    if columns["score"] is None:
        return f"{columns['state']} ({columns['error_kind']}: {columns['error']}) {columns.get('reply') or ''}"
    return f"score {columns['score']:.2f} answer {columns['reply']}"
