"""Find out whether a judge prefers an editor's pictures, whatever they show."""

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from editlane.core.types import Control
from editlane.stats.intervals import ALPHA, Interval

SMALL = 1e-9
"""Scores that differ by less are equal but for rounding."""

SHARE = 0.5
"""A difference of two editors is believed only if less than this share of it can be preference."""


class Preference(TypedDict):
    """How much higher a judge scores the wrong edits of editor a than those of b."""

    a: str
    b: str
    n: tuple[int, int]
    difference: float
    interval: Interval
    """95 % interval of the difference, by Welch."""
    p_holm: float
    """Two-sided, of no difference, corrected over all pairs."""


def measure_preferences(controls: pd.DataFrame, editors: Sequence[str]) -> list[Preference]:
    """Compare the editors' scores under another item's instruction, which should be as low for all.

    controls: columns control, editor and score (NaN = not scored). Pairs with fewer than two scores of either editor
    are left out. Welch's t test.
    """
    wrong = controls[(controls["control"] == str(Control.OTHER_INSTRUCTION)) & controls["score"].notna()]
    scores = {editor: wrong["score"][wrong["editor"] == editor].to_numpy(dtype=float) for editor in editors}
    found = [
        _compare(a, b, scores[a], scores[b])
        for a, b in combinations(editors, 2)
        if min(len(scores[a]), len(scores[b])) > 1
    ]
    if found:
        for one, p in zip(found, multipletests([one["p_holm"] for one in found], method="holm")[1], strict=True):
            one["p_holm"] = float(p)
    return found


def _compare(a: str, b: str, first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> Preference:
    """Compare the scores of two editors; `p_holm` is not corrected yet.

    Two constants have no variance, so p is at least that of the rarest order of so many scores.
    """
    difference = float(first.mean() - second.mean())
    low, high, p = difference, difference, 1.0 if abs(difference) < SMALL else 0.0
    if max(np.ptp(first), np.ptp(second)) > SMALL:
        means = CompareMeans(DescrStatsW(first), DescrStatsW(second))
        (low, high), p = means.tconfint_diff(alpha=ALPHA, usevar="unequal"), means.ttest_ind(usevar="unequal")[1]
    return {
        "a": a,
        "b": b,
        "n": (len(first), len(second)),
        "difference": difference,
        "interval": (float(low), float(high)),
        "p_holm": max(float(p), 2 / comb(len(first) + len(second), len(first))),
    }


def explains(preference: Preference, difference: float) -> bool:
    """Return whether the judge's preference may be the reason for SHARE or more of a difference a - b."""
    found = preference["difference"] if difference > 0 else -preference["difference"]
    return preference["p_holm"] < ALPHA and found >= SHARE * abs(difference)
