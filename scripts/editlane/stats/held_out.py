"""Measure how scores rank edits as people do, on photos other than those that something was chosen on.

Ranks are those within a cell, such as the edits of one editor in one fold; the moments of all cells are added up
(`resampled.correlate`). Values of another cell never meet, so each fold may have a choice of its own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from editlane.stats.jackknife import group_clusters, jackknife
from editlane.stats.resampled import Estimate, Floats, correlate, rank_moments

FOLDS = 5
"""Parts of the photos; each is left out in turn."""


def assign_folds(clusters: NDArray[Any]) -> NDArray[np.intp]:
    """Return the fold of each edit, 0..FOLDS-1. All edits of a source image are in one."""
    found, codes = np.unique(clusters, return_inverse=True)
    folds: NDArray[np.intp] = (np.random.default_rng(0).permutation(len(found)) % FOLDS)[codes]
    return folds


def choose_in_folds(
    scores: Floats, folds: NDArray[np.intp], choose: Callable[[NDArray[np.bool_]], Floats]
) -> tuple[Floats, Floats]:
    """Combine the columns of `scores` (edits, judges) by weights that `choose` finds on the other folds.

    choose: takes the edits to learn from, bool (edits,), and returns the weights (judges,). Return the combined scores
    (edits,) and the weights (FOLDS, judges).
    """
    weights = np.stack([choose(folds != fold) for fold in range(FOLDS)])
    return (scores * weights[folds]).sum(axis=1), weights


def rank_correlation(labels: Floats, scores: Floats, cells: NDArray[Any]) -> float:
    """Compute Spearman's rho within the cells (edits,), of all of them together. NaN if it is not defined."""
    return float(_correlate(labels, scores, cells, np.ones((1, len(labels))))[0])


def estimate_correlation(labels: Floats, scores: Floats, cells: NDArray[Any], clusters: NDArray[Any]) -> Estimate:
    """Estimate the rank correlation within the cells, with an interval over source images."""
    values = _correlate(labels, scores, cells, leave_out_weights(clusters))
    return jackknife(values, np.arctanh, np.tanh, _UNDEFINED)


def estimate_gain(
    labels: Floats, scores: Floats, others: Floats, cells: NDArray[Any], clusters: NDArray[Any]
) -> Estimate:
    """Estimate the rank correlation of `scores` less that of `others`, with an interval over source images.

    What was chosen in each fold is held fixed.
    """
    weights = leave_out_weights(clusters)
    gain = _correlate(labels, scores, cells, weights) - _correlate(labels, others, cells, weights)
    return jackknife(gain, lambda values: values, lambda values: values, _UNDEFINED)


def leave_out_weights(clusters: NDArray[Any]) -> Floats:
    """Return the weights of all edits, then without each group of source images, (1 + G, edits)."""
    groups = group_clusters(clusters)
    kept = groups != np.arange(groups.max(initial=-1) + 1)[:, None]
    return np.vstack([np.ones((1, len(groups))), kept])


_UNDEFINED = "too few edits are both rated and scored, or all ratings or scores are equal"


def _correlate(labels: Floats, scores: Floats, cells: NDArray[Any], weights: Floats) -> Floats:
    _, codes = np.unique(cells, return_inverse=True)
    moments = np.zeros((3, len(weights)))
    for cell in range(codes.max(initial=-1) + 1):
        of = codes == cell
        moments = moments + rank_moments(labels[of], scores[of], weights[:, of])
    return correlate(moments)
