"""Whether a judge can be believed: it must tell its controls apart from real edits."""

from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.nonparametric import rank_compare_2indep
from statsmodels.stats.proportion import proportion_confint

from editlane.core.types import ACCEPTANCE, State
from editlane.stats.intervals import ALPHA, Interval

ASKED = (State.SCORED, State.JUDGE_UNREADABLE, State.JUDGE_FAILED)
"""The states of a row that its judge was asked about."""

CHANCE = 0.5
"""AUC of a judge that scores a control like a real edit."""


class ControlResult(TypedDict):
    """One kind of control against the real edits."""

    n: int
    """Controls planned."""
    scored: int
    mean: float | None
    """Mean score of the controls, 0..10."""
    auc: float | None
    """P(a real edit scores above a control) + P(they tie) / 2."""
    interval: Interval | None
    """95 % interval of the AUC."""
    verdict: Literal["told_apart", "not_told_apart", "too_few"]


class ControlResults(TypedDict):
    overall: ControlResult
    categories: dict[str, ControlResult]


class RealEdits(TypedDict):
    """What the controls are compared with."""

    scored: int
    mean: float | None


class Acceptance(TypedDict):
    """Whether one judge is accepted on one dataset."""

    verdict: Literal["accepted", "not_accepted", "not_tested"]
    reasons: list[str]
    """The controls that were not told apart from real edits, over all categories."""
    too_few: list[str]
    """The controls that too few answers, of this judge or of the editors' edits, say anything about."""
    calls: int
    """Extra questions asked."""
    share: float | None
    """calls / real edits judged."""
    real: RealEdits
    controls: dict[str, ControlResults]


def control_result(real: npt.ArrayLike, control: npt.ArrayLike, planned: int) -> ControlResult:
    """Compare the scores of real edits (m,) with those of one kind of control (k,); NaN = not scored, left out.

    Told apart: the interval of the AUC lies above CHANCE. Too few: so few were scored that a perfect judge, which gives
    each control the lowest score, could not be told from chance either.
    """
    edits, controls = _scored(real), _scored(control)
    result: ControlResult = {
        "n": planned,
        "scored": len(controls),
        "mean": float(controls.mean()) if len(controls) else None,
        "auc": None,
        "interval": None,
        "verdict": "too_few",
    }
    if not len(edits) or not len(controls):
        return result
    auc, interval = _auc(edits, controls)
    result |= {"auc": auc, "interval": interval}
    if _enough(edits, controls):
        result["verdict"] = "told_apart" if interval[0] > CHANCE else "not_told_apart"
    return result


def accept(real: pd.DataFrame, controls: pd.DataFrame) -> Acceptance:
    """Whether every control, over all categories, was told apart from real edits.

    real: the edits it was asked about, columns category and score (NaN = not scored). controls: its extra questions,
    columns control (of `types.ACCEPTANCE`), category, state and score; a control that could not be asked has the state
    of its edit. A judge is not accepted if one control was not told apart, and not tested if one had too few answers.

    The categories are shown and decide nothing: their controls are few, and where most edits of a category failed a
    perfect judge has a low AUC there too (0.7 where 60 % failed).
    """
    edits = _scored(real["score"])
    results: dict[str, ControlResults] = {}
    for control in ACCEPTANCE if len(controls) else ():
        rows = controls[controls["control"] == control]
        results[str(control)] = {
            "overall": control_result(edits, rows["score"], len(rows)),
            "categories": {
                str(category): control_result(real["score"][real["category"] == category], part, len(part))
                for category, part in rows.groupby("category", sort=False)["score"]
            },
        }
    reasons = [name for name, found in results.items() if found["overall"]["verdict"] == "not_told_apart"]
    too_few = [name for name, found in results.items() if found["overall"]["verdict"] == "too_few"]
    calls = int(controls["state"].isin(ASKED).sum()) if len(controls) else 0
    return {
        "verdict": "not_accepted" if reasons else "not_tested" if too_few or not results else "accepted",
        "reasons": reasons,
        "too_few": too_few,
        "calls": calls,
        "share": calls / len(real) if len(real) else None,
        "real": {"scored": len(edits), "mean": float(edits.mean()) if len(edits) else None},
        "controls": results,
    }


def _scored(scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64)
    return values[~np.isnan(values)]


def _auc(edits: npt.NDArray[np.float64], controls: npt.NDArray[np.float64]) -> tuple[float, Interval]:
    """AUC and its interval by Brunner and Munzel (2000); by Wilson where all scores are tied or nothing overlaps.

    There the ranks do not vary and would claim certainty from three controls.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ranks = rank_compare_2indep(edits, controls)
    auc = float(ranks.prob1)
    if not ranks.var_prob > 0:  # zero, or NaN for a single control
        return auc, _wilson(auc, min(len(edits), len(controls)))
    low, high = ranks.conf_int(alpha=ALPHA)
    return auc, (max(0.0, float(low)), min(1.0, float(high)))


def _wilson(rate: float, count: int) -> Interval:
    low, high = proportion_confint(rate * count, count, alpha=ALPHA, method="wilson")
    return float(low), float(high)


def _enough(edits: npt.NDArray[np.float64], controls: npt.NDArray[np.float64]) -> bool:
    """Whether a perfect judge could show itself.

    Under a weak editor many edits get the lowest score too; then a blind judge's controls may all do so by luck. Where
    every edit gets it, more controls would not help: that is no lack of controls.
    """
    count = min(len(edits), len(controls))
    lowest = (edits <= min(edits.min(), controls.min())).mean()
    luck = lowest**count if lowest < 1 else 0.0
    return _wilson(1.0, count)[0] > CHANCE and bool(luck < ALPHA / 2)
