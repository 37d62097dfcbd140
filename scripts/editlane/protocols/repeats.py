"""Ask each question several times in one go, and tell the replies apart."""

from collections.abc import Mapping
from typing import TypeVar

from editlane.core.types import Question

T = TypeVar("T")

_SIGN = "#"
"""Between a criterion and the number of its reply; no criterion's name has it."""


def repeat_questions(asked: Mapping[str, Question], replies: int) -> dict[str, Question]:
    """Return the questions of the first reply under their own names, then those of the others."""
    return {
        name if number == 0 else f"{name}{_SIGN}{number + 1}": question
        for number in range(replies)
        for name, question in asked.items()
    }


def split_replies(replies: Mapping[str, T]) -> list[dict[str, T]]:
    """Return the replies by criterion, once for each time that all were asked."""
    found: dict[str, dict[str, T]] = {}
    for name, reply in replies.items():
        criterion, _, number = name.partition(_SIGN)
        found.setdefault(number, {})[criterion] = reply
    return list(found.values())
