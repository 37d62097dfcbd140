"""Compute rank statistics of the data and of all bootstrap resamples at once. Each resample is a row of weights.

`weights` is float (1 + resamples, items): how often each item was drawn. The first row is all ones and stands for the
data. Each statistic takes `weights` and returns (1 + resamples,) values, NaN if undefined. The results are exact (a
test compares them with scipy on repeated rows), and far faster than one call per resample.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from editlane.stats.intervals import FEWEST_CLUSTERS, Interval

Floats = NDArray[np.float64]

RESAMPLES = 2000

MIN_ITEMS = 3
"""Statistics of fewer items are undefined."""

DECIMALS = 9
"""Means and differences are rounded to this, so that ties do not depend on the order of summation."""

MAX_UNDEFINED = 0.05
"""No interval above this share of undefined resamples, for instance resamples in which all ratings are equal."""

_PART = 1 << 21
"""Elements of a matrix that are processed at once: 16 MiB."""


class Estimate(TypedDict):
    value: float | None
    interval: Interval | None
    """95 %: percentiles of the bootstrap, or the jackknife of `panel`."""
    why: str | None
    """Reason for a missing value or interval."""


def draw_weights(clusters: NDArray[Any], resamples: int, seed: int) -> Floats:
    """Draw clusters with replacement and return the weights of their items, (1 + resamples, items).

    `clusters` (items,) identifies each item's source image by any sortable type. Below FEWEST_CLUSTERS clusters there
    are no resamples, only the first row.
    """
    found, codes = np.unique(clusters, return_inverse=True)
    if len(found) < FEWEST_CLUSTERS:
        return np.ones((1, len(clusters)))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), size=resamples)
    return np.vstack([np.ones(len(found)), drawn])[:, codes]


def estimate(values: Floats, why: str | None = None) -> Estimate:
    """Return the value of the data, values[0], with its interval. `why` is the reason if it is NaN."""
    if np.isnan(values[0]):
        return undefined_estimate(why or "these values leave it undefined")
    value, resampled = float(values[0]), values[1:]
    defined = resampled[~np.isnan(resampled)]
    if not len(resampled):
        why = f"no interval: fewer than {FEWEST_CLUSTERS} source images"
    elif len(defined) < (1 - MAX_UNDEFINED) * len(resampled):
        why = f"no interval: undefined in {1 - len(defined) / len(resampled):.0%} of the resamples"
    elif defined.min() == defined.max():
        why = "no interval: every resample gives the same value"
    else:
        low, high = np.percentile(defined, [2.5, 97.5])
        return {"value": value, "interval": (float(low), float(high)), "why": None}
    return {"value": value, "interval": None, "why": why}


def undefined_estimate(why: str) -> Estimate:
    return {"value": None, "interval": None, "why": why}


def _compute_in_parts(statistic: Callable[[Floats], Floats], weights: Floats, width: int) -> Floats:
    """Compute the statistic in blocks of rows of weights, so that a matrix of rows x `width` stays within _PART."""
    rows = max(1, _PART // max(1, width))
    return np.concatenate([statistic(weights[start : start + rows]) for start in range(0, len(weights), rows)])


def _mid_ranks(values: Floats, weights: Floats) -> Floats:
    """Rank n values, where value i occurs weights[b, i] times. Ties get their mean rank. Returns (resamples, n)."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return ranks[:, np.searchsorted(ascending[starts], values)]


def spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Compute Spearman's rho of x and y (items,), ignoring pairs with NaN.

    The value is NaN below MIN_ITEMS distinct items, and if x or y is constant.
    """
    return correlate(rank_moments(x, y, weights))


def rank_moments(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Compute the moments of the ranks of x and y (items,): their products, and each one's squares, summed, (3, B).

    Ranks are centred and divided by the number of items. Pairs with NaN are ignored. All are 0 below MIN_ITEMS items.
    """
    there = np.flatnonzero(~(np.isnan(x) | np.isnan(y)))
    if len(there) < MIN_ITEMS:
        return np.zeros((3, len(weights)))
    parts = _compute_in_parts(lambda part: _moments(x[there], y[there], part[:, there]).T, weights, len(there))
    return parts.T


def correlate(moments: Floats) -> Floats:
    """Return the correlations of these moments (3, B), of one sample or added up over several. NaN if one is constant.

    Added up, they give the correlation within samples. A sample weighs as it spreads, so one without any spread adds
    nothing, and none has to be dropped. An average of correlations has to drop those that are undefined, and in arctanh
    those of exactly 1, which moves it the more the fewer items there are.
    """
    products, of_x, of_y = moments
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: Floats = np.clip(products / np.sqrt(of_x * of_y), -1, 1)
    return rho


def _moments(x: Floats, y: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        a, b = (
            (ranks - (weights * ranks).sum(axis=1, keepdims=True) / total) / total
            for ranks in (_mid_ranks(x, weights), _mid_ranks(y, weights))
        )
    sums = np.stack([(weights * one).sum(axis=1) for one in (a * b, a * a, b * b)])
    return np.where((weights > 0).sum(axis=1) < MIN_ITEMS, 0.0, sums)


def has_finite_arctanh(rhos: Floats) -> NDArray[np.bool_]:
    """Mark the correlations that can be averaged by arctanh: defined, and not exactly 1 or -1."""
    use: NDArray[np.bool_] = np.abs(rhos) < 1
    return use


def fisher_mean(rhos: Floats) -> Floats:
    """Average correlations over the last axis: tanh of the mean arctanh.

    Correlations without a finite arctanh are ignored, so a resample may average fewer. NaN if none is left.
    """
    use = has_finite_arctanh(rhos)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.tanh(np.arctanh(np.where(use, rhos, 0)).sum(axis=-1) / use.sum(axis=-1))
    return mean


def ordinal_alphas(units: Floats, items: NDArray[np.intp], weights: Floats) -> Floats:
    """Compute Krippendorff's ordinal alpha of units (n, raters) with two ratings or more each.

    `items` (n,) is the item of each unit. `evalica.alpha` is too slow for thousands of resamples. The ordinal
    distance of two values is the squared difference of their mid-ranks among all ratings, so alpha is one minus a ratio
    of two sums of squares of ranks.
    """
    unit, rater = np.nonzero(~np.isnan(units))
    values = units[unit, rater]
    return _compute_in_parts(lambda part: _ordinal_alphas(values, unit, part[:, items]), weights, len(values))


def _ordinal_alphas(values: Floats, unit: NDArray[np.intp], weights: Floats) -> Floats:
    """Compute alpha per row of weights (resamples, units). `values` is sorted by `unit`."""
    per_value = weights[:, unit]
    ranks = _mid_ranks(values, per_value)
    starts, size = np.flatnonzero(np.diff(unit, prepend=-1)), np.bincount(unit)
    within = np.add.reduceat(ranks**2, starts, axis=1) - np.add.reduceat(ranks, starts, axis=1) ** 2 / size
    total = per_value.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = ranks - ((per_value * ranks).sum(axis=1) / total)[:, None]
        expected = (per_value * centred**2).sum(axis=1) * total / (total - 1)
        observed = (weights * within * size / (size - 1)).sum(axis=1)
        return np.where(expected > 0, 1 - observed / expected, np.nan)
