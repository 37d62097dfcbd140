"""Test whether differences have a side, where chance would turn the sign of each source image's total at random.

A randomisation test (Fisher, The Design of Experiments, 1935). It holds its level for any values that would be as
likely with the other sign, also for values that are nearly all equal, where a studentised bootstrap says nothing.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from editlane.stats.intervals import ALPHA, FEWEST_CLUSTERS, UNSEEN, Interval

FLIPS = 9999
"""Random assignments of signs."""

_PART = 1000
"""Assignments that are computed at once."""


class SignTest(NamedTuple):
    mean: float
    interval: Interval
    """95 %, by quantiles of t for the source images, and at least what UNSEEN further ones could make of it."""
    p: float
    """Two-sided, of differences without a side."""
    reversible: bool
    """UNSEEN further source images at an end of the scale could reverse the sign of the mean."""


def flip_signs(values: NDArray[np.float64], clusters: NDArray[Any], scale: Interval, seed: int = 0) -> SignTest | None:
    """Test the mean of values (n,), within `scale`; clusters (n,) are their source images.

    None below FEWEST_CLUSTERS effective source images (Kish).
    """
    _, codes = np.unique(clusters, return_inverse=True)
    counts, totals = np.bincount(codes), np.bincount(codes, values)
    effective = len(values) ** 2 / np.square(counts).sum() if len(values) else 0.0
    if effective < FEWEST_CLUSTERS:
        return None
    mean, images = float(values.mean()), len(counts)
    rng = np.random.default_rng(seed)
    reached, found = 0, abs(totals.sum()) * (1 - 1e-12)
    for count in (_PART,) * (FLIPS // _PART) + (FLIPS % _PART,):
        kept = rng.integers(0, 2, size=(count, images), dtype=np.int8)
        reached += int((np.abs(2 * (kept @ totals) - totals.sum()) >= found).sum())
    error = np.sqrt(images / (images - 1) * np.square(totals - mean * counts).sum()) / len(values)
    half = float(stats.t.ppf(1 - ALPHA / 2, images - 1) * error)
    share = UNSEEN / (effective + UNSEEN)
    low, high = (mean + share * (end - mean) for end in scale)
    interval = max(scale[0], min(mean - half, low)), min(scale[1], max(mean + half, high))
    return SignTest(mean, interval, (1 + reached) / (1 + FLIPS), low <= 0 <= high)
