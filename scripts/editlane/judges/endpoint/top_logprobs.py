"""From the likeliest tokens that a server shows to a distribution over the legal answers.

A server shows at most 20 tokens: the likeliest, or, as vLLM's does, the one it drew and the likeliest beside it. So a
legal answer that is not among them is no likelier than the second least likely one that is; where that could move a
score, these tokens alone are not enough.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import ItemError, JudgeFailed
from editlane.core.types import Readout

SHOWN = 20
"""Tokens asked for: the most that OpenAI's interface allows."""

NEGLIGIBLE = 1e-3
"""Share of the legal answers' probability that may be hidden: it moves an expectation by at most this share of the
scale, 0.01 on 0..10."""


class Hidden(ItemError):
    """The server does not show enough of its distribution to read an answer from it."""

    state = "judge_unreadable"
    kind = "hidden"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a server shows of the distribution of the first token of its reply."""

    legal: tuple[float | None, ...]
    """The probability of each legal answer, None where it is not shown."""
    bound: float
    """No token that is not shown is likelier."""
    total: float

    @property
    def mass(self) -> float:
        """The probability of the legal answers that are shown."""
        return math.fsum(one for one in self.legal if one is not None)

    @property
    def hidden(self) -> float:
        """What the legal answers that are not shown have at most."""
        return min(self.legal.count(None) * self.bound, max(0.0, 1.0 - self.total))

    @property
    def is_enough(self) -> bool:
        """Whether what is hidden does not matter."""
        return self.hidden <= NEGLIGIBLE * self.mass and self.mass > 0

    def readout(self) -> Readout:
        """The distribution over the legal answers, those that are not shown at 0. Its mass leaves them out, too."""
        return Readout(probabilities=tuple((one or 0.0) / self.mass for one in self.legal), mass=min(self.mass, 1.0))


def read_shown(reply: Any, answers: Sequence[str]) -> Shown:
    """The first token of a chat completion. Raises JudgeFailed for anything else, or numbers that are none."""
    try:
        entries = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found = {str(entry["token"]): math.exp(min(float(entry["logprob"]), 1.0)) for entry in entries}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise JudgeFailed("the endpoint's reply has no `top_logprobs`") from error
    total = math.fsum(found.values())
    if not found or not total <= 1.01:  # nan, too
        raise JudgeFailed("the endpoint's `top_logprobs` are no log-probabilities", kind="nonfinite")
    legal = tuple(found.get(answer) for answer in answers)
    bound = sorted(found.values())[1] if len(found) > 1 else 1.0  # the least likely may be the one that was drawn
    return Shown(legal=legal, bound=bound, total=total)


def combine(raw: Shown, limited: Shown) -> Readout:
    """From the whole distribution, of which not enough is shown, and from the one in which only legal answers are left.

    The second is the first divided by the mass, so the mass is the ratio of what both show. Where the first shows no
    legal answer it is 0 if no more than NEGLIGIBLE can be hidden there. Raises Hidden where more can, or where the
    second does not show enough either.
    """
    if not limited.is_enough:
        raise Hidden("the endpoint does not show enough of its probabilities, neither with the answer constraint")
    readout = limited.readout()
    both = [
        (one, other) for one, other in zip(raw.legal, readout.probabilities, strict=True) if one is not None and other
    ]
    if not both and raw.hidden > NEGLIGIBLE:
        raise Hidden(
            f"the endpoint shows no legal answer, and up to {raw.hidden:.3g} is on those that it does not show"
        )
    mass = math.fsum(one for one, _ in both) / math.fsum(other for _, other in both) if both else 0.0
    return Readout(probabilities=readout.probabilities, mass=min(mass, raw.mass + raw.hidden, 1.0))
