"""From an edit to questions, and from a judge's answers to the score columns of a row. Pure: no model, no files.

A number is written only where the judge gave a legal answer; everything else ends as `judge_unreadable` or
`judge_failed` with its reason.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL.Image import Image

from editlane.protocols import GeneratedAnswer, ReadoutAnswer, ScoringProtocol, load_protocol, rescaled
from editlane.types import Item, Question, Readout, State

__all__ = [
    "ScoringProtocol",
    "category_fingerprint",
    "load_protocol",
    "questions",
    "score_readouts",
    "score_reply",
]


def questions(
    protocol: ScoringProtocol, item: Item, source: Image, edited: Image, criteria: Sequence[str]
) -> dict[str, Question]:
    """One question per criterion about one edit; they differ only in their last part.

    The order lets a model reuse what questions have in common: the system text with the rubric (equal for a category),
    the images after their labels, the item's own texts (equal for an item), the criterion's question.
    """
    system = system_text(protocol, item.category)
    shared: list[str | Image] = []
    for number, shown in enumerate(protocol.images):
        shared.append(f"{shown.label}\n" if number == 0 else f"\n{shown.label}\n")
        shared.append(source if shown.show == "source" else edited)
    shared.append(f"\n\n{item_text(protocol, item)}\n\n")
    asked = {one.name: one.question for one in protocol.criteria}
    return {name: Question(system=system, parts=(*shared, asked[name])) for name in criteria}


def system_text(protocol: ScoringProtocol, category: str) -> str:
    """The first text of every prompt of this category."""
    rubric = protocol.rubrics.get(unicodedata.normalize("NFC", category), "")
    return protocol.system.replace("{rubric}", rubric)


def item_text(protocol: ScoringProtocol, item: Item) -> str:
    """The item's own lines; a line whose value the item does not have is left out."""
    values = {"instruction": item.instruction, "description": item.description, "rationale": item.rationale}
    lines = [
        line.replace(f"{{{field}}}", value) for field, line in protocol.item_texts.items() if (value := values[field])
    ]
    return "\n".join(lines)


def category_fingerprint(protocol: ScoringProtocol, category: str) -> str:
    """SHA-256 of all that decides this category's scores: the texts its items see and how their answers are read.

    Another category's rubric, the name, the version and the description are not part of it: a changed rubric judges
    one category again, a changed version (which the journal key holds, too) every one.
    """
    parts = {
        "system": system_text(protocol, category),
        "images": [asdict(shown) for shown in protocol.images],
        "item": list(protocol.item_texts.items()),
        "criteria": [asdict(criterion) for criterion in protocol.criteria],
        "answer": asdict(protocol.answer),
        "score_of": protocol.score_of,
    }
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def score_readouts(protocol: ScoringProtocol, readouts: Mapping[str, Readout]) -> dict[str, Any]:
    """The score columns of one edit from one readout per asked criterion.

    Per criterion: `score_` is the expectation of the answers' values (0..10), `mode_` the most likely legal answer,
    `entropy_` that of the distribution over legal answers in nats (0 certain, log of their number at most), `mass_` the
    share of the full distribution on them. The row's `score` is the lowest score of the protocol's `score: min:`
    criteria; its `entropy` is their highest and its `mass` their lowest. `reply` is the modes in words.

    With too little mass in one of these the state is `judge_unreadable` (error_kind `mass`): all scores are null,
    modes, entropies and masses stay for diagnosis. An optional criterion with too little mass is null by itself.
    With a number that is not finite the state is `judge_failed` (`nonfinite`).
    """
    answer = protocol.answer
    assert isinstance(answer, ReadoutAnswer), "this protocol generates a reply; use score_reply"
    broken = [name for name, readout in readouts.items() if not _is_finite(readout)]
    if broken:
        error = f"the judge's probabilities for {', '.join(broken)} are not finite"
        return _without_score(State.JUDGE_FAILED, "nonfinite", error)
    columns: dict[str, Any] = {}
    for name, readout in readouts.items():
        columns[f"mode_{name}"] = _mode(answer, readout)
        columns[f"entropy_{name}"] = round(_entropy(readout), 4)
        columns[f"mass_{name}"] = round(readout.mass, 6)
    columns["entropy"] = max(columns[f"entropy_{name}"] for name in protocol.score_of)
    columns["mass"] = min(columns[f"mass_{name}"] for name in protocol.score_of)
    silent = {name for name, readout in readouts.items() if readout.mass < answer.min_mass}
    if silent & set(protocol.score_of):
        low = [f"{name} {readouts[name].mass:.3g}" for name in protocol.score_of if name in silent]
        error = f"too little probability on legal answers: {', '.join(low)}; the protocol asks for {answer.min_mass:g}"
        columns |= dict.fromkeys(f"score_{name}" for name in readouts)
        return columns | _without_score(State.JUDGE_UNREADABLE, "mass", error)
    for name, readout in readouts.items():
        columns[f"score_{name}"] = None if name in silent else _expectation(answer, readout)
    return columns | {
        "state": str(State.SCORED),
        "error_kind": None,
        "error": None,
        "score": min(columns[f"score_{name}"] for name in protocol.score_of),
        "reply": ", ".join(f"{name} {columns[f'mode_{name}']}" for name in readouts),
    }


def score_reply(protocol: ScoringProtocol, reply: str) -> dict[str, Any]:
    """The score columns of one edit from a generated reply, which is kept whole.

    `judge_unreadable` where the reply has no legal number (error_kind `no_number`), one outside of the range
    (`out_of_range`), or two different ones (`contradiction`).
    """
    answer = protocol.answer
    assert isinstance(answer, GeneratedAnswer), "this protocol reads probabilities; use score_readouts"
    try:
        numbers = {float(found) for found in re.findall(answer.pattern, reply)}
    except ValueError:  # a protocol's pattern may match more than numbers
        numbers = set()
    listed = ", ".join(f"{number:g}" for number in sorted(numbers))
    if not numbers:
        columns = _without_score(State.JUDGE_UNREADABLE, "no_number", "the reply holds no score")
    elif not all(answer.low <= number <= answer.high for number in numbers):  # also catches nan
        error = f"the reply's score {listed} is outside of {answer.low:g}..{answer.high:g}"
        columns = _without_score(State.JUDGE_UNREADABLE, "out_of_range", error)
    elif len(numbers) > 1:
        columns = _without_score(State.JUDGE_UNREADABLE, "contradiction", f"the reply holds several scores: {listed}")
    else:
        score = round(rescaled(numbers.pop(), answer.low, answer.high), 4)
        (name,) = protocol.score_of
        columns = {
            "state": str(State.SCORED),
            "error_kind": None,
            "error": None,
            "score": score,
            f"score_{name}": score,
        }
    return columns | {"reply": reply}


def _without_score(state: State, kind: str, error: str) -> dict[str, Any]:
    return {"state": str(state), "error_kind": kind, "error": error, "score": None, "reply": None}


def _is_finite(readout: Readout) -> bool:
    return all(map(math.isfinite, (*readout.probabilities, readout.mass)))


def _mode(answer: ReadoutAnswer, readout: Readout) -> str:
    pairs = zip(readout.probabilities, answer.answers, strict=True)
    return max(pairs, key=lambda pair: pair[0])[1]


def _entropy(readout: Readout) -> float:
    return max(0.0, -math.fsum(p * math.log(p) for p in readout.probabilities if p > 0))


def _expectation(answer: ReadoutAnswer, readout: Readout) -> float:
    pairs = zip(answer.values, readout.probabilities, strict=True)
    return round(math.fsum(value * probability for value, probability in pairs), 4)
