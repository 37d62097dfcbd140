"""Scoring protocols: what a judge is asked and how its answer is read. A protocol is a YAML file, data and no code.

name: yesno
version: "1"                       # part of every score's key: a new version judges everything again
description: who it is for
system: text with {rubric}         # first in every prompt, equal for all items of a category; may be left out
rubrics: {物理: text, ...}          # fills {rubric}; left out where `system` has none
images:                            # which images are shown, in this order, each after its label if it has one
  - {show: source, label: "Source image:"}
  - {show: edited, label: "Edited image:"}
item:                              # the item's own texts; a line is left out where the item has no such value
  instruction: "Instruction: {instruction}"   # `item` may be left out: a question may hold {instruction}, too
criteria:                          # a score each; its question is the last thing in a prompt
  correct: {question: text}
  other: {question: text, optional: true}
  natural: {question: text, images: [{show: edited}]}   # shows its own images instead of those above
  artefacts: {reply_of: natural}   # no question of its own: the next number in that reply; `generate` only
answer:                            # either one token, read from its probability ...
  {kind: readout, answers: ["Yes", "No"], values: [1, 0], min_mass: 0.5}
  # ... or a reply: {kind: generate, max_new_tokens: 64, pattern: regular expression, range: [0, 10]}
  # with one group of the pattern for each number of a reply
score: {min: [correct]}            # the item's score from those of its criteria: `min` or `geometric_mean` of a list,
                                   # where an entry may be such a combination again, as {min: [natural, artefacts]}
"""

import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from editlane.core.errors import UnknownName, UserError
from editlane.core.params import check_choice, check_integer, check_number
from editlane.protocols.protocol import (
    COMBINATIONS,
    Combination,
    Criterion,
    GeneratedAnswer,
    ReadoutAnswer,
    ScoringProtocol,
    ShownImage,
    rescaled,
)

SHOWN = ("source", "edited")
ITEM_TEXTS = ("instruction", "description", "rationale")


def load_protocol(path: Path) -> ScoringProtocol:
    """Read and check a protocol file. Raises UserError: which file, which key, what is wrong, what to write."""
    try:
        content = path.read_bytes()
        data = yaml.safe_load(content.decode("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"There is no protocol file {path}. Check `protocol:` of the judge in the config.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The protocol file {path} cannot be read as YAML: {reason}") from error
    try:
        return _protocol(data, content)
    except UserError as error:
        raise UserError(f"The protocol file {path}: {error}") from error


def _protocol(data: Any, content: bytes) -> ScoringProtocol:
    required = ("name", "version", "description", "images", "criteria", "answer", "score")
    data = _mapping("the file", data, required, optional=("system", "rubrics", "item"))
    system = _text("system", data["system"]) if "system" in data else ""
    rubrics = _rubrics(system, data.get("rubrics"))
    criteria = _criteria(data["criteria"])
    answer = _answer(data["answer"])
    _check_replies(criteria, answer)
    return ScoringProtocol(
        name=_text("name", data["name"]),
        version=_text("version", data["version"]),
        description=_text("description", data["description"]),
        system=system,
        rubrics=rubrics,
        images=_images("images", data["images"]),
        item_texts=_item_texts(data["item"]) if "item" in data else {},
        criteria=criteria,
        answer=answer,
        score=_score(data["score"], criteria),
        sha256=hashlib.sha256(content).hexdigest(),
        text=content.decode("utf-8"),
    )


def _rubrics(system: str, data: Any) -> dict[str, str]:
    entries = {} if data is None else _mapping("rubrics", data)
    if ("{rubric}" in system) != bool(entries):
        raise UserError("`rubrics:` and the place for them, {rubric} in `system:`, need each other. Add or remove one.")
    return {unicodedata.normalize("NFC", name): _text(f"rubrics: {name}", text) for name, text in entries.items()}


def _images(where: str, data: Any) -> tuple[ShownImage, ...]:
    if not isinstance(data, list) or not data:
        raise UserError(f'{where} is empty or no list; use a list of {{show: source or edited, label: "Text:"}}.')
    shown = []
    for entry in data:
        entry = _mapping(where, entry, ("show",), optional=("label",))
        check_choice("image to show", entry["show"], SHOWN)
        label = _text(f"{where}: label", entry["label"]) if "label" in entry else ""
        shown.append(ShownImage(show=entry["show"], label=label))
    return tuple(shown)


def _item_texts(data: Any) -> dict[str, str]:
    lines = _mapping("item", data, optional=ITEM_TEXTS)
    for field, line in lines.items():
        if f"{{{field}}}" not in _text(f"item: {field}", line):
            raise UserError(f"item: {field}: has no {{{field}}}, the place of the value. Add it.")
    return {field: line.strip() for field, line in lines.items()}


def _criteria(data: Any) -> tuple[Criterion, ...]:
    found = {name: _criterion(name, one) for name, one in _mapping("criteria", data).items()}
    asking = [name for name, one in found.items() if not one.reply_of]
    for name, one in found.items():
        if one.reply_of:
            check_choice(f"criterion under criteria: {name}: reply_of:", one.reply_of, asking)
            found[name] = replace(one, optional=found[one.reply_of].optional)
    return tuple(found.values())


def _criterion(name: Any, data: Any) -> Criterion:
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"criteria: {name!r} becomes part of a column's name; use small letters, digits and _.")
    where = f"criteria: {name}"
    if isinstance(data, dict) and "reply_of" in data:
        return Criterion(
            name=name, question="", optional=False, reply_of=str(_mapping(where, data, ("reply_of",))["reply_of"])
        )
    data = _mapping(where, data, ("question",), optional=("optional", "images"))
    optional = data.get("optional", False)
    if not isinstance(optional, bool):
        raise UserError(f"{where}: optional is {optional!r}; use true or false.")
    return Criterion(
        name=name,
        question=_text(f"{where}: question", data["question"]),
        optional=optional,
        images=_images(f"{where}: images", data["images"]) if "images" in data else None,
    )


def _check_replies(criteria: Sequence[Criterion], answer: ReadoutAnswer | GeneratedAnswer) -> None:
    """Raises UserError unless one answer, or one pattern, reads what every question is answered with."""
    followers = Counter(one.reply_of for one in criteria if one.reply_of)
    if isinstance(answer, ReadoutAnswer):
        if followers:
            name = next(one.name for one in criteria if one.reply_of)
            raise UserError(f"criteria: {name}: reply_of: one token answers one criterion. Give it a `question:`.")
        return
    groups = re.compile(answer.pattern).groups
    for one in criteria:
        numbers = 1 + followers[one.name]
        if not one.reply_of and groups != numbers:
            found = f"{groups} group{'s' * (groups != 1)}"
            wanted = "one, (...), around the number" if numbers == 1 else f"{numbers}, one (...) around each number"
            raise UserError(
                f"answer: pattern has {found}; use {wanted} of the reply to {one.name}, and (?:...) elsewhere."
            )


def _answer(data: Any) -> ReadoutAnswer | GeneratedAnswer:
    kind = _mapping("answer", data).get("kind")
    check_choice("kind of answer", kind, ("readout", "generate"))
    return _readout(data) if kind == "readout" else _generated(data)


def _readout(data: Any) -> ReadoutAnswer:
    data = _mapping("answer", data, ("kind", "answers", "values", "min_mass"))
    answers, values = data["answers"], data["values"]
    if not isinstance(answers, list) or not all(isinstance(answer, str) and answer for answer in answers):
        raise UserError(
            f'answer: answers is {answers!r}; use a list of texts in quotes, as ["0", "1"] or ["Yes", "No"].'
        )
    if len(answers) < 2 or len(set(answers)) < len(answers):
        raise UserError(f"answer: answers is {answers!r}; use two or more, all different.")
    if not isinstance(values, list) or len(values) != len(answers):
        raise UserError(f"answer: values is {values!r}; use a list of {len(answers)} numbers, one per answer.")
    for value in values:
        check_number("answer: values: one value", value, -math.inf)
    low, high = min(values), max(values)
    if not 0 < high - low < math.inf:
        raise UserError(f"answer: values is {values!r}; the lowest and the highest must differ and be finite.")
    check_number("answer: min_mass", data["min_mass"], 0, 1)
    return ReadoutAnswer(
        answers=tuple(answers),
        values=tuple(rescaled(value, low, high) for value in values),
        min_mass=float(data["min_mass"]),
    )


def _generated(data: Any) -> GeneratedAnswer:
    data = _mapping("answer", data, ("kind", "max_new_tokens", "pattern", "range"))
    check_integer("answer: max_new_tokens", data["max_new_tokens"], 1)
    pattern = _text("answer: pattern", data["pattern"])
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f"answer: pattern is no regular expression: {error}.") from error
    limits = data["range"]
    if not isinstance(limits, list) or len(limits) != 2:
        raise UserError(f"answer: range is {limits!r}; use [lowest, highest].")
    for limit in limits:
        check_number("answer: range: one end", limit, -math.inf)
    if not 0 < limits[1] - limits[0] < math.inf:
        raise UserError(f"answer: range is {limits!r}; use [lowest, highest].")
    return GeneratedAnswer(
        max_new_tokens=data["max_new_tokens"], pattern=pattern, low=float(limits[0]), high=float(limits[1])
    )


def _score(data: Any, criteria: Sequence[Criterion]) -> Combination:
    combination = _combination("score", data, [one.name for one in criteria])
    optional = [one.name for one in criteria if one.optional and one.name in combination.criteria]
    if optional:
        raise UserError(
            f"score: {', '.join(optional)} is optional, so it may be unasked. Take it out of one of the two."
        )
    return combination


def _combination(where: str, data: Any, known: Sequence[str]) -> Combination:
    entries = _mapping(where, data, optional=COMBINATIONS)
    if len(entries) != 1:
        raise UserError(f"{where} has both {' and '.join(entries)}; use one, or put one into the list of the other.")
    ((how, listed),) = entries.items()
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{where}: {how} is {listed!r}; use a list of criteria.")
    parts: list[str | Combination] = []
    for entry in listed:
        if not isinstance(entry, dict):
            check_choice(f"criterion under {where}:", entry, known)
        parts.append(_combination(f"{where}: {how}", entry, known) if isinstance(entry, dict) else entry)
    return Combination(how=how, parts=tuple(parts))


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where} is {value!r}; use a text (a number or yes/no needs quotes).")
    return value.strip()


def _mapping(where: str, value: Any, required: Collection[str] = (), optional: Collection[str] = ()) -> dict[str, Any]:
    """`value` as a mapping with every required key and, where any key is named here, no other key."""
    if not isinstance(value, dict) or not value:
        raise UserError(f"{where} is empty or no mapping of keys to values.")
    known = [*required, *optional]
    for key in value:
        if known and key not in known:
            raise UnknownName(f"key in {where}:", str(key), known)
    missing = [key for key in required if key not in value]
    if missing:
        raise UserError(f"{where} lacks {', '.join(missing)}. Add it.")
    return value
