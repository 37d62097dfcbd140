"""Judge the edits of a lane with one judge, batch by batch.

The next batch is read, resized and tokenised (reader thread) while the device works on this one. Batches are cut from
all edits of a shard, finished ones included, and never mix categories: a lane that goes on after a kill forms the
batches of an undisturbed one, so that its numbers are the same.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from editlane.errors import CRASHED, ItemError, JudgeFailed, OutOfMemory, SourceUnreadable, one_line
from editlane.journal import Row, content_key
from editlane.prefetch import prefetched
from editlane.progress import Heartbeat
from editlane.recorded import open_recorded
from editlane.scoring import ScoringProtocol, category_fingerprint, questions, score_readouts, score_replies
from editlane.tables import controls_schema, scores_schema, to_item
from editlane.types import EDITED, Control, Judge, Question, State

log = logging.getLogger(__name__)

Questions = dict[str, Question]
"""About one edit, by criterion."""

Prepared = dict[str, Any] | ItemError
"""By criterion what the judge made of a batch's questions, or why it could make nothing of them."""


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


def cut_batches(
    rows: Sequence[Row], size: int, wanted: Callable[[Row], bool], alone: Callable[[Row], bool] = lambda row: False
) -> Iterator[list[Row]]:
    """Chunks of `size` neighbours of one category, each without the rows that are not wanted; none is empty.

    A row that is to stand alone gets a batch of its own.
    """
    categories = dict.fromkeys(row["category"] for row in rows)
    for category in categories:
        members = [row for row in rows if row["category"] == category]
        for start in range(0, len(members), size):
            chunk = [row for row in members[start : start + size] if wanted(row)]
            together = [row for row in chunk if not alone(row)]
            if together:
                yield together
            yield from ([row] for row in chunk if alone(row))


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
    """Judge every batch; `begin` gets its rows, `finished` (edit row, score columns) of a whole batch at once.

    `check` is asked before each batch and may raise Stopped; `died` says whether a process died on one of these rows
    before. Only errors that concern more than one item leave here.
    """
    for rows, loading in prefetched(lambda rows: load_batch(lane, judge, rows), batches, depth=1):
        check()
        begin(rows)
        heartbeat.begin(rows[0]["item_id"], rows[0]["category"], suspect=died(rows))
        started = time.monotonic()
        batch = loading.result()
        scored = judge_batch(lane, judge, batch)
        spent = time.monotonic() - started
        seconds = round(spent / len(rows), 4)
        for row, columns in zip(rows, scored, strict=True):
            columns |= lane.common(row) | {"score_seconds": seconds, "score_device": device}
            log.info("%s/%s %s on %s", row["category"], row["item_id"], _verdict(columns), device)
        finished(list(zip(rows, scored, strict=True)))
        last, failed = scored[-1], sum(columns["state"] != State.SCORED for columns in scored)
        heartbeat.finished(len(rows), seconds=spent, state=last["state"], score=last["score"], failed=failed)


def load_batch(lane: JudgeLane, judge: Judge, rows: list[Row]) -> Batch:
    """Read the images of a batch and let the judge prepare them; runs in the reader thread."""
    asked: list[Questions | ItemError] = []
    for row in rows:
        try:
            asked.append(lane.ask(row))
        except ItemError as error:
            asked.append(error)
    askable = [entry for entry in asked if not isinstance(entry, ItemError)]
    return Batch(rows=rows, asked=asked, prepared=_prepare(lane, judge, askable))


def _prepare(lane: JudgeLane, judge: Judge, asked: list[Questions]) -> Prepared:
    if not asked:
        return {}
    try:
        return {name: judge.prepare([entry[name] for entry in asked]) for name in asked[0]}
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
        return _answer(lane, judge, prepared, seeds)
    except ItemError as error:
        if len(asked) == 1:
            return [_failed(error)]
        log.warning("a batch of %d failed (%s); trying halves", len(asked), one_line(error))
    middle = len(asked) // 2
    halves = ((asked[:middle], seeds[:middle]), (asked[middle:], seeds[middle:]))
    return [row for half, own in halves for row in answer(lane, judge, half, _prepare(lane, judge, half), own)]


def _answer(lane: JudgeLane, judge: Judge, prepared: dict[str, Any], seeds: Sequence[int]) -> list[Row]:
    protocol = lane.protocol
    if protocol.answers:
        readouts = {name: judge.read_out(batch, protocol.answers) for name, batch in prepared.items()}
        return [score_readouts(protocol, {name: readouts[name][i] for name in readouts}) for i in range(len(seeds))]
    replies = {
        name: judge.generate(batch, protocol.max_new_tokens, [seed + number for seed in seeds])
        for number, (name, batch) in enumerate(prepared.items())
    }
    return [score_replies(protocol, {name: replies[name][i] for name in replies}) for i in range(len(seeds))]


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
