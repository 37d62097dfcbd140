"""Make intervals by a jackknife that leaves out source images with all their rows, on a scale on which the estimate is
nearly normal (Shao and Tu, The Jackknife and Bootstrap, 1995)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from editlane.stats.intervals import ALPHA, FEWEST_CLUSTERS
from editlane.stats.resampled import Estimate, Floats, undefined_estimate

MOST_GROUPS = 200
"""More source images are left out in so many groups of about the same size."""

ROUNDING = 1e-12
"""Numbers that are closer to each other than this are the same."""


def group_clusters(clusters: NDArray[Any]) -> NDArray[np.intp]:
    """Return the group of each edit, 0..G-1: its source image, or with many of them a random part of all."""
    found, codes = np.unique(clusters, return_inverse=True)
    if len(found) <= MOST_GROUPS:
        return codes.astype(np.intp)
    groups: NDArray[np.intp] = (np.random.default_rng(0).permutation(len(found)) % MOST_GROUPS)[codes]
    return groups


def leave_out(parts: Floats, groups: NDArray[np.intp]) -> Floats:
    """Add up the rows of `parts` (edits, S): first all of them, then without each group. Returns (1 + G, S)."""
    sums = np.stack([np.bincount(groups, column) for column in parts.T], axis=1)
    total = sums.sum(axis=0, keepdims=True)
    return np.concatenate([total, total - sums])


def jackknife_error(values: Floats) -> float:
    """Return the standard error of values[0] from the values without each group, values[1:]."""
    groups = len(values) - 1
    return float(np.sqrt((groups - 1) / groups * np.square(values[1:] - values[1:].mean()).sum()))


def jackknife(
    values: Floats,
    scale: Callable[[Floats], Floats],
    back: Callable[[Floats], Floats],
    why: str,
    freedom: int | None = None,
) -> Estimate:
    """Return values[0] with the interval that the values without each group, values[1:], give.

    `scale` makes the estimate nearly normal, and `back` undoes it. `why` is the reason for a value of NaN. `freedom` is
    the degrees of freedom of t, 1 or more, if they are fewer than the groups less one.
    """
    if np.isnan(values[0]):
        return undefined_estimate(why)
    value, groups = float(values[0]), len(values) - 1
    if groups < FEWEST_CLUSTERS:
        return {"value": value, "interval": None, "why": f"no interval: fewer than {FEWEST_CLUSTERS} source images"}
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = scale(values)
    if not np.isfinite(scaled).all() or np.ptp(scaled[1:]) <= ROUNDING:
        return {
            "value": value,
            "interval": None,
            "why": "no interval: without some source images it is at an end of its scale, or always the same",
        }
    t = stats.t.ppf(1 - ALPHA / 2, min(groups - 1, freedom or groups - 1))
    ends = scaled[0] + np.array([-1, 1]) * t * jackknife_error(scaled)
    low, high = sorted(back(ends).tolist())
    return {"value": value, "interval": (low, high), "why": None}
