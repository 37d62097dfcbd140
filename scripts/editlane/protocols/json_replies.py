"""Find out if the replies of a protocol may be JSON, so that a server can be told to give nothing else."""

import json
import re

from editlane.core.types import NumbersAsked
from editlane.protocols.protocol import GeneratedAnswer, ScoringProtocol


def find_numbers(protocol: ScoringProtocol, question: str) -> NumbersAsked | None:
    """Return the numbers that the reply to the criterion `question` has to hold.

    None for a read-out, and if the protocol's pattern does not find them in {"reasoning": "...", "score": [1, 2]}, or
    {"reasoning": "...", "score": 1} for one number.
    """
    answer = protocol.answer
    if not isinstance(answer, GeneratedAnswer):
        return None
    count = len(protocol.group_questions([question])[question])
    asked = NumbersAsked(count=count, low=answer.low, high=answer.high)
    return asked if _finds_numbers(answer, asked) else None


def _finds_numbers(answer: GeneratedAnswer, asked: NumbersAsked) -> bool:
    numbers = [asked.low, asked.high, *[asked.low] * asked.count][: asked.count]
    reply = json.dumps({"reasoning": "r", "score": numbers if asked.count > 1 else numbers[0]})
    found = [match.groups() for match in re.finditer(answer.pattern, reply)]
    try:
        return [[float(text) for text in groups] for groups in found] == [numbers]
    except (TypeError, ValueError):
        return False


def make_schema(asked: NumbersAsked) -> dict[str, object]:
    """Return the JSON schema of a reply. The reasoning comes first, so that the numbers follow from it."""
    number = {"type": "number", "minimum": asked.low, "maximum": asked.high}
    numbers = {"type": "array", "items": number, "minItems": asked.count, "maxItems": asked.count}
    return {
        "type": "object",
        "properties": {"reasoning": {"type": "string"}, "score": numbers if asked.count > 1 else number},
        "required": ["reasoning", "score"],
        "additionalProperties": False,
    }
