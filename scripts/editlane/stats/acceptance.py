"""Accept a judge only if it tells its controls apart from real edits."""

from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.nonparametric import rank_compare_2indep
from statsmodels.stats.proportion import proportion_confint

from editlane.core.types import ACCEPTANCE, State
from editlane.stats.intervals import ALPHA, Interval

ASKED = (State.SCORED, State.JUDGE_UNREADABLE, State.JUDGE_FAILED)
"""States of the rows that were sent to the judge."""

CHANCE = 0.5
"""AUC of a judge that scores controls like real edits."""


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
    """The real edits that the controls are compared with."""

    scored: int
    mean: float | None


class Acceptance(TypedDict):
    """The verdict on one judge for one dataset."""

    verdict: Literal["accepted", "not_accepted", "not_tested"]
    reasons: list[str]
    """The controls that were not told apart from real edits, over all categories."""
    too_few: list[str]
    """The controls with too few scores, of the control or of the real edits, to reach a verdict."""
    calls: int
    """Extra judge calls spent on controls."""
    share: float | None
    """calls / real edits judged."""
    real: RealEdits
    controls: dict[str, ControlResults]


def compare_control(real: npt.ArrayLike, control: npt.ArrayLike, planned: int) -> ControlResult:
    """Compare the scores of real edits (m,) with those of one kind of control (k,). NaN (not scored) is ignored.

    A control is told apart if the interval of its AUC lies above CHANCE. There are too few scores if even a perfect
    judge, which gives each control the lowest score, could not be distinguished from chance.
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
    """Test whether every control, over all categories, was told apart from real edits.

    real: the judged edits, columns category and score (NaN = not scored). controls: the judge's controls, columns
    control (of `types.ACCEPTANCE`), category, state and score. A control that was not judged has the state of its edit.
    A judge is not accepted if any control was not told apart, and not tested if any control had too few scores.

    The categories are reported but do not decide, because each holds few controls. If most edits of a category
    failed, even a perfect judge has a low AUC there (0.7 if 60 % failed).
    """
    edits = _scored(real["score"])
    results: dict[str, ControlResults] = {}
    for control in ACCEPTANCE if len(controls) else ():
        rows = controls[controls["control"] == control]
        results[str(control)] = {
            "overall": compare_control(edits, rows["score"], len(rows)),
            "categories": {
                str(category): compare_control(real["score"][real["category"] == category], part, len(part))
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
    """Return the AUC and its interval by Brunner and Munzel (2000).

    Use Wilson's interval if all scores are tied or the two samples do not overlap. The rank variance is zero then, and
    would claim certainty from three controls.
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
    """Return whether there are enough scores for a perfect judge to be told from chance.

    A weak editor's edits often get the lowest score too, so all controls of a blind judge may get it by luck. If every
    edit gets the lowest score, more controls would not help, so that case does not count as too few.
    """
    count = min(len(edits), len(controls))
    lowest = (edits <= min(edits.min(), controls.min())).mean()
    luck = lowest**count if lowest < 1 else 0.0
    return _wilson(1.0, count)[0] > CHANCE and bool(luck < ALPHA / 2)
