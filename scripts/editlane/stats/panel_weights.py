"""Fit the weights of a panel to people's ratings, and measure on other photos whether they are worth it."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from editlane.stats.held_out import FOLDS, assign_folds, choose_in_folds, estimate_correlation, estimate_gain
from editlane.stats.resampled import Estimate, Floats


class PanelWeights(TypedDict):
    """Weights of judges, fitted to the edits that people rated and all judges scored."""

    edits: int
    photos: int
    """Source images of these."""
    weights: dict[str, float]
    """Of all edits. They are 0 or more and sum to 1."""
    spread: dict[str, tuple[float, float]]
    """Smallest and largest weight over the folds."""
    weighted: Estimate
    """Spearman's rho with people within editor and fold, each fold with the weights of the others."""
    mean: Estimate
    """The same of the plain mean."""
    gain: Estimate
    """The first less the second."""
    shown: bool
    """True if the interval of the gain is above 0."""


def fit_weights(labels: Floats, scores: Floats, editors: NDArray[Any]) -> Floats:
    """Fit weights (judges,) of 0 or more with the sum 1, so that the weighted mean follows people's ratings.

    Least squares with factors that are not negative (Lawson and Hanson, Solving Least Squares Problems, 1974), of
    labels on scores (edits, judges), less their means of each editor. Dividing the factors by their sum leaves people's
    scale out. Equal weights if no judge follows people.
    """
    y, x = np.array(labels, dtype=np.float64), np.array(scores, dtype=np.float64)
    for editor in np.unique(editors):
        of = editors == editor
        y[of], x[of] = y[of] - y[of].mean(), x[of] - x[of].mean(axis=0)
    found: Floats = nnls(x, y)[0] if len(y) else np.zeros(x.shape[1])
    total = found.sum()
    return found / total if total > 0 else np.full(x.shape[1], 1 / x.shape[1])


def cross_validate(
    labels: Floats, scores: Floats, clusters: NDArray[Any], editors: NDArray[Any], judges: Sequence[str]
) -> PanelWeights:
    """Fit the weights, and measure them on photos that they were not fitted to.

    labels, clusters and editors: (edits,). scores: (edits, judges). Edits with a NaN are left out.
    """
    there = ~np.isnan(labels + scores.sum(axis=1))
    labels, scores, clusters = labels[there], scores[there], clusters[there]
    _, editor = np.unique(np.asarray(editors, dtype=str)[there], return_inverse=True)
    folds = assign_folds(clusters)
    held_out, of_folds = choose_in_folds(
        scores, folds, lambda known: fit_weights(labels[known], scores[known], editor[known])
    )
    mean, cells = scores.mean(axis=1), editor * FOLDS + folds
    gain = estimate_gain(labels, held_out, mean, cells, clusters)
    return {
        "edits": len(labels),
        "photos": len(np.unique(clusters)),
        "weights": dict(zip(judges, fit_weights(labels, scores, editor).tolist(), strict=True)),
        "spread": {judge: (float(of.min()), float(of.max())) for judge, of in zip(judges, of_folds.T, strict=True)},
        "weighted": estimate_correlation(labels, held_out, cells, clusters),
        "mean": estimate_correlation(labels, mean, cells, clusters),
        "gain": gain,
        "shown": gain["interval"] is not None and gain["interval"][0] > 0,
    }
