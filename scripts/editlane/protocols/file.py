"""Define the keys of a protocol file, a YAML file with the questions to a judge. It contains data and no code.

name: yesno
version: "1"                       # part of every score's key: a new version judges everything again
description: who it is for
system: text with {rubric}         # first in every prompt, equal for all items of a category; may be left out
rubrics: {物理: text, ...}          # fills {rubric}; left out if `system` has none
general_rubric: text               # for the categories that `rubrics` does not name; may be left out
images:                            # the images to show, in this order, each after its label if it has one
  - {show: source, label: "Source image:"}
  - {show: edited, label: "Edited image:"}
item:                              # the item's own texts; a line is left out if the item has no such value
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
  # ... or the number of a reward head: {kind: scalar, map: sigmoid, center: 0, width: 1}
score: {min: [correct]}            # the item's score from those of its criteria: `min` or `geometric_mean` of a list,
                                   # whose entries may be combinations, too, such as {min: [natural, artefacts]}
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from editlane.core.strict_model import LEFT_OUT, StrictModel


def _stripped(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty; use a text.")
    return text.strip()


Text = Annotated[str, AfterValidator(_stripped)]


class ShownFile(StrictModel):
    """Image of a prompt, as `{show: source, label: "Text:"}`."""

    show: Literal["source", "edited"]
    label: Text = ""


Images = Annotated[list[ShownFile], Field(min_length=1)]


class ItemFile(StrictModel):
    """Item's own texts, each with a placeholder for its value."""

    instruction: Text = ""
    description: Text = ""
    rationale: Text = ""

    @model_validator(mode="after")
    def _check_places(self) -> "ItemFile":
        if not self.model_fields_set:
            raise ValueError("it is empty; add a line, or leave `item` out.")
        for field in self.model_fields_set:
            if f"{{{field}}}" not in getattr(self, field):
                raise ValueError(f"{field} has no {{{field}}}, the placeholder of its value. Add it.")
        return self


class QuestionFile(StrictModel):
    """Criterion with a question."""

    question: Text
    optional: bool = False
    images: Images = Field(default_factory=list)


class ReplyFile(StrictModel):
    """Criterion whose number is part of another criterion's reply."""

    reply_of: str


def _check_column(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"{name!r} becomes part of a column's name; use small letters, digits and _.")
    return name


def _criterion_kind(value: Any) -> str:
    return (
        "ReplyFile"
        if isinstance(value, ReplyFile) or (isinstance(value, dict) and "reply_of" in value)
        else "QuestionFile"
    )


CriterionFile = Annotated[
    Annotated[QuestionFile, Tag("QuestionFile")] | Annotated[ReplyFile, Tag("ReplyFile")],
    Discriminator(_criterion_kind),
]


class ReadoutFile(StrictModel):
    """One token, read from its probability."""

    kind: Literal["readout"]
    answers: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=2)]
    """Texts in quotes, as ["0", "1"] or ["Yes", "No"]."""
    values: list[float]
    """One for each answer."""
    min_mass: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _check_values(self) -> "ReadoutFile":
        answers, values = self.answers, self.values
        if len(set(answers)) < len(answers):
            raise ValueError(f"answers is {answers}; use texts that are all different.")
        if len(values) != len(answers):
            raise ValueError(f"values is {values}; use a list of {len(answers)} numbers, one per answer.")
        if not 0 < max(values) - min(values) < float("inf"):
            raise ValueError(f"values is {values}; the lowest and the highest must differ.")
        return self


class GeneratedFile(StrictModel):
    """Reply with numbers."""

    kind: Literal["generate"]
    max_new_tokens: Annotated[int, Field(ge=1)]
    pattern: Text
    range: Annotated[list[float], Field(min_length=2, max_length=2)]
    """[lowest, highest]."""

    @model_validator(mode="after")
    def _check_pattern_and_range(self) -> "GeneratedFile":
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern is not a regular expression: {error}.") from error
        if not 0 < self.range[1] - self.range[0] < float("inf"):
            raise ValueError(f"range is {self.range}; use [lowest, highest].")
        return self


class ScalarFile(StrictModel):
    """Number of a reward head, and how it is mapped to 0..10."""

    kind: Literal["scalar"]
    map: Literal["sigmoid", "linear"]
    """`sigmoid`: 10 / (1 + exp(-(number - center) / width)). `linear`: from `low` (0) to `high` (10), cut off there."""
    center: float = 0.0
    width: Annotated[float, Field(gt=0)] = 1.0
    low: float = LEFT_OUT
    high: float = LEFT_OUT

    @model_validator(mode="after")
    def _check_range(self) -> "ScalarFile":
        given = self.model_fields_set & {"center", "width", "low", "high"}
        if self.map == "sigmoid" and given & {"low", "high"}:
            raise ValueError("low and high belong to `map: linear`; use center and width.")
        if self.map == "linear" and given != {"low", "high"}:
            raise ValueError("`map: linear` needs low and high, and nothing else.")
        if self.map == "linear" and not 0 < self.high - self.low < float("inf"):
            raise ValueError(f"low is {self.low} and high is {self.high}; low must be below high.")
        return self


def _part_kind(value: Any) -> str:
    return "CombinationFile" if isinstance(value, dict | CombinationFile) else "str"


class CombinationFile(StrictModel):
    """One score from several, as `{min: [a, b]}`."""

    min: "Parts" = Field(default_factory=list)
    geometric_mean: "Parts" = Field(default_factory=list)

    @model_validator(mode="after")
    def _check_one(self) -> "CombinationFile":
        if len(self.model_fields_set) != 1:
            raise ValueError("use one of min and geometric_mean, or put one into the list of the other.")
        return self

    @property
    def how(self) -> Literal["min", "geometric_mean"]:
        """Kind of combination in the file."""
        return "min" if self.min else "geometric_mean"

    @property
    def parts(self) -> "list[str | CombinationFile]":
        """Criteria and further combinations that are combined."""
        return self.min or self.geometric_mean


Part = Annotated[
    Annotated[str, Tag("str")] | Annotated[CombinationFile, Tag("CombinationFile")], Discriminator(_part_kind)
]
Parts = Annotated[list[Part], Field(min_length=1)]


class ProtocolFile(StrictModel):
    """Keys of a protocol file."""

    name: Text
    version: Text
    description: Text
    system: Text = ""
    rubrics: dict[str, Text] = Field(default_factory=dict)
    general_rubric: Text = LEFT_OUT
    images: Images
    item: ItemFile = LEFT_OUT
    criteria: Annotated[dict[Annotated[str, AfterValidator(_check_column)], CriterionFile], Field(min_length=1)]
    answer: Annotated[ReadoutFile | GeneratedFile | ScalarFile, Field(discriminator="kind")]
    score: CombinationFile

    @model_validator(mode="after")
    def _check_rubrics(self) -> "ProtocolFile":
        check_rubrics(self.system, self.rubrics, self.general_rubric)
        return self


def check_rubrics(system: str, rubrics: dict[str, str], general_rubric: str | None) -> None:
    """Raise ValueError unless the rubrics have a place in the system text."""
    if ("{rubric}" in system) != bool(rubrics):
        raise ValueError("`rubrics:` needs {rubric} in `system:`, and {rubric} needs `rubrics:`. Add or remove one.")
    if general_rubric and not rubrics:
        raise ValueError("`general_rubric:` needs `rubrics:`. For a text that all categories share, use `system:`.")
