"""A judge without a model: hashes decide, so every number is reproducible, and it can misbehave on demand."""

import math
import time
from collections.abc import Sequence
from statistics import NormalDist
from typing import Annotated, Literal

from PIL.Image import Image
from pydantic import Field

from editlane.core.errors import JudgeFailed
from editlane.core.params import SPEED, JudgeParams
from editlane.core.types import Question, Readout, RunsOn
from editlane.models.fake_signals import Seconds, chance, duration, is_signed, is_signed_for

Behaviour = Literal["sees", "constant", "random", "ignores_images", "ignores_instruction"]
"""sees: as `_seen` says, by a hash of the whole question. ignores_instruction: the same, but takes every edit for what
was asked for, by a hash of the images and the criterion (the first line of a question's last part). constant: always
the middle. random: by a hash of the whole question. ignores_images: by a hash of the texts."""

MASS = 0.95
UNREADABLE_MASS = 0.001
SILENCE = "I would rather not say."

Share = Annotated[float, Field(ge=0, le=1)]


class FakeJudgeParams(JudgeParams):
    """The settings of the fake judge."""

    batch_size: Annotated[int, Field(ge=1), SPEED] = 8
    """Edits that are asked about at once."""
    max_image_side: Annotated[int, Field(ge=32)] = 1024
    """Taken so that a config can swap this judge for a real one; the images are looked at as they are."""
    seconds: Annotated[Seconds, SPEED] = 0.0
    """Time per question, or [least, most]; the item decides where between them."""
    behaviour: Behaviour = "sees"
    """What the judge looks at."""
    unreadable_rate: Share = 0.0
    """Share of items, 0..1, without a legal answer; the item decides, not the order."""
    failure_rate: Share = 0.0
    """Share of items that raise JudgeFailed; their whole batch fails, as with a real model."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """What a temperature is to a real judge: the standard deviation, in units of the scale, of each generated number.
    Read-outs have none."""

    @property
    def samples(self) -> bool:
        """Whether the same question again may get another reply."""
        return self.noise > 0


class FakeJudge:
    """Answers questions laid out as scoring.questions does: the criterion is the last part."""

    VERSION = "2"
    RUNS_ON = RunsOn.NOTHING
    PARAMS = FakeJudgeParams

    def __init__(self, *, model: str | None, revision: str | None, params: FakeJudgeParams) -> None:
        self.params = params

    @property
    def capacity(self) -> int:
        """How many edits this judge is asked about at once."""
        return self.params.batch_size

    def weigh(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Every edit counts 1."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Sequence[Sequence[Question]]:
        """Nothing to do without a model: the questions themselves."""
        return asked

    def read_out(self, batch: Sequence[Sequence[Question]], answers: Sequence[str]) -> list[list[Readout]]:
        """A distribution with its peak at the chosen answer. Raises JudgeFailed for the batch (see failure_rate)."""
        return [[self._read(question, answers) for question in questions] for questions in batch]

    def _read(self, question: Question, answers: Sequence[str]) -> Readout:
        unreadable = self._is_unreadable(question)
        height = height_of(self.params.behaviour, question)
        peak = min(int(height * len(answers)), len(answers) - 1)
        weights = [math.exp(-2.0 * abs(rank - peak)) for rank in ranked(answers)]
        probabilities = tuple(weight / sum(weights) for weight in weights)
        return Readout(probabilities=probabilities, mass=UNREADABLE_MASS if unreadable else MASS)

    def generate(
        self, batch: Sequence[Sequence[Question]], max_new_tokens: int, seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """`Score: X.XXX` on 0..10, or a reply without a number; where the question speaks of a "score" in quotes, two
        numbers as JSON, as VIEScore wants them. Raises JudgeFailed like read_out."""
        return [
            [
                SILENCE if self._is_unreadable(question) else self._reply(question, seed)
                for question, seed in zip(questions, own, strict=True)
            ]
            for questions, own in zip(batch, seeds, strict=True)
        ]

    def _reply(self, question: Question, seed: int) -> str:
        if '"score"' not in str(question.parts[-1]):
            return f"Score: {self._number(question, seed)}"
        first, second = self._number(question, seed), self._number(question, seed, "second")
        return f'{{"score": [{first}, {second}], "reasoning": "a fake"}}'

    def _number(self, question: Question, seed: int, *salt: str) -> str:
        height = height_of(self.params.behaviour, question, *salt)
        if self.params.noise:
            share = max(chance("noise", str(seed), *salt), 2**-50)  # 0 has no quantile
            height += self.params.noise * NormalDist().inv_cdf(share)
        return f"{10 * min(max(height, 0), 1):.3f}"

    def _is_unreadable(self, question: Question) -> bool:
        """Whether the item has no legal answer; takes its time, and raises JudgeFailed for the items that fail."""
        params = self.params
        item = question.parts[:-1]  # without the criterion: an item fails or stays silent for all its criteria
        seconds = duration(params.seconds, chance("seconds", *item))
        if seconds:
            time.sleep(seconds)
        if chance("failure", *item) < params.failure_rate:
            raise JudgeFailed("the fake judge was told to fail on this item", kind="fake")
        return chance("unreadable", *item) < params.unreadable_rate


def height_of(behaviour: str, question: Question, *salt: str) -> float:
    """How good an edit looks to a judge of this behaviour, 0..1; another `salt`, another number."""
    images = [part for part in question.parts if isinstance(part, Image)]
    texts = [part for part in question.parts if isinstance(part, str)]
    if behaviour == "constant":
        return 0.5
    if behaviour == "ignores_images":
        return chance(question.system, *texts, *salt)
    if behaviour == "ignores_instruction":
        return _seen(images, (), chance(*images, texts[-1].split("\n")[0], *salt))
    drawn = chance(question.system, *question.parts, *salt)
    return _seen(images, texts, drawn) if behaviour == "sees" else drawn


def _seen(images: Sequence[Image], texts: Sequence[str], drawn: float) -> float:
    """0 for a blank image and for one that equals the source; 0.3..1 for any other, unless the fake editor signed one
    of the two: 0..0.2 for an edit that is signed for no instruction in the texts, and for one without a signature
    whose source has one.

    An image alone with one text is asked about without its instruction, so its signature says nothing.
    """
    edited = images[-1]
    if _is_blank(edited) or (len(images) > 1 and _is_same(images[0], edited)):
        return 0.0
    if is_signed(edited):
        wrong = len(images) + len(texts) > 2 and not is_signed_for(edited, texts)
    else:
        wrong = is_signed(images[0])
    return 0.2 * drawn if wrong else 0.3 + 0.7 * drawn


def _is_blank(image: Image) -> bool:
    return image.convert("RGB").getcolors(maxcolors=1) is not None


def _is_same(one: Image, other: Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


def ranked(answers: Sequence[str]) -> list[int]:
    """How high each answer stands, 0 lowest: digits by value; other answers are written best first."""
    if all(answer.isdigit() for answer in answers):
        ascending = sorted(answers, key=int)
        return [ascending.index(answer) for answer in answers]
    return list(range(len(answers)))[::-1]
