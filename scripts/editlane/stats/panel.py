"""Measure how far several judges agree about the same edits. Agreement is not correctness: judges may err alike.

`scores` is float (edits, judges), 0..10, NaN = no score. `clusters` (edits,) identifies each edit's source image.

Intervals come from a jackknife that leaves out source images with all their edits (Shao and Tu, The Jackknife and
Bootstrap, 1995), on a scale on which the estimate is nearly normal: Fisher's z, of correlations as of alpha, which is
like an intraclass correlation. In simulations they held the truth more often than percentiles of a bootstrap
(tests/bench/simulate_panels.py).
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from editlane.stats.jackknife import ROUNDING, group_clusters, jackknife, leave_out
from editlane.stats.resampled import MIN_ITEMS, Estimate, Floats, spearman, undefined_estimate


class Correlation(TypedDict):
    """Two judges, over the edits that both scored."""

    a: str
    b: str
    n: int
    spearman: Estimate
    """Rank correlation, which knows no lenience."""


class Agreement(TypedDict):
    """Several judges about the same edits."""

    edits: int
    """Edits with a score by two judges or more."""
    clusters: int
    """Source images of these edits."""
    alpha: Estimate
    """Krippendorff's alpha, interval level: 1 for equal scores, 0 as if the scores were dealt out at random. A judge
    that is more lenient than another lowers it."""
    correlations: list[Correlation]
    mean_correlation: Estimate
    """Mean of Pearson's correlations over all pairs of judges."""
    effective_judges: Estimate
    """At least so many judges with errors of their own; see `count_effective`."""


def measure_agreement(scores: Floats, clusters: NDArray[Any], judges: Sequence[str]) -> Agreement:
    """Compute the agreement of two or more judges, which are the columns of `scores`."""
    paired = (~np.isnan(scores)).sum(axis=1) >= 2
    scores, clusters = scores[paired], clusters[paired]
    groups = group_clusters(clusters)
    pairs = list(combinations(range(len(judges)), 2))
    mean = _mean_correlation(scores, groups, pairs)
    return {
        "edits": len(scores),
        "clusters": len(np.unique(clusters)),
        "alpha": interval_alpha(scores, clusters),
        "correlations": [
            {
                "a": judges[a],
                "b": judges[b],
                "n": int((~np.isnan(scores[:, a] + scores[:, b])).sum()),
                "spearman": _spearman(scores[:, a], scores[:, b], groups),
            }
            for a, b in pairs
        ],
        "mean_correlation": mean,
        "effective_judges": count_effective(mean, len(judges)),
    }


def interval_alpha(scores: Floats, clusters: NDArray[Any]) -> Estimate:
    """Compute Krippendorff's alpha at the interval level (Computing Krippendorff's Alpha-Reliability, 2011).

    A unit is an edit with two scores or more. Observed disagreement is the mean squared difference of the scores of one
    edit, expected disagreement that of all scores. The interval is made on Fisher's z of m scores each,
    log((1 + (m - 1) alpha) / (1 - alpha)) (Statistical Methods for Research Workers, 1925).
    """
    size = (~np.isnan(scores)).sum(axis=1)
    paired = size >= 2
    scores, size = scores[paired], size[paired]
    if len(scores) < MIN_ITEMS:
        return undefined_estimate(f"fewer than {MIN_ITEMS} edits were scored by two judges")
    scores = scores - np.nanmean(scores)  # sums of squares of large numbers would lose digits
    added, squares = np.nansum(scores, axis=1), np.nansum(scores**2, axis=1)
    within = size / (size - 1) * np.maximum(squares - added**2 / size, 0)
    groups = group_clusters(clusters[paired])
    sums = leave_out(np.column_stack([within, size, added, squares]), groups)

    def compute(observed: Floats, count: Floats, total: Floats, square: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            expected = (square - total**2 / count) / (count - 1)
            return np.where(expected > ROUNDING, 1 - observed / count / expected, np.nan)

    others = float(size.mean()) - 1

    def scale(alpha: Floats) -> Floats:
        return np.log((1 + others * alpha) / (1 - alpha))

    def back(z: Floats) -> Floats:
        return (np.exp(z) - 1) / (np.exp(z) + others)

    return jackknife(compute(*sums.T), scale, back, "all scores are equal")


def count_effective(mean_correlation: Estimate, judges: int) -> Estimate:
    """Compute the number of judges with independent errors whose mean has as little noise: k / (1 + (k - 1) r).

    r is the correlation of errors (Kish's design effect; Clemen and Winkler 1985). Without people's ratings nobody
    knows errors, so r is the correlation of the scores themselves. It is the larger of the two, because judges that see
    the same quality agree about it, so the true number is this or more. 1 for copies of one judge, at most k.
    """
    value, interval = mean_correlation["value"], mean_correlation["interval"]

    def count(correlation: float) -> float:
        shared = 1 + (judges - 1) * correlation
        return float(min(judges, judges / shared)) if shared > 0 else float(judges)

    return {
        "value": None if value is None else count(value),
        "interval": None if interval is None else (count(interval[1]), count(interval[0])),
        "why": mean_correlation["why"],
    }


def _spearman(x: Floats, y: Floats, groups: NDArray[np.intp]) -> Estimate:
    count = groups.max(initial=-1) + 1
    weights = np.vstack([np.ones((1, len(x))), groups != np.arange(count)[:, None]])
    why = f"fewer than {MIN_ITEMS} edits were scored by both, or one gave all the same score"
    return jackknife(round_ends(spearman(x, y, weights)), np.arctanh, np.tanh, why)


def _mean_correlation(scores: Floats, groups: NDArray[np.intp], pairs: Sequence[tuple[int, int]]) -> Estimate:
    of_pairs = [pearson(scores[:, a], scores[:, b], groups) for a, b in pairs]
    why = f"fewer than {MIN_ITEMS} edits were scored by two judges, or one gave all the same score"
    return jackknife(round_ends(np.mean(of_pairs, axis=0)), np.arctanh, np.tanh, why)


def pearson(x: Floats, y: Floats, groups: NDArray[np.intp]) -> Floats:
    """Compute the correlation of all edits, then without each group, (1 + G,). NaN = no score, or not defined."""
    both = ~np.isnan(x + y)
    if both.sum() < MIN_ITEMS:
        return np.full(groups.max(initial=-1) + 2, np.nan)
    x, y = (np.where(both, one - one[both].mean(), 0.0) for one in (x, y))
    n, a, b, ab, aa, bb = leave_out(np.column_stack([both, x, y, x * y, x * x, y * y]), groups).T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = (aa - a * a / n) * (bb - b * b / n)
        return np.where(spread > ROUNDING, (ab - a * b / n) / np.sqrt(spread), np.nan)


def round_ends(correlations: Floats) -> Floats:
    """Return correlations with those that differ from 1 or -1 by rounding alone set to it."""
    return np.where(np.abs(correlations) > 1 - ROUNDING, np.sign(correlations), correlations)
