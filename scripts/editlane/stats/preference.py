"""Find out whether a judge prefers an editor's pictures, whatever they show."""

from collections.abc import Sequence
from itertools import combinations
from typing import TypedDict

import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from editlane.core.types import Control
from editlane.stats.intervals import ALPHA, Interval

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
    found: list[Preference] = []
    for a, b in combinations(editors, 2):
        if min(len(scores[a]), len(scores[b])) < 2 or not scores[a].var() + scores[b].var():
            continue
        test = stats.ttest_ind(scores[a], scores[b], equal_var=False)
        low, high = test.confidence_interval(1 - ALPHA)
        found.append({
            "a": a, "b": b, "n": (len(scores[a]), len(scores[b])),
            "difference": float(scores[a].mean() - scores[b].mean()), "interval": (float(low), float(high)),
            "p_holm": float(test.pvalue),
        })  # fmt: skip
    if found:
        for one, p in zip(found, multipletests([one["p_holm"] for one in found], method="holm")[1], strict=True):
            one["p_holm"] = float(p)
    return found


def explains(preference: Preference, difference: float) -> bool:
    """Return whether the judge's preference may be the reason for SHARE or more of a difference a - b."""
    found = preference["difference"] if difference > 0 else -preference["difference"]
    return preference["p_holm"] < ALPHA and found >= SHARE * abs(difference)
