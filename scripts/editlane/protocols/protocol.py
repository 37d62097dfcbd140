"""Define the data classes of a scoring protocol: the questions to a judge, and how its answers are read. load.py reads
them from files."""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from editlane.core.errors import UnknownName, UserError
from editlane.core.types import SCALE, Readout

COMBINATIONS = ("min", "geometric_mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """One image of a prompt."""

    show: str
    """`source` or `edited`; in a comparison `source`, `edit_a` or `edit_b`."""
    label: str
    """Text before the image; may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One score of an edit. An optional one is asked only if the judge's params name it."""

    name: str
    question: str
    """{instruction} marks the place of the instruction. Empty if `reply_of` is set."""
    optional: bool
    images: tuple[ShownImage, ...] | None = None
    """Images of this question; None means those of the protocol."""
    reply_of: str | None = None
    """Criterion whose reply also contains this one's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """One score out of several criteria or further combinations."""

    how: str
    """One of COMBINATIONS."""
    parts: "tuple[str | Combination, ...]"

    @property
    def criteria(self) -> tuple[str, ...]:
        """Criteria that it needs, each once, in order."""
        names = [name for part in self.parts for name in ((part,) if isinstance(part, str) else part.criteria)]
        return tuple(dict.fromkeys(names))

    def combine(self, scores: Mapping[str, float]) -> float:
        """Combine the scores of the criteria, 0..10."""
        values = [scores[part] if isinstance(part, str) else part.combine(scores) for part in self.parts]
        return min(values) if self.how == "min" else math.prod(values) ** (1 / len(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutAnswer:
    """The answer is one token; the score is the expectation of `values` over the probabilities of `answers`."""

    answers: tuple[str, ...]
    values: tuple[float, ...]
    """One per answer, on 0..10: the file's values, scaled so that the lowest is 0 and the highest 10."""
    min_mass: float
    """Minimum probability of all legal answers together. Below it, and at 0, the answer is unreadable."""

    def is_silent(self, readout: Readout) -> bool:
        """Return whether the legal answers have less probability than `min_mass`, or none."""
        return readout.mass < self.min_mass or readout.mass <= 0

    def explain_silence(self, found: str) -> str:
        """Return the error of an answer that is silent. `found`: its probability."""
        asked = f"{self.min_mass:g}" if self.min_mass else "more than 0"
        return f"too little probability on legal answers: {found}; the protocol asks for {asked}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedAnswer:
    """The answer is a reply. The groups of `pattern` find its numbers, one per criterion that it answers."""

    max_new_tokens: int
    pattern: str
    low: float
    high: float
    """Range of a number in the reply; it is scaled to 0..10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarAnswer:
    """The answer is the number of a reward head, of any size. `map` says how it becomes 0..10."""

    map: str
    """`sigmoid` or `linear`."""
    origin: float
    """Of a sigmoid the number that becomes 5; of a line the one that becomes 0."""
    width: float
    """Of a sigmoid the distance over which 5 becomes 7.31; of a line the one from 0 to 10."""

    def scale(self, number: float) -> float:
        """Return the number on 0..10."""
        steps = (number - self.origin) / self.width
        share = min(1.0, max(0.0, steps)) if self.map == "linear" else (1 + math.tanh(steps / 2)) / 2
        return SCALE[0] + share * (SCALE[1] - SCALE[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringProtocol:
    """Checked protocol."""

    name: str
    version: str
    description: str
    system: str
    rubrics: Mapping[str, str]
    """Category -> text; empty if all categories get the same questions."""
    general_rubric: str = ""
    """Text for categories without a rubric of their own; empty if they are refused."""
    images: tuple[ShownImage, ...]
    item_texts: Mapping[str, str]
    """Field of the item -> its line, with {field} in place of the value; in the order of the prompt."""
    criteria: tuple[Criterion, ...]
    answer: ReadoutAnswer | GeneratedAnswer | ScalarAnswer
    score: Combination
    """Combination of criteria that is the item's score."""
    sha256: str
    """SHA-256 of the file."""
    text: str
    """Content of the file."""
    replies: int = 1
    """Generated replies to each question, whose scores are averaged. The judge's params say it, not the file."""

    def with_replies(self, replies: int) -> "ScoringProtocol":
        """Return the protocol with so many replies to each question, if its answers are generated."""
        return replace(self, replies=replies) if isinstance(self.answer, GeneratedAnswer) else self

    @property
    def answers(self) -> tuple[str, ...]:
        """Legal answers of a read-out; empty if the judge generates a reply or gives a number."""
        return self.answer.answers if isinstance(self.answer, ReadoutAnswer) else ()

    @property
    def max_new_tokens(self) -> int:
        """Longest reply in tokens; 1 if there is none."""
        return self.answer.max_new_tokens if isinstance(self.answer, GeneratedAnswer) else 1

    def find_rubric(self, category: str) -> str:
        """Return the rubric of a category, or else the general one; "" if all categories get the same questions.

        Raises UserError if there is none, because a judge that gets an empty rubric still answers.
        """
        rubric = self.rubrics.get(unicodedata.normalize("NFC", category), self.general_rubric)
        if self.rubrics and not rubric:
            raise UserError(
                f"The protocol {self.name!r} has no rubric for the category {category}, and no `general_rubric:`; it "
                f"has {', '.join(self.rubrics)}. Add one."
            )
        return rubric

    def check_categories(self, categories: Iterable[str]) -> None:
        """Raise UserError if a category of the run has no rubric."""
        if missing := self.list_without_rubric(categories):
            raise UserError(
                f"The protocol {self.name!r} has no rubric for {', '.join(missing)}; it has {', '.join(self.rubrics)}. "
                "Add one under `rubrics:`, or a `general_rubric:` for all others, or leave the category out of "
                "`dataset: categories:`."
            )

    def list_without_rubric(self, categories: Iterable[str]) -> list[str]:
        """List the categories that this protocol cannot judge."""
        return [] if self.general_rubric else self.list_generally_judged(categories)

    def list_generally_judged(self, categories: Iterable[str]) -> list[str]:
        """List the categories without a rubric of their own, which the general one judges."""
        return [name for name in categories if self.rubrics and unicodedata.normalize("NFC", name) not in self.rubrics]

    def select_criteria(self, optional_criteria: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the criteria to ask, in the protocol's order: all that are not optional, and those given.

        Raises UnknownName for a criterion that the protocol does not have.
        """
        leading = {one.name: one.reply_of or one.name for one in self.criteria}
        for name in optional_criteria:
            if name not in leading:
                raise UnknownName(f"criterion of the protocol {self.name!r}", name, leading)
        wanted = {leading[name] for name in optional_criteria}
        return tuple(one.name for one in self.criteria if not one.optional or leading[one.name] in wanted)

    def group_questions(self, criteria: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return the questions that cover these criteria: name of the question's criterion -> all criteria that its
        reply answers.

        The names are in the order of the numbers in the reply. The first is the question's own.
        """
        followers = [one for one in self.criteria if one.reply_of]
        return {
            one.name: (one.name, *(other.name for other in followers if other.reply_of == one.name))
            for one in self.criteria
            if not one.reply_of and one.name in criteria
        }


def rescale(value: float, low: float, high: float) -> float:
    """Rescale `value` from low..high to the scale of all scores, 0..10."""
    return SCALE[0] + (value - low) / (high - low) * (SCALE[1] - SCALE[0])
