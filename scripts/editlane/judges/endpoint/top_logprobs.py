"""Turn the likeliest tokens that a server reports into a distribution over the legal answers.

A server reports at most 20 tokens: the likeliest, or, like vLLM, the drawn one and the likeliest beside it. The 20th is
then a matter of chance, and the 19th if it is equally likely. So of 20 tokens those are read that are likelier than the
19th, which are the same whatever was drawn. Any other token is at most as likely as the 19th. If that could move a
score, these tokens alone are not enough.

A server that reports fewer than 20 may report all that its constraint allows, so all of them are read. The drawn one
may be in the place of another there, which is then at most as likely as the second least likely.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import ItemError, JudgeFailed
from editlane.core.types import Readout

TOP_TOKENS = 20
"""Tokens requested: the maximum of OpenAI's interface."""
_CERTAIN = TOP_TOKENS - 1
"""Of so many reported tokens it is certain that none is there because it was drawn, if all were reported."""

NEGLIGIBLE = 1e-3
"""Share of the legal answers' probability that may be hidden. It moves an expectation by at most this share of the
scale, 0.01 on 0..10."""


_LARGEST_VOCABULARY = 1_000_000
"""More tokens than any model has."""
_ROUNDING = 0.05
"""Share of the probability that rounded log-probabilities may lack."""


class NoLogprobs(JudgeFailed):
    """The server's reply has no valid log-probabilities."""


class HiddenProbability(ItemError):
    """The server hides too much of its distribution to read an answer from it."""

    state = "judge_unreadable"
    kind = "hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopLogprobs:
    """Reported part of the distribution of the first token of a reply."""

    legal: tuple[float | None, ...]
    """Probability of each legal answer; None if it is not read."""
    bound: float
    """Upper bound of the probability of every token that is not read."""
    total: float
    """Probability of all tokens that are read."""

    @property
    def mass(self) -> float:
        """Total probability of the legal answers that are read."""
        return math.fsum(one for one in self.legal if one is not None)

    @property
    def hidden(self) -> float:
        """Upper bound of the probability of the legal answers that are not read."""
        return min(self.legal.count(None) * self.bound, max(0.0, 1.0 - self.total))

    @property
    def is_enough(self) -> bool:
        """True if the hidden probability is negligible."""
        return self.hidden <= NEGLIGIBLE * self.mass and self.mass > 0

    def to_readout(self) -> Readout:
        """Return the distribution over the legal answers. Those not read count 0, and the mass leaves them out,
        too."""
        return Readout(probabilities=tuple((one or 0.0) / self.mass for one in self.legal), mass=min(self.mass, 1.0))


def read_top_logprobs(reply: Any, answers: Sequence[str]) -> TopLogprobs:
    """Read the first token of a chat completion. Raises NoLogprobs.

    Tokens of one text add up: some tokenizers have two that both read "8", as one of them begins a word. A
    log-probability of null, which is how JSON has to write minus infinity, is a probability of 0.
    """
    try:
        entries = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found = [(str(entry["token"]), _read_probability(entry["logprob"])) for entry in entries]
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise NoLogprobs("the endpoint's reply has no `top_logprobs`") from error
    if not found or not math.fsum(one for _, one in found) <= 1.01:  # nan, too
        raise NoLogprobs("the endpoint's `top_logprobs` are not log-probabilities", kind="nonfinite")
    found, bound = _leave_out_chance(found)
    total = math.fsum(one for _, one in found)
    by_text = defaultdict(list)
    for text, one in found:
        by_text[text].append(one)
    legal = tuple(math.fsum(by_text[answer]) if answer in by_text else None for answer in answers)
    if total + _LARGEST_VOCABULARY * bound < 1 - _ROUNDING:  # then these are not the likeliest of a distribution
        bound = 1.0
    return TopLogprobs(legal=legal, bound=bound, total=total)


def _leave_out_chance(found: list[tuple[str, float]]) -> tuple[list[tuple[str, float]], float]:
    """Return the tokens that do not depend on what was drawn, and an upper bound of the probability of every other."""
    falling = sorted((one for _, one in found), reverse=True)
    if len(found) >= TOP_TOKENS:
        bound = falling[_CERTAIN - 1]
        return [(text, one) for text, one in found if one > bound], bound
    return found, falling[-2] if len(found) > 1 else 1.0


def _read_probability(logprob: Any) -> float:
    if logprob is None:
        return 0.0
    if not isinstance(logprob, int | float) or isinstance(logprob, bool):  # as float() would take false and "-0_0"
        raise TypeError("no JSON number")
    return math.exp(min(logprob, 1.0))


def combine(raw: TopLogprobs, limited: TopLogprobs) -> Readout:
    """Combine the whole distribution, of which too little is reported, with the one over legal answers only.

    The second is the first divided by the mass, so the mass is the ratio of the answers that both report. If the first
    reports no legal answer, the mass is 0, provided that at most NEGLIGIBLE can be hidden. Raises HiddenProbability if
    more can be hidden, or if the second does not report enough either.
    """
    if not limited.is_enough:
        raise HiddenProbability("the endpoint hides too much of its probabilities, even with the answer constraint")
    readout = limited.to_readout()
    both = [
        (one, other) for one, other in zip(raw.legal, readout.probabilities, strict=True) if one is not None and other
    ]
    if not both and raw.hidden > NEGLIGIBLE:
        raise HiddenProbability(f"the endpoint shows no legal answer, and up to {raw.hidden:.3g} is hidden")
    mass = math.fsum(one for one, _ in both) / math.fsum(other for _, other in both) if both else 0.0
    return Readout(probabilities=readout.probabilities, mass=min(mass, raw.mass + raw.hidden, 1.0))
