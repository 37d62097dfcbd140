"""Judge by hashes, or by given pictures, instead of a model: for tests, dry runs and the worked example.

Every number is reproducible. The judge can fail and give unreadable answers on demand.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Literal

from PIL.Image import Image
from pydantic import Field

from editlane.core.errors import JudgeFailed
from editlane.core.params import SPEED, JudgeParams, KeyedBy
from editlane.core.types import Question, Readout, RunsOn
from editlane.judges.fake_comparison import fingerprint_references, rate_by_reference
from editlane.judges.fake_pairs import choose_by_rating, choose_by_share, is_comparison, weigh
from editlane.models.fake_signals import Seconds, hash_to_share, is_signed, is_signed_for, pick_duration

Behaviour = Literal["sees", "constant", "random", "ignores_images", "ignores_instruction"]
"""sees: as in `_rate_seen_edit`, by a hash of the whole question. ignores_instruction: the same, but every edit counts
as the right one. It hashes the images and the criterion, which is the first line of a question's last part. constant:
always the middle. random: by a hash of the whole question. ignores_images: by a hash of the texts.

Of two edits, each is rated as if it were asked about alone. random and ignores_images choose an answer by their hash,
so that the latter names the same place in both orders."""

MASS = 0.95
UNREADABLE_MASS = 0.001
SILENCE = "I would rather not say."

Share = Annotated[float, Field(ge=0, le=1)]


class FakeJudgeParams(JudgeParams):
    """Settings of the fake judge."""

    batch_size: Annotated[int, Field(ge=1), SPEED] = 8
    """Edits that are judged at once."""
    max_image_side: Annotated[int, Field(ge=32)] = 1024
    """Accepted so that a config can swap this judge for a real one; images are used as they are."""
    seconds: Annotated[Seconds, SPEED] = 0.0
    """Time per question, or [least, most]; the item decides where between them."""
    batch_seconds: Annotated[float, Field(ge=0), SPEED] = 0.0
    """Time per batch, whatever its size, as a device takes for the first of its items."""
    load_seconds: Annotated[float, Field(ge=0), SPEED] = 0.0
    """Time to load, as a model takes."""
    behaviour: Behaviour = "sees"
    """Parts of a question that decide the score."""
    references: Annotated[Annotated[str, Field(min_length=1)] | None, KeyedBy(fingerprint_references)] = None
    """Folder of pictures of what the instructions ask for, of a worked example. An edit is then rated by how near it
    comes to its picture, and `behaviour` does not count."""
    unreadable_rate: Share = 0.0
    """Share of items, 0..1, without a legal answer; the item decides, not the order."""
    failure_rate: Share = 0.0
    """Share of items that raise JudgeFailed; their whole batch fails, as with a real model."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of each generated number, in units of the scale; it stands in for a real judge's temperature.
    Read-outs have none."""

    @property
    def samples(self) -> bool:
        """True if the same question may get another reply."""
        return self.noise > 0


class FakeJudge:
    """Answers questions laid out by scoring.build_questions: the criterion is the last part."""

    VERSION = "2"
    RUNS_ON = RunsOn.NOTHING
    PARAMS = FakeJudgeParams

    def __init__(self, *, model: str | None, revision: str | None, params: FakeJudgeParams) -> None:
        self.params = params
        if params.load_seconds:
            time.sleep(params.load_seconds)

    @property
    def max_batch_cost(self) -> int:
        """Edits that are judged at once."""
        return self.params.batch_size

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1 for every edit."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Sequence[Sequence[Question]]:
        """Return the questions unchanged."""
        return asked

    def read_out(self, batch: Sequence[Sequence[Question]], answers: Sequence[str]) -> list[list[Readout]]:
        """Return a distribution with its peak at the chosen answer. Raises JudgeFailed for the batch (see
        failure_rate)."""
        self._wait_for_batch()
        return [[self._read(question, answers) for question in questions] for questions in batch]

    def _read(self, question: Question, answers: Sequence[str]) -> Readout:
        unreadable = self._is_unreadable(question)
        if is_comparison(question):
            return Readout(probabilities=weigh(self._choose(question)), mass=UNREADABLE_MASS if unreadable else MASS)
        height = self._rate(question)
        peak = min(int(height * len(answers)), len(answers) - 1)
        weights = [math.exp(-2.0 * abs(rank - peak)) for rank in rank_answers(answers)]
        probabilities = tuple(weight / sum(weights) for weight in weights)
        return Readout(probabilities=probabilities, mass=UNREADABLE_MASS if unreadable else MASS)

    def generate(
        self, batch: Sequence[Sequence[Question]], max_new_tokens: int, seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """Return `Score: X.XXX` on 0..10, or a reply without a number. Raises JudgeFailed like read_out.

        If the question contains "score" in quotes, return two numbers as JSON, as VIEScore expects.
        """
        self._wait_for_batch()
        return [
            [
                SILENCE if self._is_unreadable(question) else self._reply(question, seed)
                for question, seed in zip(questions, own, strict=True)
            ]
            for questions, own in zip(batch, seeds, strict=True)
        ]

    def _choose(self, question: Question) -> str:
        blind = not self.params.references and self.params.behaviour in ("random", "ignores_images")
        return choose_by_share(self._rate(question)) if blind else choose_by_rating(self._rate, question)

    def _rate(self, question: Question, *salt: str) -> float:
        if self.params.references:
            return rate_by_reference(Path(self.params.references), question)
        return rate_edit(self.params.behaviour, question, *salt)

    def _wait_for_batch(self) -> None:
        if self.params.batch_seconds:
            time.sleep(self.params.batch_seconds)

    def _reply(self, question: Question, seed: int) -> str:
        if '"score"' not in str(question.parts[-1]):
            return f"Score: {self._number(question, seed)}"
        first, second = self._number(question, seed), self._number(question, seed, "second")
        return f'{{"score": [{first}, {second}], "reasoning": "a fake"}}'

    def _number(self, question: Question, seed: int, *salt: str) -> str:
        height = self._rate(question, *salt)
        if self.params.noise:
            share = max(hash_to_share("noise", str(seed), *salt), 2**-50)  # 0 has no quantile
            height += self.params.noise * NormalDist().inv_cdf(share)
        return f"{10 * min(max(height, 0), 1):.3f}"

    def _is_unreadable(self, question: Question) -> bool:
        """Return True if the item gets no legal answer. Wait as configured, and raise JudgeFailed for the items that
        fail."""
        params = self.params
        item = question.parts[:-1]  # without the criterion: an item fails or stays silent for all its criteria
        seconds = pick_duration(params.seconds, hash_to_share("seconds", *item))
        if seconds:
            time.sleep(seconds)
        if hash_to_share("failure", *item) < params.failure_rate:
            raise JudgeFailed("the fake judge was told to fail on this item", kind="fake")
        return hash_to_share("unreadable", *item) < params.unreadable_rate


def rate_edit(behaviour: str, question: Question, *salt: str) -> float:
    """Rate an edit by this behaviour, 0..1. Another `salt` gives another number."""
    images = [part for part in question.parts if isinstance(part, Image)]
    texts = [part for part in question.parts if isinstance(part, str)]
    if behaviour == "constant":
        return 0.5
    if behaviour == "ignores_images":
        return hash_to_share(question.system, *texts, *salt)
    if behaviour == "ignores_instruction":
        return _rate_seen_edit(images, (), hash_to_share(*images, texts[-1].split("\n")[0], *salt))
    drawn = hash_to_share(question.system, *question.parts, *salt)
    return _rate_seen_edit(images, texts, drawn) if behaviour == "sees" else drawn


def _rate_seen_edit(images: Sequence[Image], texts: Sequence[str], drawn: float) -> float:
    """Rate a blank image and one that equals the source 0, a signed edit 0.3..1, and any other edit 0.2..0.3.

    If the fake editor signed one of the two images, some edits get 0..0.2. These are edits signed for no instruction in
    the texts, and unsigned edits of a signed source. An image alone is rated like a signed edit; with one text it is
    asked about without its instruction, so its signature is ignored. A worse copy of a signed edit is not signed.
    """
    edited = images[-1]
    if _is_blank(edited) or (len(images) > 1 and _is_same(images[0], edited)):
        return 0.0
    if len(images) > 1 and not is_signed(edited):
        return 0.2 * drawn if is_signed(images[0]) else 0.2 + 0.1 * drawn
    wrong = is_signed(edited) and len(images) + len(texts) > 2 and not is_signed_for(edited, texts)
    return 0.2 * drawn if wrong else 0.3 + 0.7 * drawn


def _is_blank(image: Image) -> bool:
    return image.convert("RGB").getcolors(maxcolors=1) is not None


def _is_same(one: Image, other: Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


def rank_answers(answers: Sequence[str]) -> list[int]:
    """Rank each answer, 0 lowest. Digits rank by value; other answers are listed best first."""
    if all(answer.isdigit() for answer in answers):
        ascending = sorted(answers, key=int)
        return [ascending.index(answer) for answer in answers]
    return list(range(len(answers)))[::-1]
