"""The nouns of a scoring protocol: what a judge is asked and how its answer is read. Files of it: protocols.py."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from editlane.core.errors import UnknownName, UserError
from editlane.core.types import SCALE

COMBINATIONS = ("min", "geometric_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """One image of a prompt."""

    show: str
    """`source` or `edited`."""
    label: str
    """Empty where the image stands without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One score of an edit. An optional one is asked for only where the judge's params name it."""

    name: str
    question: str
    """Holds {instruction} where the instruction goes; empty where `reply_of` is set."""
    optional: bool
    images: tuple[ShownImage, ...] | None = None
    """Shown with this question; None: the protocol's."""
    reply_of: str | None = None
    """The criterion whose reply holds this one's number as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One score out of several: those of criteria or of further combinations."""

    how: str
    """One of COMBINATIONS."""
    parts: "tuple[str | Combination, ...]"

    @property
    def criteria(self) -> tuple[str, ...]:
        """The criteria that it needs, each once, in their order."""
        names = [name for part in self.parts for name in ((part,) if isinstance(part, str) else part.criteria)]
        return tuple(dict.fromkeys(names))

    def of(self, scores: Mapping[str, float]) -> float:
        """The combined score from that of each criterion, 0..10."""
        values = [scores[part] if isinstance(part, str) else part.of(scores) for part in self.parts]
        return min(values) if self.how == "min" else math.prod(values) ** (1 / len(values))


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
    """The answer is a reply; the groups of `pattern` find its numbers, one for each criterion that it answers."""

    max_new_tokens: int
    pattern: str
    low: float
    high: float
    """The range of a number in the reply; it is brought to 0..10."""


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
    score: Combination
    """How the item's score comes from those of its criteria."""
    sha256: str
    """Of the file."""
    text: str
    """Of the file, as it was read."""

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
        leading = {one.name: one.reply_of or one.name for one in self.criteria}
        for name in optional_criteria:
            if name not in leading:
                raise UnknownName(f"criterion of the protocol {self.name!r}", name, leading)
        wanted = {leading[name] for name in optional_criteria}
        return tuple(one.name for one in self.criteria if not one.optional or leading[one.name] in wanted)

    def questions_for(self, criteria: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The questions to put for these criteria, by the criterion that has the question: which ones it answers.

        These are in the order of the numbers of its reply; the first is the one that has the question.
        """
        followers = [one for one in self.criteria if one.reply_of]
        return {
            one.name: (one.name, *(other.name for other in followers if other.reply_of == one.name))
            for one in self.criteria
            if not one.reply_of and one.name in criteria
        }


def rescaled(value: float, low: float, high: float) -> float:
    """`value` of low..high on the scale of all scores, 0..10."""
    return SCALE[0] + (value - low) / (high - low) * (SCALE[1] - SCALE[0])
