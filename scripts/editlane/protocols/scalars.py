"""Score an edit from the numbers of a reward head."""

import math
from collections.abc import Mapping
from typing import Any

from editlane.core.schemas import criterion_columns
from editlane.core.types import State
from editlane.protocols.protocol import ScalarAnswer, ScoringProtocol


def score_scalars(protocol: ScoringProtocol, numbers: Mapping[str, float]) -> dict[str, Any]:
    """Return the score columns of one edit from one number per asked criterion.

    `score_` is the number as the protocol maps it to 0..10, and `reply` keeps the numbers themselves. If one of them is
    not finite, the state is `judge_failed` (`nonfinite`).
    """
    answer = protocol.answer
    assert isinstance(answer, ScalarAnswer), "this protocol has other answers"
    broken = [name for name, number in numbers.items() if not math.isfinite(number)]
    reply = ", ".join(f"{name} {number:.6g}" for name, number in numbers.items())
    if broken:
        error = f"the reward head's number for {', '.join(broken)} is not finite"
        failed = {"state": str(State.JUDGE_FAILED), "error_kind": "nonfinite", "error": error}
        return failed | {"score": None, "reply": reply}
    scores = {name: round(answer.scale(number), 4) for name, number in numbers.items()}
    return {
        "state": str(State.SCORED),
        "error_kind": None,
        "error": None,
        "score": round(protocol.score.combine(scores), 4),
        **{criterion_columns(name).score: score for name, score in scores.items()},
        "reply": reply,
    }
