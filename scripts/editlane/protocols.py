"""Scoring protocols: what a judge is asked and how its answer is read. A protocol is a YAML file, data and no code.

name: yesno
version: "1"                       # part of every score's key: a new version judges everything again
description: who it is for
system: text with {rubric}         # first in every prompt, equal for all items of a category
rubrics: {物理: text, ...}          # fills {rubric}; left out where `system` has none
images:                            # which images are shown, in this order, each after its label
  - {show: source, label: "Source image:"}
  - {show: edited, label: "Edited image:"}
item:                              # the item's own texts; a line is left out where the item has no such value
  instruction: "Instruction: {instruction}"
criteria:                          # one question each; a question is the last thing in its prompt
  correct: {question: text}
  other: {question: text, optional: true}
answer:                            # either one token, read from its probability ...
  {kind: readout, answers: ["Yes", "No"], values: [1, 0], min_mass: 0.5}
  # ... or a reply: {kind: generate, max_new_tokens: 64, pattern: regular expression, range: [0, 10]}
score: {min: [correct]}            # the criteria whose lowest score is the item's score
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from editlane.errors import UnknownName, UserError
from editlane.params import check_choice, check_integer, check_number
from editlane.types import SCALE

SHOWN = ("source", "edited")
ITEM_TEXTS = ("instruction", "description", "rationale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One question about an edit. An optional one is asked only where the judge's params name it."""

    name: str
    question: str
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """One image of a prompt."""

    show: str
    """`source` or `edited`."""
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutAnswer:
    """The answer is one token; the score is the expectation of `values` over the probabilities of `answers`."""

    answers: tuple[str, ...]
    values: tuple[float, ...]
    """One per answer, on 0..10: the file's values, shifted and stretched so that the lowest is 0 and the highest 10."""
    min_mass: float
    """With less than this share of the probability on legal answers the judge said something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedAnswer:
    """The answer is a number in a reply, found by the one group of `pattern`."""

    max_new_tokens: int
    pattern: str
    low: float
    high: float
    """The range of the number in the reply; it is brought to 0..10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringProtocol:
    """A checked protocol."""

    name: str
    version: str
    description: str
    system: str
    rubrics: Mapping[str, str]
    """Category -> text; empty where the protocol asks the same of every category."""
    images: tuple[ShownImage, ...]
    item_texts: Mapping[str, str]
    """Field of the item -> its line, with {field} where the value goes; in the order of the prompt."""
    criteria: tuple[Criterion, ...]
    answer: ReadoutAnswer | GeneratedAnswer
    score_of: tuple[str, ...]
    """The item's score is the lowest score of these criteria."""
    sha256: str
    """Of the file."""

    @property
    def answers(self) -> tuple[str, ...]:
        """The legal one-token answers; empty where the judge generates a reply."""
        return self.answer.answers if isinstance(self.answer, ReadoutAnswer) else ()

    @property
    def max_new_tokens(self) -> int:
        """The longest reply; 1 where the answer is one token."""
        return 1 if isinstance(self.answer, ReadoutAnswer) else self.answer.max_new_tokens

    def check_categories(self, categories: Collection[str]) -> None:
        """Raises UserError where a category of the run has no rubric."""
        missing = [category for category in categories if self.rubrics and category not in self.rubrics]
        if missing:
            raise UserError(
                f"The protocol {self.name!r} has no rubric for {', '.join(missing)}; it has {', '.join(self.rubrics)}. "
                "Add one under `rubrics:` or leave the category out of `dataset: categories:`."
            )

    def asked(self, optional_criteria: Sequence[str] = ()) -> tuple[str, ...]:
        """The criteria to ask, in the protocol's order: all that are not optional, and those named here.

        Raises UnknownName for a criterion that the protocol does not have.
        """
        for name in optional_criteria:
            check_choice(f"criterion of the protocol {self.name!r}", name, [one.name for one in self.criteria])
        return tuple(one.name for one in self.criteria if not one.optional or one.name in optional_criteria)


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
        return _protocol(data, hashlib.sha256(content).hexdigest())
    except UserError as error:
        raise UserError(f"The protocol file {path}: {error}") from error


def _protocol(data: Any, sha256: str) -> ScoringProtocol:
    required = ("name", "version", "description", "system", "images", "item", "criteria", "answer", "score")
    data = _mapping("the file", data, required, optional=("rubrics",))
    system = _text("system", data["system"])
    rubrics = _rubrics(system, data.get("rubrics"))
    criteria = tuple(_criterion(name, one) for name, one in _mapping("criteria", data["criteria"]).items())
    answer = _answer(data["answer"])
    if isinstance(answer, GeneratedAnswer) and len(criteria) != 1:
        raise UserError(f"criteria: a protocol that generates its answer asks one question, not {len(criteria)}.")
    return ScoringProtocol(
        name=_text("name", data["name"]),
        version=_text("version", data["version"]),
        description=_text("description", data["description"]),
        system=system,
        rubrics=rubrics,
        images=_images(data["images"]),
        item_texts=_item_texts(data["item"]),
        criteria=criteria,
        answer=answer,
        score_of=_score_of(data["score"], criteria),
        sha256=sha256,
    )


def _rubrics(system: str, data: Any) -> dict[str, str]:
    entries = {} if data is None else _mapping("rubrics", data)
    if ("{rubric}" in system) != bool(entries):
        raise UserError("`rubrics:` and the place for them, {rubric} in `system:`, need each other. Add or remove one.")
    return {unicodedata.normalize("NFC", name): _text(f"rubrics: {name}", text) for name, text in entries.items()}


def _images(data: Any) -> tuple[ShownImage, ...]:
    if not isinstance(data, list) or not data:
        raise UserError('images is empty or no list; use a list of {show: source or edited, label: "Text:"}.')
    shown = []
    for entry in data:
        entry = _mapping("images", entry, ("show", "label"))
        check_choice("image to show", entry["show"], SHOWN)
        shown.append(ShownImage(show=entry["show"], label=_text("images: label", entry["label"])))
    return tuple(shown)


def _item_texts(data: Any) -> dict[str, str]:
    lines = _mapping("item", data, optional=ITEM_TEXTS)
    for field, line in lines.items():
        if f"{{{field}}}" not in _text(f"item: {field}", line):
            raise UserError(f"item: {field}: has no {{{field}}}, the place of the value. Add it.")
    return {field: line.strip() for field, line in lines.items()}


def _criterion(name: Any, data: Any) -> Criterion:
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"criteria: {name!r} becomes part of a column's name; use small letters, digits and _.")
    data = _mapping(f"criteria: {name}", data, ("question",), optional=("optional",))
    optional = data.get("optional", False)
    if not isinstance(optional, bool):
        raise UserError(f"criteria: {name}: optional is {optional!r}; use true or false.")
    return Criterion(name=name, question=_text(f"criteria: {name}: question", data["question"]), optional=optional)


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
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UserError(f"answer: pattern is no regular expression: {error}.") from error
    if groups != 1:
        raise UserError(
            f"answer: pattern has {groups} groups; use one, (...), around the number, and (?:...) elsewhere."
        )
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


def _score_of(data: Any, criteria: Sequence[Criterion]) -> tuple[str, ...]:
    names = _mapping("score", data, ("min",))["min"]
    if not isinstance(names, list) or not names:
        raise UserError(f"score: min is {names!r}; use a list of criteria.")
    for name in names:
        check_choice("criterion under score:", name, [one.name for one in criteria])
    optional = [one.name for one in criteria if one.optional and one.name in names]
    if optional:
        raise UserError(
            f"score: {', '.join(optional)} is optional, so it may be unasked. Take it out of one of the two."
        )
    return tuple(names)


def rescaled(value: float, low: float, high: float) -> float:
    """`value` of low..high on the scale of all scores, 0..10."""
    return SCALE[0] + (value - low) / (high - low) * (SCALE[1] - SCALE[0])


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
