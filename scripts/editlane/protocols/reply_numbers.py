"""Read the numbers of a generated reply, and say why one has none."""

import re
from typing import NamedTuple

from editlane.core.cut_replies import CutReply
from editlane.protocols.protocol import GeneratedAnswer

_CLOSING = "\n}]"
"""What ends a line, a list or an object: a number before it goes on no more."""
_OPENING = re.compile(r"\s*(?:```\w*\s*)?[*_#\s]*")
"""What may stand before an answer."""
_NOTHING = re.compile(r"[\s}\])\"'`*]*")
"""What says nothing after an answer."""


class Unread(NamedTuple):
    """Reason that a reply has no legal numbers."""

    kind: str
    error: str


def read_numbers(answer: GeneratedAnswer, reply: str) -> list[float] | Unread:
    """Read the numbers of a reply, in order.

    Of a reply that was cut, only those count that are also read without its last, unfinished line, list or object:
    `Score: 1` may be the beginning of `Score: 10`, or of `Score: 1 out of 5`. They must be what it begins with, or its
    last words: others may be a guess on the way, as in a thought whose beginning is not marked.
    """
    found = _read(answer, reply)
    if not isinstance(reply, CutReply):
        return found
    closed = _read(answer, reply[: 1 + max(reply.rfind(one) for one in _CLOSING)])
    if closed == found and (found.kind != "no_number" if isinstance(found, Unread) else _is_final(answer, reply)):
        return found
    return Unread(
        "cut",
        "the reply ended at its longest length before its score was whole; raise `max_new_tokens` in the protocol, or "
        "`reasoning_tokens` in the `params` of a judge that has it",
    )


def _is_final(answer: GeneratedAnswer, reply: str) -> bool:
    """Return whether a reply with numbers begins with them, or with the object that holds them, or says nothing else
    after them."""
    matches = list(re.finditer(answer.pattern, reply))
    opened = _OPENING.match(reply)
    begins = opened.end() if opened else 0
    return (
        reply[begins : begins + 1] == "{"
        or matches[0].start() <= begins
        or bool(_NOTHING.fullmatch(reply, matches[-1].end()))
    )


def _read(answer: GeneratedAnswer, reply: str) -> list[float] | Unread:
    try:
        answers = {tuple(map(float, match.groups())) for match in re.finditer(answer.pattern, reply)}
    except (TypeError, ValueError):  # the pattern may match other text than numbers, or leave a group unmatched
        answers = set()
    listed = ", ".join(" and ".join(f"{number:g}" for number in numbers) for numbers in sorted(answers))
    if not answers:
        return Unread("no_number", "the reply holds no score")
    if not all(answer.low <= number <= answer.high for numbers in answers for number in numbers):  # also catches nan
        return Unread("out_of_range", f"the reply's score {listed} is outside of {answer.low:g}..{answer.high:g}")
    if len(answers) > 1:
        return Unread("contradiction", f"the reply holds several scores: {listed}")
    return list(answers.pop())
