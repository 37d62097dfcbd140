"""A judge without a model: hashes decide, so every number is reproducible, and it can misbehave on demand."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from editlane.errors import JudgeFailed
from editlane.fakes import KillSwitch, chance, check_kill_switch, check_seconds, duration
from editlane.params import check_choice, check_integer, check_names_list, check_number, read_params
from editlane.types import Question, Readout

BEHAVIOURS = ("sees", "constant", "random", "ignores_images", "ignores_instruction")
"""sees: an unchanged image gets the lowest answer, any other one an answer above it, by a hash of the whole question.
constant: always the middle. random: by a hash of the whole question, unchanged or not. ignores_images: by a hash of
the texts. ignores_instruction: by a hash of the images and the criterion (the last part of a question)."""

MASS = 0.95
UNREADABLE_MASS = 0.001
SILENCE = "I would rather not say."


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeJudgeParams:
    """The settings of the fake judge."""

    batch_size: int = 8
    max_image_side: int = 1024
    """Taken so that a config can swap this judge for a real one; the images are looked at as they are."""
    optional_criteria: Sequence[str] = ()
    seconds: Any = 0.0
    """Time per question, or [least, most]; the item decides where between them."""
    behaviour: str = "sees"
    unreadable_rate: float = 0.0
    """Share of items, 0..1, without a legal answer; the item decides, not the order."""
    failure_rate: float = 0.0
    """Share of items that raise JudgeFailed; their whole batch fails, as with a real model."""
    kill_switch: Any = None
    """A file with a number n: the n-th question from then on kills this process (see fakes.KillSwitch)."""

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 1)
        check_integer("max_image_side", self.max_image_side, 32)
        check_names_list("optional_criteria", self.optional_criteria)
        check_seconds(self.seconds)
        check_choice("behaviour", self.behaviour, BEHAVIOURS)
        check_number("unreadable_rate", self.unreadable_rate, 0, 1)
        check_number("failure_rate", self.failure_rate, 0, 1)
        check_kill_switch(self.kill_switch)


class FakeJudge:
    """Answers questions laid out as scoring.questions does: the criterion is the last part."""

    VERSION = "1"
    NEEDS_MODEL = False
    SPEED_PARAMS = frozenset({"batch_size", "seconds", "kill_switch"})

    def __init__(self, *, model: str | None, revision: str | None, params: Mapping[str, Any]) -> None:
        self.params = read_params(FakeJudgeParams, "the fake judge", params)
        self.kill_switch = KillSwitch(self.params.kill_switch)

    @classmethod
    def check_params(cls, params: Mapping[str, Any]) -> None:
        """Raises UserError for a name or a value that this judge does not take."""
        read_params(FakeJudgeParams, "the fake judge", params)

    @property
    def batch_size(self) -> int:
        """How many questions this judge is asked at once."""
        return self.params.batch_size

    def prepare(self, questions: Sequence[Question]) -> list[Question]:
        """Nothing to do without a model: the questions themselves."""
        return list(questions)

    def read_out(self, batch: Sequence[Question], answers: Sequence[str]) -> list[Readout]:
        """A distribution with its peak at the chosen answer. Raises JudgeFailed for the batch (see failure_rate)."""
        ranks = ranked(answers)
        readouts = []
        for question in batch:
            unreadable, height = self._look(question)
            peak = min(int(height * len(answers)), len(answers) - 1)
            weights = [math.exp(-2.0 * abs(rank - peak)) for rank in ranks]
            probabilities = tuple(weight / sum(weights) for weight in weights)
            readouts.append(Readout(probabilities=probabilities, mass=UNREADABLE_MASS if unreadable else MASS))
        return readouts

    def generate(self, batch: Sequence[Question], max_new_tokens: int) -> list[str]:
        """`Score: X.XXX` on 0..10, or a reply without a number. Raises JudgeFailed like read_out."""
        looks = [self._look(question) for question in batch]
        return [SILENCE if unreadable else f"Score: {10 * height:.3f}" for unreadable, height in looks]

    def _look(self, question: Question) -> tuple[bool, float]:
        """Whether the item is unreadable, and how good its edit looks, 0..1."""
        params = self.params
        item = question.parts[:-1]  # without the criterion: an item fails or stays silent for all its criteria
        self.kill_switch.count()
        seconds = duration(params.seconds, chance("seconds", *item))
        if seconds:
            time.sleep(seconds)
        if chance("failure", *item) < params.failure_rate:
            raise JudgeFailed("the fake judge was told to fail on this item", kind="fake")
        return chance("unreadable", *item) < params.unreadable_rate, height_of(params.behaviour, question)


def height_of(behaviour: str, question: Question) -> float:
    """How good an edit looks to a judge of this behaviour, 0..1."""
    images = [part for part in question.parts if isinstance(part, Image)]
    texts = [part for part in question.parts if isinstance(part, str)]
    if behaviour == "constant":
        return 0.5
    if behaviour == "ignores_images":
        return chance(question.system, *texts)
    if behaviour == "ignores_instruction":
        return chance(*images, texts[-1])
    drawn = chance(question.system, *question.parts)
    if behaviour == "random":
        return drawn
    unchanged = len(images) > 1 and images[0].size == images[-1].size and images[0].tobytes() == images[-1].tobytes()
    return 0.0 if unchanged else 0.3 + 0.7 * drawn


def ranked(answers: Sequence[str]) -> list[int]:
    """How high each answer stands, 0 lowest: digits by value; other answers are written best first."""
    if all(answer.isdigit() for answer in answers):
        ascending = sorted(answers, key=int)
        return [ascending.index(answer) for answer in answers]
    return list(range(len(answers)))[::-1]
