"""Ask a judge about edits and turn its answers into score columns. This module has no lanes, files or journals.

To score one edit:

    questions = build_questions(protocol, item, source, edited, protocol.select_criteria())
    row = ask(protocol, judge, prepare(judge, [questions]), seeds=[0])[0]

`source` and `edited` are RGB, upright, as `images.files.open_image` returns them. Of `item` only the category and the
texts are used. `ask` is called by one thread; `prepare` may run in another.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from editlane.core.errors import ItemError, OutOfMemory, one_line
from editlane.core.types import Judge, Question, RatingJudge, Row, State
from editlane.protocols.protocol import ScalarAnswer, ScoringProtocol
from editlane.protocols.replies import score_all_replies
from editlane.protocols.scalars import score_scalars
from editlane.protocols.scoring import score_readouts

log = logging.getLogger(__name__)

Questions = dict[str, Question]
"""Questions about one edit, by criterion."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Edits in one call of a judge."""

    asked: Sequence[Questions | ItemError]
    """One entry per edit: its questions, or the reason that there are none."""
    prepared: Any | ItemError
    """All questions in the judge's form, or the reason that it could not prepare them."""

    @property
    def questions(self) -> list[Questions]:
        """Entries with questions."""
        return [entry for entry in self.asked if not isinstance(entry, ItemError)]


def prepare(judge: Judge, asked: Sequence[Questions | ItemError]) -> Batch:
    """Prepare a batch on the CPU. This may run beside the device's work on another batch."""
    batch = Batch(asked, None)
    if not batch.questions:
        return batch
    try:
        return Batch(asked, judge.prepare([list(entry.values()) for entry in batch.questions]))
    except ItemError as error:
        return Batch(asked, error)


Answer = Callable[[list[Questions], Any, Sequence[int]], list[Row]]
"""Asks a judge once: gets the questions, their prepared form and the seeds, and returns columns. Raises ItemError."""


def ask(protocol: ScoringProtocol, judge: Judge, batch: Batch, seeds: Sequence[int]) -> list[Row]:
    """Return the score columns of every edit of the batch, in order.

    `seeds`: one integer of 0 or more per entry; it alone decides the randomness of a sampled reply. A failed batch is
    halved until the failing edit is alone, so that the others keep their scores. ItemError is never raised: it becomes
    the `state`, `error_kind` and `error` of its edit.
    """

    def answer(asked: list[Questions], prepared: Any, own: Sequence[int]) -> list[Row]:
        return _ask_once(protocol, judge, asked, prepared, own)

    return ask_for(answer, judge, batch, seeds)


def ask_for(answer: Answer, judge: Judge, batch: Batch, seeds: Sequence[int]) -> list[Row]:
    """Return the columns that `answer` makes of every entry of the batch, in order; see `ask`."""
    own = [seed for seed, entry in zip(seeds, batch.asked, strict=True) if not isinstance(entry, ItemError)]
    answers = iter(_ask_halving(answer, judge, batch.questions, batch.prepared, own))
    return [make_failed_columns(entry) if isinstance(entry, ItemError) else next(answers) for entry in batch.asked]


def make_failed_columns(error: ItemError) -> Row:
    """Return the score columns of an edit that could not be judged.

    Editors raise OutOfMemory with the state `edit_failed`; here it is `judge_failed`.
    """
    own = not isinstance(error, OutOfMemory) and error.state != State.EDIT_FAILED
    state = error.state if own else State.JUDGE_FAILED
    return {"state": str(state), "error_kind": error.kind, "error": one_line(error), "score": None}


def _ask_halving(
    answer: Answer, judge: Judge, asked: list[Questions], prepared: Any | ItemError, seeds: Sequence[int]
) -> list[Row]:
    if not asked:
        return []
    try:
        if isinstance(prepared, ItemError):
            raise prepared
        return answer(asked, prepared, seeds)
    except ItemError as error:
        if len(asked) == 1:
            return [make_failed_columns(error)]
        log.warning("a batch of %d failed (%s); trying halves", len(asked), one_line(error))
    middle = len(asked) // 2
    halves = ((asked[:middle], seeds[:middle]), (asked[middle:], seeds[middle:]))
    return [
        row for half, own in halves for row in _ask_halving(answer, judge, half, prepare(judge, half).prepared, own)
    ]


def _ask_once(
    protocol: ScoringProtocol, judge: Judge, asked: list[Questions], prepared: Any, seeds: Sequence[int]
) -> list[Row]:
    if protocol.answers:
        answers = zip(asked, judge.read_out(prepared, protocol.answers), strict=True)
        return [score_readouts(protocol, dict(zip(entry, readouts, strict=True))) for entry, readouts in answers]
    if isinstance(protocol.answer, ScalarAnswer):
        rated = zip(asked, cast(RatingJudge, judge).rate(prepared), strict=True)
        return [score_scalars(protocol, dict(zip(entry, numbers, strict=True))) for entry, numbers in rated]
    own = [[seed + number for number in range(len(entry))] for seed, entry in zip(seeds, asked, strict=True)]
    written = zip(asked, judge.generate(prepared, protocol.max_new_tokens, own), strict=True)
    return [score_all_replies(protocol, dict(zip(entry, replies, strict=True))) for entry, replies in written]
