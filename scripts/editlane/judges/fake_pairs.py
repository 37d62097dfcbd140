"""Compare two edits without a model: rate each as if it were asked about alone, then say which is better."""

import math
from collections.abc import Callable

from PIL.Image import Image

from editlane.core.types import PAIR_ANSWERS, Question
from editlane.protocols.references import count_references

EQUAL = 0.02
"""Ratings that differ by less are a tie."""

BAD = 0.3
"""Ratings below it are of edits that did not carry out the instruction; see fake._rate_seen_edit."""

SURE = 4.0
"""The chosen answer is e to the power of this times as likely as each other one."""


def is_comparison(question: Question) -> bool:
    """Return whether a question shows a source and two edits."""
    return sum(isinstance(part, Image) for part in question.parts) - count_references(question.parts) == 3


def choose_by_rating(rate: Callable[[Question], float], question: Question) -> str:
    """Return the answer of PAIR_ANSWERS that the ratings of the two edits, each 0..1, ask for.

    The labels of the edits are left out of what is rated, so that a picture has the same rating in both places.
    """
    first, second = (rate(one) for one in _split(question))
    if max(first, second) < BAD:
        return "both_bad"
    if abs(first - second) < EQUAL:
        return "tie"
    return "a" if first > second else "b"


def choose_by_share(share: float) -> str:
    """Return an answer of PAIR_ANSWERS for a number in [0, 1), without a look at the edits."""
    return PAIR_ANSWERS[int(share * len(PAIR_ANSWERS))]


def weigh(chosen: str) -> tuple[float, ...]:
    """Return the probabilities of PAIR_ANSWERS, with the peak at the chosen one."""
    weights = [math.exp(SURE * (name == chosen)) for name in PAIR_ANSWERS]
    return tuple(weight / sum(weights) for weight in weights)


def _split(question: Question) -> list[Question]:
    """Return a question about each edit alone. The source and references come first; the edits' labels are left out."""
    places = [place for place, part in enumerate(question.parts) if isinstance(part, Image)]
    head, tail = question.parts[: places[-3] + 1], question.parts[places[-1] + 1 :]
    return [Question(system=question.system, parts=(*head, question.parts[edit], *tail)) for edit in places[-2:]]
