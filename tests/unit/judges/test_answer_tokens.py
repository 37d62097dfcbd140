"""Answers of several tokens: which next tokens must be known, and each answer's probability, against brute force."""

import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from editlane.core.errors import UserError
from editlane.judges.vlm.answers import AnswerTokens, Tokens, find_answer_tokens

VOCABULARY = 6


def next_logprobs(beginning: Tokens, seed: int) -> dict[int, float]:
    """The whole next-token distribution after a beginning, of a model with VOCABULARY tokens."""
    chance = random.Random(f"{seed} {beginning}")
    logits = [chance.gauss(0, 2) for _ in range(VOCABULARY)]
    norm = math.log(math.fsum(map(math.exp, logits)))
    return {token: logit - norm for token, logit in enumerate(logits)}


def enumerate_all(sequences: Sequence[Tokens], seed: int) -> tuple[list[float], float]:
    """Add up every reply of the longest answer's length under the longest answer that it begins with."""
    longest = max(map(len, sequences))
    found, mass = [0.0] * len(sequences), 0.0
    for reply in itertools.product(range(VOCABULARY), repeat=longest):
        chance = math.exp(math.fsum(next_logprobs(reply[:end], seed)[reply[end]] for end in range(longest)))
        begun = [place for place, one in enumerate(sequences) if reply[: len(one)] == one]
        if begun:
            found[max(begun, key=lambda place: len(sequences[place]))] += chance
            mass += chance
    return [one / mass for one in found], mass


@pytest.mark.parametrize(
    "sequences",
    [
        ((0,), (1,), (2,)),  # single tokens: a plain softmax
        ((0,), (1,), (1, 0)),  # "1" and "10"
        ((3, 0), (3, 1), (3, 1, 0)),  # a space of its own before each
        ((1,), (1, 2), (1, 2, 3), (1, 2, 4), (0,)),  # answers within answers within answers
        ((1, 2, 3), (1, 2, 4), (1, 5), (2,)),  # bytes
        ((0, 1, 2, 3),),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_probabilities_are_those_of_all_replies(sequences: tuple[Tokens, ...], seed: int) -> None:
    answers = AnswerTokens(sequences)
    known = {
        beginning: {token: next_logprobs(beginning, seed)[token] for token in tokens}
        for beginning, tokens in answers.beginnings.items()
    }
    readout = answers.read(known)
    wanted, mass = enumerate_all(sequences, seed)
    assert readout.probabilities == pytest.approx(wanted, abs=1e-12)
    assert readout.mass == pytest.approx(mass, abs=1e-12)
    assert math.fsum(readout.probabilities) == pytest.approx(1)


def test_only_what_is_needed_is_asked_for() -> None:
    digits = AnswerTokens(tuple((token,) for token in range(10)))
    assert digits.beginnings == {(): tuple(range(10))}
    assert digits.paths == [()]
    ten = AnswerTokens(((0,), (1,), (1, 0)))
    assert ten.beginnings == {(): (0, 1), (1,): (0,)}
    assert ten.paths == [(1,)]
    assert AnswerTokens(((3, 1, 2), (3, 4))).paths == [(3, 1)]
    assert AnswerTokens(((3, 1, 2), (4, 5))).paths == [(4,), (3, 1)]


def test_numbers_that_are_none_are_no_probabilities() -> None:
    answers = AnswerTokens(((0,), (1,)))
    assert math.isnan(answers.read({(): {0: math.nan, 1: -1.0}}).mass)
    assert answers.read({(): {0: -math.inf, 1: -math.inf}}).mass == 0.0
    tiny = answers.read({(): {0: -900.0, 1: -900.0}})
    assert (tiny.probabilities, tiny.mass) == ((0.5, 0.5), 0.0)


class Pieces:
    """A tokenizer that takes the longest known piece each time."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = sorted(pieces, key=len, reverse=True)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        found = []
        while text:
            piece = next(one for one in self.pieces if text.startswith(one))
            found.append(self.pieces.index(piece))
            text = text[len(piece) :]
        return found


def tokens_of(answers: Sequence[str], prompt: str = "a:\n", *pieces: str) -> Callable[[], Any]:
    return lambda: find_answer_tokens(Pieces(*"a:\n01Yes ", *pieces), prompt, answers, "model")


def test_answers_are_encoded_as_they_follow_the_prompt() -> None:
    assert [len(one) for one in tokens_of(("0", "1", "10", "Yes"), "a:\n", "Yes")().sequences] == [1, 1, 2, 1]
    pieces = Pieces(*"a:01 ", " 1")
    assert find_answer_tokens(pieces, "a:", (" 1", "1"), "m").sequences == ((0,), (pieces.pieces.index("1"),))


def test_an_answer_that_melts_into_the_prompt_is_refused() -> None:
    with pytest.raises(UserError, match=r"'1' of the protocol has no tokens of its own .* joins it to the end"):
        tokens_of(("0", "1"), "a:\n", "\n1")()


def test_answers_with_the_same_tokens_are_refused() -> None:
    class Deaf:
        @staticmethod
        def encode(text: str, add_special_tokens: bool) -> list[int]:
            return [0, 7] if len(text) > 1 else [0]

    with pytest.raises(UserError, match="the same tokens for the tokenizer of model: it cannot tell '0', '1' apart"):
        find_answer_tokens(Deaf(), "a", ("0", "1"), "model")
