"""Measure several judges, and what combines them, against people's ratings of the same edits."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from editlane.stats.held_out import (
    FOLDS,
    assign_folds,
    choose_in_folds,
    estimate_correlation,
    estimate_gain,
    rank_correlation,
)
from editlane.stats.jackknife import group_clusters, jackknife
from editlane.stats.panel import count_effective, pearson, round_ends
from editlane.stats.resampled import Estimate, Floats


class PanelPeople(TypedDict):
    """Judges and their combination on the edits that people rated and all of them scored."""

    edits: int
    photos: int
    """Source images of these."""
    judges: dict[str, Estimate]
    """Spearman's rho with the mean rating, of the edits of one editor, all editors together."""
    combined: Estimate
    """The same of the panel."""
    gain: Estimate
    """The panel's less that of its best judge, which is the best on other photos than it is measured on. Ranks are
    those within editor and fold."""
    best: dict[str, int]
    """In how many folds a judge is the best on the others."""
    error_correlation: Estimate
    """Mean correlation of two judges' errors: of their scores, at equal ratings."""
    effective_judges: Estimate
    """Judges with errors of their own; see `panel.count_effective`. At least so many: the raters' own noise makes
    errors look shared."""


def compare_with_people(
    labels: Floats,
    scores: Floats,
    combined: Floats,
    clusters: NDArray[Any],
    editors: NDArray[Any],
    judges: Sequence[str],
) -> PanelPeople:
    """Compare judges with people.

    labels: (edits,), mean ratings. scores: (edits, judges). combined: (edits,), the panel's scores. clusters and
    editors: (edits,). NaN = missing; edits with any of them missing are left out.
    """
    there = ~np.isnan(labels + combined + scores.sum(axis=1))
    labels, scores, combined, clusters, editors = (
        one[there] for one in (labels, scores, combined, clusters, np.asarray(editors, dtype=str))
    )
    _, editor = np.unique(editors, return_inverse=True)
    folds = assign_folds(clusters)

    def choose(known: NDArray[np.bool_]) -> Floats:
        rhos = [rank_correlation(labels[known], one[known], editor[known]) for one in scores.T]
        best: Floats = np.eye(len(judges))[int(np.argmax(np.nan_to_num(rhos, nan=-2.0)))]
        return best

    best, chosen = choose_in_folds(scores, folds, choose)
    cells = editor * FOLDS + folds
    errors = _correlate_errors(labels, scores, clusters)
    count = Counter(judges[place] for place in chosen.argmax(axis=1))
    return {
        "edits": len(labels),
        "photos": len(np.unique(clusters)),
        "judges": {
            judge: estimate_correlation(labels, one, editor, clusters)
            for judge, one in zip(judges, scores.T, strict=True)
        },
        "combined": estimate_correlation(labels, combined, editor, clusters),
        "gain": estimate_gain(labels, combined, best, cells, clusters),
        "best": {judge: count[judge] for judge in judges if count[judge]} if len(labels) else {},
        "error_correlation": errors,
        "effective_judges": count_effective(errors, len(judges)),
    }


def _correlate_errors(labels: Floats, scores: Floats, clusters: NDArray[Any]) -> Estimate:
    """Estimate the mean over pairs of judges of their partial correlation, given the rating."""
    groups = group_clusters(clusters)
    with_people = [pearson(one, labels, groups) for one in scores.T]
    partial = []
    for a, b in combinations(range(scores.shape[1]), 2):
        of_a, of_b = with_people[a], with_people[b]
        with np.errstate(invalid="ignore", divide="ignore"):
            left = np.sqrt((1 - of_a**2) * (1 - of_b**2))
            partial.append((pearson(scores[:, a], scores[:, b], groups) - of_a * of_b) / left)
    mean = np.clip(round_ends(np.mean(partial, axis=0)), -1, 1)
    return jackknife(mean, np.arctanh, np.tanh, "too few edits, or a judge's scores are all equal or without error")
