"""Turn an edit into questions, and a judge's answers into the score columns of a row. Pure: no model, no files.

A score exists only if the judge gave a legal answer. Otherwise the row ends as `judge_unreadable` or `judge_failed`,
with the reason.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL.Image import Image

from editlane.core.schemas import criterion_columns
from editlane.core.types import Item, Question, Readout, State
from editlane.protocols.json_replies import find_numbers
from editlane.protocols.load import load_protocol
from editlane.protocols.protocol import (
    Combination,
    Criterion,
    GeneratedAnswer,
    ReadoutAnswer,
    ScoringProtocol,
    ShownImage,
    rescale,
)
from editlane.protocols.references import label_references, name_references
from editlane.protocols.repeats import repeat_questions
from editlane.protocols.reply_numbers import Unread, read_numbers

__all__ = [
    "ScoringProtocol",
    "build_questions",
    "fingerprint_category",
    "load_protocol",
    "prompt_parts_for_batching",
    "score_readouts",
    "score_replies",
]


def build_questions(
    protocol: ScoringProtocol,
    item: Item,
    source: Image,
    edited: Image,
    criteria: Sequence[str],
    references: Sequence[Image] = (),
) -> dict[str, Question]:
    """Build the questions about one edit, by the criterion that has the question (see ScoringProtocol.group_questions).

    The order lets a model reuse common prefixes. System text and rubric come first, because they are equal for a
    category. Then come the images after their labels, the item's own texts (equal for an item), and the criterion's
    question. `references`: the item's further images, which follow the source.
    """
    return build_prompts(protocol, item, {"source": source, "edited": edited}, criteria, references)


def build_prompts(
    protocol: ScoringProtocol,
    item: Item,
    shown: Mapping[str, Image],
    criteria: Sequence[str],
    references: Sequence[Image] = (),
) -> dict[str, Question]:
    """Build the questions about these images, by their names in the protocol; see `build_questions`."""
    system = format_system_text(protocol, item.category)
    texts = [f"\n\n{format_item_text(protocol, item)}\n\n"] if protocol.item_texts else []
    by_name = {one.name: one for one in protocol.criteria}
    asked = {}
    for name in protocol.group_questions(criteria):
        images = _make_image_parts(by_name[name].images or protocol.images, shown, references)
        question = by_name[name].question.replace("{instruction}", item.instruction)
        parts = (*images, *texts, question)
        asked[name] = Question(system=system, parts=parts, numbers=find_numbers(protocol, name))
    return repeat_questions(asked, protocol.replies)


def prompt_parts_for_batching(
    protocol: ScoringProtocol, item: Item, criteria: Sequence[str]
) -> list[tuple[tuple[str, ...], str]]:
    """Return the images ("source", "edited", and those of `name_references`) and the text of each prompt about one
    edit, to estimate its cost.

    In a read-out, questions with the same images share one entry. Their system text is left out, because other edits
    share it. Each generated reply has a whole prompt.
    """
    by_name = {one.name: one for one in protocol.criteria}
    found: list[tuple[tuple[str, ...], str]] = []
    for name in protocol.group_questions(criteria):
        shown = tuple(
            image
            for one in by_name[name].images or protocol.images
            for image in (one.show, *(name_references(item.references) if one.show == "source" else ()))
        )
        text = by_name[name].question.replace("{instruction}", item.instruction)
        if protocol.answers and found and found[-1][0] == shown:
            found[-1] = (shown, found[-1][1] + text)
        else:
            system = "" if protocol.answers else format_system_text(protocol, item.category)
            found.append((shown, system + format_item_text(protocol, item) + text))
    return found * protocol.replies


def _make_image_parts(
    images: Sequence[ShownImage], shown: Mapping[str, Image], references: Sequence[Image]
) -> list[str | Image]:
    parts: list[str | Image] = []
    for number, one in enumerate(images):
        if one.label:
            parts.append(f"{one.label}\n" if number == 0 else f"\n{one.label}\n")
        parts.append(shown[one.show])
        if one.show == "source":
            parts += label_references(references)
    return parts


def format_system_text(protocol: ScoringProtocol, category: str) -> str:
    """Return the first text of every prompt of this category. Raises UserError if it has no rubric."""
    return protocol.system.replace("{rubric}", protocol.find_rubric(category))


def format_item_text(protocol: ScoringProtocol, item: Item) -> str:
    """Fill in the item's own lines. Leave out a line if the item lacks its value."""
    values = {"instruction": item.instruction, "description": item.description, "rationale": item.rationale}
    lines = [
        line.replace(f"{{{field}}}", value) for field, line in protocol.item_texts.items() if (value := values[field])
    ]
    return "\n".join(lines)


def fingerprint_category(protocol: ScoringProtocol, category: str) -> str:
    """Return the SHA-256 of all that decides this category's scores: the texts of its prompts and how their answers are
    read.

    Another category's rubric, the name, the version and the description are left out. So a changed rubric judges one
    category again. A changed version, which the journal key also contains, judges all of them again.
    """
    parts = {
        "system": format_system_text(protocol, category),
        "images": [asdict(shown) for shown in protocol.images],
        "item": list(protocol.item_texts.items()),
        "criteria": [_list_criterion_parts(criterion) for criterion in protocol.criteria],
        "answer": asdict(protocol.answer),
        "score_of": _list_combination_parts(protocol.score),
    }
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _list_criterion_parts(criterion: Criterion) -> dict[str, Any]:
    """Leave out what is not set, so that scores of protocols that never set it keep their keys."""
    return {name: value for name, value in asdict(criterion).items() if value is not None}


def _list_combination_parts(combination: Combination) -> Any:
    """Return the combination as in the file. A `min` of criteria is its list alone, as in the keys of older scores."""
    parts = [part if isinstance(part, str) else _list_combination_parts(part) for part in combination.parts]
    plain = combination.how == "min" and all(isinstance(part, str) for part in parts)
    return parts if plain else {combination.how: parts}


def score_readouts(protocol: ScoringProtocol, readouts: Mapping[str, Readout]) -> dict[str, Any]:
    """Return the score columns of one edit from one readout per asked criterion.

    Columns per criterion: `score_` is the expectation of the answers' values (0..10) and `mode_` the likeliest legal
    answer. `entropy_` is that of the distribution over legal answers in nats, from 0 (certain) to the log of their
    number. `mass_` is the share of the full distribution on them. The row's `score` combines its criteria as the
    protocol's `score:` defines. Its `entropy` is their highest and its `mass` their lowest. `reply` lists the modes.

    If the mass of one of these is too low, the state is `judge_unreadable` (error_kind `mass`). All scores are null
    then; modes, entropies and masses stay for diagnosis. An optional criterion with too little mass is null by itself.
    If a number is not finite, the state is `judge_failed` (`nonfinite`).
    """
    answer = protocol.answer
    assert isinstance(answer, ReadoutAnswer), "this protocol generates a reply; use score_replies"
    broken = [name for name, readout in readouts.items() if not is_finite(readout)]
    if broken:
        error = f"the judge's probabilities for {', '.join(broken)} are not finite"
        return _make_unscored_columns(State.JUDGE_FAILED, "nonfinite", error)
    columns: dict[str, Any] = {}
    named = {name: criterion_columns(name) for name in readouts}
    for name, readout in readouts.items():
        columns[named[name].mode] = _find_mode(answer, readout)
        columns[named[name].entropy] = round(compute_entropy(readout), 4)
        columns[named[name].mass] = round(readout.mass, 6)
    decisive = protocol.score.criteria
    columns["entropy"] = max(columns[named[name].entropy] for name in decisive)
    columns["mass"] = min(columns[named[name].mass] for name in decisive)
    silent = {name for name, readout in readouts.items() if answer.is_silent(readout)}
    if silent & set(decisive):
        low = [f"{name} {readouts[name].mass:.3g}" for name in decisive if name in silent]
        error = answer.explain_silence(", ".join(low))
        columns |= dict.fromkeys(named[name].score for name in readouts)
        return columns | _make_unscored_columns(State.JUDGE_UNREADABLE, "mass", error)
    scores = {name: _compute_expectation(answer, readout) for name, readout in readouts.items() if name not in silent}
    reply = ", ".join(f"{name} {columns[named[name].mode]}" for name in readouts)
    return columns | _make_scored_columns(protocol, scores, list(readouts)) | {"reply": reply}


def score_replies(protocol: ScoringProtocol, replies: Mapping[str, str]) -> dict[str, Any]:
    """Return the score columns of one edit from a generated reply per question; `reply` keeps them whole.

    The state is `judge_unreadable` if a reply that the score needs cannot be read. Its error_kind is `no_number`,
    `out_of_range`, `contradiction` for two different answers, or `cut` for a reply that ended before its score was
    whole. All scores are null then. Criteria that the score does not need are null by themselves.
    """
    answer = protocol.answer
    assert isinstance(answer, GeneratedAnswer), "this protocol reads probabilities; use score_readouts"
    answered = protocol.group_questions(list(replies))
    found = {name: read_numbers(answer, reply) for name, reply in replies.items()}
    unread = {name: why for name, why in found.items() if isinstance(why, Unread)}
    decisive = [name for name in unread if set(answered[name]) & set(protocol.score.criteria)]
    if decisive:
        error = "; ".join(_label_reply(answered, name) + unread[name].error for name in decisive)
        columns = _make_unscored_columns(State.JUDGE_UNREADABLE, unread[decisive[0]].kind, error)
    else:
        scores = {
            criterion: round(rescale(number, answer.low, answer.high), 4)
            for name, numbers in found.items()
            if not isinstance(numbers, Unread)
            for criterion, number in zip(answered[name], numbers, strict=True)
        }
        columns = _make_scored_columns(
            protocol, scores, [criterion for name in replies for criterion in answered[name]]
        )
    return columns | {"reply": "\n\n".join(_label_reply(answered, name) + reply for name, reply in replies.items())}


def _label_reply(answered: Mapping[str, Sequence[str]], name: str) -> str:
    """Return a label for one of several replies, or "" if there is only one."""
    return f"{', '.join(answered[name])}: " if len(answered) > 1 else ""


def _make_scored_columns(
    protocol: ScoringProtocol, scores: Mapping[str, float], asked: Sequence[str]
) -> dict[str, Any]:
    """Return the columns of a scored row. A criterion that was asked but not answered is null."""
    return {
        "state": str(State.SCORED),
        "error_kind": None,
        "error": None,
        "score": round(protocol.score.combine(scores), 4),
        **{criterion_columns(name).score: scores.get(name) for name in asked},
    }


def _make_unscored_columns(state: State, kind: str, error: str) -> dict[str, Any]:
    return {"state": str(state), "error_kind": kind, "error": error, "score": None, "reply": None}


def is_finite(readout: Readout) -> bool:
    """Return whether all numbers of a readout are finite."""
    return all(map(math.isfinite, (*readout.probabilities, readout.mass)))


def _find_mode(answer: ReadoutAnswer, readout: Readout) -> str:
    pairs = zip(readout.probabilities, answer.answers, strict=True)
    return max(pairs, key=lambda pair: pair[0])[1]


def compute_entropy(readout: Readout) -> float:
    """Return the entropy over the legal answers, in nats."""
    return max(0.0, -math.fsum(p * math.log(p) for p in readout.probabilities if p > 0))


def _compute_expectation(answer: ReadoutAnswer, readout: Readout) -> float:
    pairs = zip(answer.values, readout.probabilities, strict=True)
    return round(math.fsum(value * probability for value, probability in pairs), 4)
