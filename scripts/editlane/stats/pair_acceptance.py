"""Accept a pairwise judge only where the real edit wins against its controls.

A control stands in place of one picture: the source, a blank picture, or the same editor's edit of another item. The
real edit should win, or both are bad. `itself` shows one edit twice, and tells of a preference for a place.
"""

from collections.abc import Iterable
from typing import Literal, TypedDict

import numpy as np
import pandas as pd

from editlane.core.types import State
from editlane.stats.acceptance import ASKED, HALF_BLIND, Verdict
from editlane.stats.duels import Position, measure_position
from editlane.stats.intervals import ALPHA, Interval
from editlane.stats.sign_flips import flip_signs

WRONG = ("source", "blank", "other_item")
"""Controls that a real edit should win against."""

ITSELF, TOGETHER = "itself", "together"

MOST_BIAS = 0.5
"""Bound of P(first) - P(second) where both pictures are the same. Beyond it, more than half of the answers are by
place, and the mean over both orders is mostly of ties."""


class PairControlResult(TypedDict):
    """Some controls against the real edits."""

    n: int
    """Controls asked."""
    scored: int
    won: float | None
    """Mean probability that the real edit wins, 0..1. Likewise `lost`; the rest are ties and both bad."""
    lost: float | None
    difference: float | None
    """won - lost, with both sides of the page weighing the same."""
    interval: Interval | None
    p: float | None
    """Two-sided, of no difference."""
    verdict: Verdict


class PairAcceptance(TypedDict):
    """The verdict on one pairwise judge for one dataset."""

    verdict: Literal["accepted", "not_accepted", "not_tested"]
    reasons: list[str]
    """Results of `controls`, or ITSELF, that failed."""
    too_few: list[str]
    calls: int
    """Questions asked as controls."""
    categories: dict[str, PairControlResult]
    editors: dict[str, PairControlResult]
    controls: dict[str, PairControlResult]
    """By control, then TOGETHER."""
    itself: Position
    itself_verdict: Verdict
    """`told_apart`: the preference for a place is within MOST_BIAS."""


def accept_pairs(controls: pd.DataFrame) -> PairAcceptance:
    """Test where a pairwise judge tells controls from real edits.

    controls: rows of the pairs table of one judge with a control, and the column cluster. Each category is tested, each
    editor, each control, and all together, which must lose less than HALF_BLIND of what a blind judge would let win.
    The judge is not tested if nothing fails but a result has too few answers.
    """
    asked = _add_chances(controls[controls["state"].isin(list(map(str, ASKED)))])
    wrong = asked[asked["control"].isin(WRONG)]
    results = {name: compare_with_real(wrong[wrong["control"] == name]) for name in WRONG}
    results[TOGETHER] = compare_with_real(wrong, half=True)
    categories, editors = (_compare_each(wrong, name) for name in ("category", "editor_a"))
    same = asked[asked["control"] == ITSELF]
    position = measure_position(same["lead"], same["cluster"])
    verdicts = {name: one["verdict"] for name, one in results.items()} | {ITSELF: _judge_position(position)}
    reasons, too_few = ([name for name, one in verdicts.items() if one == bad] for bad in ("not_told_apart", "too_few"))
    told = [[one["verdict"] == "told_apart" for one in part.values()] for part in (categories, editors)]
    passes = not reasons and not too_few and all(any(part) for part in told)
    blind = any(one["verdict"] == "not_told_apart" for part in (categories, editors) for one in part.values())
    return {
        "verdict": "accepted" if passes else "not_accepted" if reasons or blind else "not_tested",
        "reasons": reasons,
        "too_few": too_few,
        "calls": len(asked),
        "categories": categories,
        "editors": editors,
        "controls": results,
        "itself": position,
        "itself_verdict": verdicts[ITSELF],
    }


def _add_chances(rows: pd.DataFrame) -> pd.DataFrame:
    """Add `real` and `wrong`, the probabilities that either wins, and `lead`, that of the first less the second."""
    read, on_a = (rows["state"] == State.SCORED).to_numpy(), (rows["control_side"] == "a").to_numpy()
    p_a, p_b = (rows[name].astype(float).where(read) for name in ("p_a", "p_b"))
    return rows.assign(real=np.where(on_a, p_b, p_a), wrong=np.where(on_a, p_a, p_b), lead=p_a - p_b)


def _compare_each(rows: pd.DataFrame, column: str) -> dict[str, PairControlResult]:
    names: Iterable[str] = dict.fromkeys(rows[column].astype(str))
    return {name: compare_with_real(rows[rows[column].astype(str) == name]) for name in names}


def compare_with_real(rows: pd.DataFrame, *, half: bool = False) -> PairControlResult:
    """Compare controls with real edits. Columns item_id, editor_a, control, control_side, cluster, real, wrong (NaN =
    not scored).

    Only controls with an answer in both orders count. For a judge that cannot tell the control, each sum over both
    orders is as likely with the other sign, whatever place it prefers, so signs are turned at random by photo. half:
    the control must also win less than HALF_BLIND as often, among answers for one of both, as with a blind judge.
    """
    there = rows[rows["real"].notna() & rows["wrong"].notna()]
    there = there[there.groupby(["item_id", "editor_a", "control"])["control_side"].transform("nunique") == 2]
    real, wrong = there["real"].to_numpy(dtype=float), there["wrong"].to_numpy(dtype=float)
    clusters = there["cluster"].to_numpy()
    found = flip_signs(real - wrong, clusters, (-1.0, 1.0))
    verdict: Verdict = "too_few"
    if found:
        verdict = "not_told_apart" if found.p >= ALPHA or found.mean <= 0 else "told_apart"
        if verdict == "told_apart" and found.reversible:
            verdict = "too_few"
    if half and verdict == "told_apart":
        limit = HALF_BLIND / 2
        margin = flip_signs(limit * (real + wrong) - wrong, clusters, (limit - 1, limit))
        if margin is None or margin.interval[0] <= 0:
            verdict = "too_few" if margin is None or margin.reversible else "not_told_apart"
    return {
        "n": len(rows),
        "scored": len(there),
        "won": float(real.mean()) if len(there) else None,
        "lost": float(wrong.mean()) if len(there) else None,
        "difference": found.mean if found else None,
        "interval": found.interval if found else None,
        "p": found.p if found else None,
        "verdict": verdict,
    }


def _judge_position(position: Position) -> Verdict:
    value, interval = position["bias"]["value"], position["bias"]["interval"]
    if value is None or interval is None:
        return "too_few"
    if max(map(abs, interval)) < MOST_BIAS:
        return "told_apart"
    return "not_told_apart" if abs(value) >= MOST_BIAS else "too_few"
