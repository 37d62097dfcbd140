"""What a reward server answers about each item, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from editlane.core.errors import UserError, one_line

PASSING = frozenset({"crash", "oom", "timeout", "transport", "deadline", "model"})
"""Kinds of an item's error that another try may not meet."""


class RewardError(UserError):
    """No rewards for a whole request, and asking again would not help. The message says what to do."""


@dataclass(frozen=True)
class Reward:
    """What is known about one item. `reward` is None if it has no score; `kind` and `message` then say why."""

    id: str | None = None
    """The id that the caller gave the item."""
    reward: float | None = None
    """From 0 to 1."""
    score: float | None = None
    """From 0 to 10."""
    state: str = "judge_failed"
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """The score of each criterion."""
    mass: float | None = None
    entropy: float | None = None
    cached: bool = False
    judge: str | None = None
    judge_key: str | None = None
    """Changes with whatever changes scores: the judge's weights, its protocol, its settings."""
    kind: str | None = None
    message: str | None = None
    judges: Mapping[str, Reward] = field(default_factory=dict)
    """The reward by each judge of a panel. How to combine them is the caller's to say: the panel's own is None."""

    @property
    def may_pass(self) -> bool:
        """Whether another try may score the item."""
        return self.kind in PASSING or any(one.kind in PASSING for one in self.judges.values())


def read_rewards(content: bytes, ids: Sequence[str]) -> list[Reward]:
    """Return the rewards of the items with these ids, in this order.

    Raises RewardError if the answer is not one about exactly these items: a reward must never reach another item.
    """
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise _malformed("is no JSON") from error
    items = answer.get("items") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise _malformed("has no list of items")
    if len(items) != len(ids):
        raise _malformed(f"is about {len(items)} items instead of {len(ids)}")
    if [item.get("id") if isinstance(item, dict) else None for item in items] != list(ids):
        raise _malformed("is about other items, or in another order")
    return [_read_item(item) for item in items]


def failed(kind: str, message: str) -> Reward:
    """Return the reward of an item that got no answer."""
    return Reward(kind=kind, message=one_line(Exception(message)))


def _read_item(item: dict[str, Any]) -> Reward:
    judges = item.get("judges")
    if judges is None:
        return _read_one(item)
    if not isinstance(judges, dict) or not judges or not all(isinstance(one, dict) for one in judges.values()):
        raise _malformed("has a panel without judges")
    of_each = {name: _read_one(one) for name, one in judges.items()}
    return Reward(state="panel", judges=of_each, kind="panel", message="a panel has no reward of its own; see `judges`")


def _read_one(found: dict[str, Any]) -> Reward:
    reward = _read_number(found, "reward", most=1)
    error = found.get("error")
    if not isinstance(error, dict):
        error = {}
    scores = found.get("scores")
    return Reward(
        reward=reward,
        score=_read_number(found, "score", most=10),
        state=str(found.get("state")),
        scores=dict(scores) if isinstance(scores, dict) else {},
        mass=_read_number(found, "mass", most=math.inf),
        entropy=_read_number(found, "entropy", most=math.inf),
        cached=found.get("cached") is True,
        judge=found.get("judge"),
        judge_key=found.get("judge_key"),
        kind=None if reward is not None else str(error.get("kind") or "model"),
        message=None if reward is not None else one_line(Exception(error.get("message") or found.get("state"))),
    )


def _read_number(found: dict[str, Any], name: str, *, most: float) -> float | None:
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or math.isinf(value):
        raise _malformed(f"has a {name} of {value!r}")
    return float(value)


def _malformed(what: str) -> RewardError:
    return RewardError(
        f"The answer of the reward server {what}. Is it Editlane's, and of the version of this client? "
        "No reward of this answer was used."
    )
