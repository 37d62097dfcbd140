"""Read answers of several tokens exactly: which next tokens must be known, and what they make of each answer.

A reply counts as the longest legal answer that it begins with. With the answers "1" and "10", a reply that begins with
"10" counts as "10", and one that begins with "1" and anything else as "1". So the probability of an answer is that of
its tokens, a product along its path, less that of the longer answers that go on from it. The mass is the probability
that a reply begins with a legal answer. If all answers are single tokens, this is the softmax over them.

Nothing is decoded: the product needs the next-token distribution after each beginning of an answer. After the first
token, only answers of several tokens have one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import UserError
from editlane.core.types import Readout

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnswerTokens:
    """The tokens of each legal answer, as they follow a prompt."""

    sequences: tuple[Tokens, ...]

    @property
    def beginnings(self) -> dict[Tokens, tuple[int, ...]]:
        """Beginnings of answers, the empty one first, with the tokens that go on from there."""
        found: dict[Tokens, set[int]] = {}
        for sequence in self.sequences:
            for end in range(len(sequence)):
                found.setdefault(sequence[:end], set()).add(sequence[end])
        return {
            beginning: tuple(sorted(found[beginning])) for beginning in sorted(found, key=lambda one: (len(one), one))
        }

    @property
    def paths(self) -> list[Tokens]:
        """Beginnings that no other continues. A prompt with one of them shows the distributions all along it."""
        beginnings = list(self.beginnings)
        return [
            one
            for one in beginnings
            if not any(len(other) > len(one) and other[: len(one)] == one for other in beginnings)
        ]

    def read(self, logprobs: Mapping[Tokens, Mapping[int, float]]) -> Readout:
        """Return the distribution over the answers, in their order.

        `logprobs`: for each beginning the natural log-probability of each next token in the full distribution. Values
        that are not finite give probabilities that are not finite.
        """
        logs = [
            math.fsum(logprobs[sequence[:end]][sequence[end]] for end in range(len(sequence)))
            for sequence in self.sequences
        ]
        if any(math.isnan(one) or one == math.inf for one in logs):
            return Readout(probabilities=(math.nan,) * len(logs), mass=math.nan)
        top = max(logs)
        if top == -math.inf:
            return Readout(probabilities=(1 / len(logs),) * len(logs), mass=0.0)
        weights = [math.exp(one - top) for one in logs]
        own = [max(0.0, weight - self._continuing(place, weights)) for place, weight in enumerate(weights)]
        whole = math.fsum(own)
        mass = math.fsum(math.exp(one) for place, one in enumerate(logs) if self._is_outermost(place))
        return Readout(probabilities=tuple(one / whole for one in own), mass=min(mass, 1.0))

    def _continuing(self, place: int, weights: Sequence[float]) -> float:
        """Sum the weights of the answers that go on from this one, without those that go on from these."""
        longer = [other for other in range(len(weights)) if self._goes_on(other, place)]
        nearest = [one for one in longer if not any(self._goes_on(one, other) for other in longer)]
        return math.fsum(weights[one] for one in nearest)

    def _goes_on(self, other: int, place: int) -> bool:
        """Return whether the answer `other` is a longer one that begins with the answer at `place`."""
        begun, whole = self.sequences[place], self.sequences[other]
        return len(whole) > len(begun) and whole[: len(begun)] == begun

    def _is_outermost(self, place: int) -> bool:
        return not any(self._goes_on(place, other) for other in range(len(self.sequences)))


def find_answer_tokens(tokenizer: Any, prompt: str, answers: Sequence[str], model: str) -> AnswerTokens:
    """Return the tokens with which each answer follows `prompt`, the end of a rendered chat.

    They are those of prompt and answer without those of the prompt, because many tokenizers write a word at the
    beginning of a text in another way. Raises UserError if an answer has no tokens of its own, or if two are the same.
    """
    before = _encode(tokenizer, prompt)
    sequences = [_encode_after(tokenizer, prompt, before, answer, model) for answer in answers]
    if len(set(sequences)) < len(sequences):
        raise UserError(
            f"Two answers of the protocol are the same tokens for the tokenizer of {model}: it cannot tell "
            f"{', '.join(map(repr, answers))} apart. Use other answers, such as single digits."
        )
    return AnswerTokens(tuple(sequences))


def _encode_after(tokenizer: Any, prompt: str, before: Tokens, answer: str, model: str) -> Tokens:
    whole = _encode(tokenizer, prompt + answer)
    if whole[: len(before)] == before and len(whole) > len(before):
        return whole[len(before) :]
    raise UserError(
        f"The answer {answer!r} of the protocol has no tokens of its own after the chat template of {model}: its "
        "tokenizer joins it to the end of the prompt. Use other answers, or a protocol with generated answers."
    )


def _encode(tokenizer: Any, text: str) -> Tokens:
    return tuple(tokenizer.encode(text, add_special_tokens=False))
