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
from typing import Any, NamedTuple

from PIL.Image import Image

from editlane.core.schemas import criterion_columns
from editlane.core.types import Item, Question, Readout, State
from editlane.protocols.load import load_protocol
from editlane.protocols.protocol import (
    Combination,
    Criterion,
    GeneratedAnswer,
    ReadoutAnswer,
    ScoringProtocol,
    ShownImage,
    rescaled,
)

__all__ = [
    "ScoringProtocol",
    "category_fingerprint",
    "load_protocol",
    "questions",
    "said",
    "score_readouts",
    "score_replies",
]


def questions(
    protocol: ScoringProtocol, item: Item, source: Image, edited: Image, criteria: Sequence[str]
) -> dict[str, Question]:
    """The questions about one edit, by the criterion that has the question (see ScoringProtocol.questions_for).

    The order lets a model reuse what questions have in common: the system text with the rubric (equal for a category),
    the images after their labels, the item's own texts (equal for an item), the criterion's question.
    """
    system = system_text(protocol, item.category)
    texts = [f"\n\n{item_text(protocol, item)}\n\n"] if protocol.item_texts else []
    by_name = {one.name: one for one in protocol.criteria}
    asked = {}
    for name in protocol.questions_for(criteria):
        images = _image_parts(by_name[name].images or protocol.images, source, edited)
        question = by_name[name].question.replace("{instruction}", item.instruction)
        asked[name] = Question(system=system, parts=(*images, *texts, question))
    return asked


def said(protocol: ScoringProtocol, item: Item, criteria: Sequence[str]) -> list[tuple[tuple[str, ...], str]]:
    """What a judge works through for one edit: the images that are shown ("source", "edited"), with the text.

    In a read-out questions that show the same images are one, and the system text is shared with other edits; for a
    generated reply each is a whole prompt.
    """
    by_name = {one.name: one for one in protocol.criteria}
    found: list[tuple[tuple[str, ...], str]] = []
    for name in protocol.questions_for(criteria):
        shown = tuple(one.show for one in by_name[name].images or protocol.images)
        text = by_name[name].question.replace("{instruction}", item.instruction)
        if protocol.answers and found and found[-1][0] == shown:
            found[-1] = (shown, found[-1][1] + text)
        else:
            system = "" if protocol.answers else system_text(protocol, item.category)
            found.append((shown, system + item_text(protocol, item) + text))
    return found


def _image_parts(images: Sequence[ShownImage], source: Image, edited: Image) -> list[str | Image]:
    parts: list[str | Image] = []
    for number, shown in enumerate(images):
        if shown.label:
            parts.append(f"{shown.label}\n" if number == 0 else f"\n{shown.label}\n")
        parts.append(source if shown.show == "source" else edited)
    return parts


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
        "criteria": [_criterion_parts(criterion) for criterion in protocol.criteria],
        "answer": asdict(protocol.answer),
        "score_of": _combination_parts(protocol.score),
    }
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _criterion_parts(criterion: Criterion) -> dict[str, Any]:
    """Without what is not set, so that scores of protocols that never set it keep their keys."""
    return {name: value for name, value in asdict(criterion).items() if value is not None}


def _combination_parts(combination: Combination) -> Any:
    """As in the file, but a `min` of criteria is its list alone, as in the keys of older scores."""
    parts = [part if isinstance(part, str) else _combination_parts(part) for part in combination.parts]
    plain = combination.how == "min" and all(isinstance(part, str) for part in parts)
    return parts if plain else {combination.how: parts}


def score_readouts(protocol: ScoringProtocol, readouts: Mapping[str, Readout]) -> dict[str, Any]:
    """The score columns of one edit from one readout per asked criterion.

    Per criterion: `score_` is the expectation of the answers' values (0..10), `mode_` the most likely legal answer,
    `entropy_` that of the distribution over legal answers in nats (0 certain, log of their number at most), `mass_` the
    share of the full distribution on them. The row's `score` is what the protocol's `score:` makes of its criteria; its
    `entropy` is their highest and its `mass` their lowest. `reply` is the modes in words.

    With too little mass in one of these the state is `judge_unreadable` (error_kind `mass`): all scores are null,
    modes, entropies and masses stay for diagnosis. An optional criterion with too little mass is null by itself.
    With a number that is not finite the state is `judge_failed` (`nonfinite`).
    """
    answer = protocol.answer
    assert isinstance(answer, ReadoutAnswer), "this protocol generates a reply; use score_replies"
    broken = [name for name, readout in readouts.items() if not _is_finite(readout)]
    if broken:
        error = f"the judge's probabilities for {', '.join(broken)} are not finite"
        return _without_score(State.JUDGE_FAILED, "nonfinite", error)
    columns: dict[str, Any] = {}
    named = {name: criterion_columns(name) for name in readouts}
    for name, readout in readouts.items():
        columns[named[name].mode] = _mode(answer, readout)
        columns[named[name].entropy] = round(_entropy(readout), 4)
        columns[named[name].mass] = round(readout.mass, 6)
    decisive = protocol.score.criteria
    columns["entropy"] = max(columns[named[name].entropy] for name in decisive)
    columns["mass"] = min(columns[named[name].mass] for name in decisive)
    silent = {name for name, readout in readouts.items() if readout.mass < answer.min_mass}
    if silent & set(decisive):
        low = [f"{name} {readouts[name].mass:.3g}" for name in decisive if name in silent]
        error = f"too little probability on legal answers: {', '.join(low)}; the protocol asks for {answer.min_mass:g}"
        columns |= dict.fromkeys(named[name].score for name in readouts)
        return columns | _without_score(State.JUDGE_UNREADABLE, "mass", error)
    scores = {name: _expectation(answer, readout) for name, readout in readouts.items() if name not in silent}
    reply = ", ".join(f"{name} {columns[named[name].mode]}" for name in readouts)
    return columns | _scored(protocol, scores, list(readouts)) | {"reply": reply}


def score_replies(protocol: ScoringProtocol, replies: Mapping[str, str]) -> dict[str, Any]:
    """The score columns of one edit from a generated reply per question; `reply` keeps them whole.

    `judge_unreadable` where a reply that the score needs has no legal numbers (error_kind `no_number`), one outside of
    the range (`out_of_range`), or two different answers (`contradiction`); all scores are null then. Criteria that the
    score does not need are null by themselves.
    """
    answer = protocol.answer
    assert isinstance(answer, GeneratedAnswer), "this protocol reads probabilities; use score_readouts"
    answered = protocol.questions_for(list(replies))
    found = {name: _numbers(answer, reply) for name, reply in replies.items()}
    unread = {name: why for name, why in found.items() if isinstance(why, _Unread)}
    decisive = [name for name in unread if set(answered[name]) & set(protocol.score.criteria)]
    if decisive:
        error = "; ".join(_about(answered, name) + unread[name].error for name in decisive)
        columns = _without_score(State.JUDGE_UNREADABLE, unread[decisive[0]].kind, error)
    else:
        scores = {
            criterion: round(rescaled(number, answer.low, answer.high), 4)
            for name, numbers in found.items()
            if not isinstance(numbers, _Unread)
            for criterion, number in zip(answered[name], numbers, strict=True)
        }
        columns = _scored(protocol, scores, [criterion for name in replies for criterion in answered[name]])
    return columns | {"reply": "\n\n".join(_about(answered, name) + reply for name, reply in replies.items())}


class _Unread(NamedTuple):
    """Why a reply has no legal numbers."""

    kind: str
    error: str


def _numbers(answer: GeneratedAnswer, reply: str) -> list[float] | _Unread:
    """The numbers of a reply, in its order."""
    try:
        answers = {tuple(map(float, match.groups())) for match in re.finditer(answer.pattern, reply)}
    except (TypeError, ValueError):  # a protocol's pattern may match more than numbers, or leave a group out
        answers = set()
    listed = ", ".join(" and ".join(f"{number:g}" for number in numbers) for numbers in sorted(answers))
    if not answers:
        return _Unread("no_number", "the reply holds no score")
    if not all(answer.low <= number <= answer.high for numbers in answers for number in numbers):  # also catches nan
        return _Unread("out_of_range", f"the reply's score {listed} is outside of {answer.low:g}..{answer.high:g}")
    if len(answers) > 1:
        return _Unread("contradiction", f"the reply holds several scores: {listed}")
    return list(answers.pop())


def _about(answered: Mapping[str, Sequence[str]], name: str) -> str:
    """Which of several replies, or nothing where there is one."""
    return f"{', '.join(answered[name])}: " if len(answered) > 1 else ""


def _scored(protocol: ScoringProtocol, scores: Mapping[str, float], asked: Sequence[str]) -> dict[str, Any]:
    """The columns of a scored row; a criterion that was asked but not answered is null."""
    return {
        "state": str(State.SCORED),
        "error_kind": None,
        "error": None,
        "score": round(protocol.score.of(scores), 4),
        **{criterion_columns(name).score: scores.get(name) for name in asked},
    }


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
