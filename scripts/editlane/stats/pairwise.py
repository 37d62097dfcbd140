"""Compare a judge with human raters on pairs of systems (Deutsch et al. 2023, arXiv 2305.14324)."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from editlane.stats.resampled import DECIMALS, MIN_ITEMS, Estimate, Floats, estimate, undefined_estimate


class Pairwise(TypedDict):
    """Agreement on which of two systems is better on the same item, or that they are tied."""

    pairs: int
    concordant: int
    discordant: int
    tied_by_raters: int
    """Tied by the raters only. Likewise `tied_by_judge`."""
    tied_by_judge: int
    tied_by_both: int
    accuracy: Estimate
    """(concordant + tied by both) / pairs: a tie is an answer like any other (Deutsch et al.)."""
    accuracy_untied: Estimate
    """concordant / (concordant + discordant)."""
    calibrated: Estimate
    """The best accuracy if score differences up to a threshold count as ties (tie calibration, Deutsch et al.). It is
    slightly optimistic, because the threshold is fitted to the same pairs, also in each resample."""
    threshold: float | None
    """That threshold, in units of the score."""
    always_tied: Estimate
    """Share of pairs tied by the raters: the accuracy of calling every pair tied."""


def compare_pairwise(people: Floats, scores: Floats, weights: Floats) -> Pairwise:
    """Compare every two systems on each item. people, scores: (items, systems), both NaN if either is missing."""
    first, second = np.triu_indices(people.shape[1], 1)
    differences = people[:, first] - people[:, second]
    item, pair = np.nonzero(~np.isnan(differences))
    raters = np.round(differences[item, pair], DECIMALS)
    judge = np.round((scores[:, first] - scores[:, second])[item, pair], DECIMALS)

    def count(which: NDArray[np.bool_]) -> Floats:
        return weights @ np.bincount(item[which], minlength=len(people)).astype(np.float64)

    concordant, discordant = count(raters * judge > 0), count(raters * judge < 0)
    by_raters, by_judge = count((raters == 0) & (judge != 0)), count((raters != 0) & (judge == 0))
    by_both = count((raters == 0) & (judge == 0))
    best, threshold = _calibrate(raters, judge, item, weights)
    few = len(np.unique(item)) < MIN_ITEMS
    why = f"fewer than {MIN_ITEMS} items have two systems that are both rated and scored" if few else None

    def share(part: Floats, whole: Floats, otherwise: str | None = None) -> Estimate:
        with np.errstate(invalid="ignore"):
            return undefined_estimate(why) if why else estimate(part / whole, otherwise)

    total = count(np.full(len(item), True))
    return {
        "pairs": len(item),
        "concordant": int(concordant[0]),
        "discordant": int(discordant[0]),
        "tied_by_raters": int(by_raters[0]),
        "tied_by_judge": int(by_judge[0]),
        "tied_by_both": int(by_both[0]),
        "accuracy": share(concordant + by_both, total),
        "accuracy_untied": share(concordant, concordant + discordant, "every pair is tied by one side"),
        "calibrated": share(best, total),
        "threshold": None if few else threshold,
        "always_tied": share(by_raters + by_both, total),
    }


def _calibrate(raters: Floats, judge: Floats, item: NDArray[np.intp], weights: Floats) -> tuple[Floats, float | None]:
    """Return the correct answers at the best threshold of each row of weights, and the threshold of the first row.

    `item` (pairs,) is the item of each pair.
    """
    if not len(item):
        return np.zeros(len(weights)), None
    order = np.argsort(np.abs(judge), kind="stable")
    sizes, tied, right = np.abs(judge)[order], (raters == 0)[order], (raters * judge > 0)[order]
    last = np.flatnonzero(np.diff(sizes, append=np.inf))  # a threshold ties all pairs of its size at once
    thresholds = sizes[last]
    if thresholds[0] > 0:  # add the threshold 0, which ties no pair
        last, thresholds = np.append(-1, last), np.append(0.0, thresholds)
    best, chosen = np.empty(len(weights)), 0
    for row, per_item in enumerate(weights):
        drawn = per_item[item[order]]
        gain = np.append(np.cumsum(drawn * tied - drawn * right), 0.0)[
            last
        ]  # index -1, the appended 0, stands for "no pair"
        best[row] = gain.max() + drawn @ right
        chosen = chosen if row else int(gain.argmax())
    return best, float(thresholds[chosen])
