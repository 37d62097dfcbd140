"""Rank statistics of the data and of their bootstrap resamples at once, each resample a row of weights.

`weights` is float (1 + resamples, items): how often each item was drawn. The first row is all ones, the data
themselves. A statistic takes it and returns (1 + resamples,) values, NaN where it is not defined. That is exact (a test
compares it with scipy on repeated rows) and far quicker than a call per resample.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from editlane.stats.intervals import FEWEST_CLUSTERS, Interval

Floats = NDArray[np.float64]

RESAMPLES = 2000

MIN_ITEMS = 3
"""Below this nothing is computed."""

MAX_UNDEFINED = 0.05
"""Share of resamples without a value (all ratings equal, say) above which no interval is given."""

_PART = 1 << 21
"""Numbers of a matrix that are worked on at once: 16 MiB."""


class Estimate(TypedDict):
    value: float | None
    interval: Interval | None
    """95 %, percentiles of the bootstrap."""
    why: str | None
    """Why there is no value, or no interval."""


def draw_weights(clusters: NDArray[Any], resamples: int, seed: int) -> Floats:
    """The weights of items that are drawn by cluster, with replacement; no resamples below FEWEST_CLUSTERS clusters.

    `clusters` (items,) names each item's source image, in any sortable type.
    """
    found, codes = np.unique(clusters, return_inverse=True)
    if len(found) < FEWEST_CLUSTERS:
        return np.ones((1, len(clusters)))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), size=resamples)
    return np.vstack([np.ones(len(found)), drawn])[:, codes]


def estimate(values: Floats, why: str | None = None) -> Estimate:
    """The value of the data with its interval. `why`: what is to blame if there is no value."""
    if np.isnan(values[0]):
        return undefined(why or "these values leave it undefined")
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


def undefined(why: str) -> Estimate:
    return {"value": None, "interval": None, "why": why}


def _in_parts(statistic: Callable[[Floats], Floats], weights: Floats, width: int) -> Floats:
    """The statistic of as many rows of weights at a time as keep a matrix of rows x `width` small."""
    rows = max(1, _PART // max(1, width))
    return np.concatenate([statistic(weights[start : start + rows]) for start in range(0, len(weights), rows)])


def _mid_ranks(values: Floats, weights: Floats) -> Floats:
    """The rank of each of n values where value i occurs weights[b, i] times, ties at the mean: (resamples, n)."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(counts, axis=1) - (counts - 1) / 2
    return ranks[:, np.searchsorted(ascending[starts], values)]


def spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman's rho of the pairs (items,) without NaN; NaN below MIN_ITEMS different items or for a constant."""
    there = np.flatnonzero(~(np.isnan(x) | np.isnan(y)))
    if len(there) < MIN_ITEMS:
        return np.full(len(weights), np.nan)
    return _in_parts(lambda part: _spearman(x[there], y[there], part[:, there]), weights, len(there))


def _spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    total = weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        a, b = (
            ranks - (weights * ranks).sum(axis=1, keepdims=True) / total
            for ranks in (_mid_ranks(x, weights), _mid_ranks(y, weights))
        )
        rho = (weights * a * b).sum(axis=1) / np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    return np.where((weights > 0).sum(axis=1) < MIN_ITEMS, np.nan, np.clip(rho, -1, 1))


def usable(rhos: Floats) -> NDArray[np.bool_]:
    """Which correlations can be averaged by arctanh: those that are defined and not exactly 1 or -1."""
    use: NDArray[np.bool_] = np.abs(rhos) < 1
    return use


def fisher_mean(rhos: Floats) -> Floats:
    """tanh of the mean arctanh over the last axis, of the usable ones; NaN where none is. A resample may have fewer."""
    use = usable(rhos)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.tanh(np.arctanh(np.where(use, rhos, 0)).sum(axis=-1) / use.sum(axis=-1))
    return mean


def ordinal_alphas(units: Floats, items: NDArray[np.intp], weights: Floats) -> Floats:
    """Krippendorff's ordinal alpha of units (n, raters), each with two ratings or more; `items` (n,) are their items.

    `krippendorff.alpha` takes too long for thousands of resamples. Its ordinal distance of two values is the squared
    difference of their mid-ranks among all ratings, so alpha is one minus a ratio of two sums of squares of ranks.
    """
    unit, rater = np.nonzero(~np.isnan(units))
    values = units[unit, rater]
    return _in_parts(lambda part: _ordinal_alphas(values, unit, part[:, items]), weights, len(values))


def _ordinal_alphas(values: Floats, unit: NDArray[np.intp], weights: Floats) -> Floats:
    """The values of unit 0, of unit 1, and so on; weights (resamples, units)."""
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
