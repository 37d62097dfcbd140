"""Measure how well a judge agrees with people, and people with each other.

`ratings` is float (items, systems, raters) and `scores` float (items, systems); NaN marks a missing value. `clusters`
(items,) identifies each item's source image. The intervals resample source images with all their items, so that each
resample holds the same items for all systems and raters. Systems and raters are not resampled.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import evalica
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from editlane.stats.pairwise import Pairwise, compare_pairwise
from editlane.stats.resampled import (
    DECIMALS,
    MIN_ITEMS,
    RESAMPLES,
    Estimate,
    Floats,
    correlate,
    draw_weights,
    estimate,
    fisher_mean,
    has_finite_arctanh,
    ordinal_alphas,
    rank_moments,
    spearman,
    undefined_estimate,
)

MIN_SYSTEMS = 3


class Spearman(TypedDict):
    """Judge against the mean of the raters, over the items of one system."""

    systems: dict[str, Estimate]
    averaged: list[str]
    """The systems in the two averages: defined, and not exactly 1 or -1, because arctanh is infinite there."""
    mean: Estimate
    """tanh of the mean arctanh."""
    pooled: Estimate
    """The correlation within the systems, all of them together; see `resampled.correlate`."""
    tanh_of_mean: Estimate
    """tanh of the mean, without arctanh: wrong, and too low. It allows a comparison with the numbers of VIEScore
    (arXiv 2312.14867) and of papers that quote it."""


class LeaveOneOut(TypedDict):
    """Spearman against the mean of the other raters, within the systems, over all raters left out.

    The human value is the ceiling that a judge can be expected to reach. It is comparable only if both are held against
    the same other raters. The mean of all raters is less noisy and flatters the judge.
    """

    pooled: int
    """Pairs of a system and a rater in which ratings, scores and the others' ratings all differ between items."""
    human: Estimate
    """The rater who is left out."""
    judge: Estimate
    """The judge, on the same items, against the same other raters."""
    difference: Estimate
    """judge - human."""


class SystemLevel(TypedDict):
    """Systems by their means over the items that are both rated and scored."""

    scores: dict[str, float | None]
    ratings: dict[str, float | None]
    kendall: Estimate
    """tau-b."""
    spearman: Estimate


class JudgeAgreement(TypedDict):
    items: int
    """Items with at least one cell."""
    clusters: int
    """Distinct source images among these items."""
    cells: int
    """Edits (item x system) that are both rated and scored."""
    spearman: Spearman
    leave_one_out: LeaveOneOut
    system_level: SystemLevel
    pairwise: Pairwise


def measure_rater_agreement(
    ratings: Floats, clusters: NDArray[Any], *, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Compute Krippendorff's ordinal alpha of the raters. A unit is an edit rated by two or more of them."""
    systems, raters = ratings.shape[1:]
    units = ratings.reshape(-1, raters)
    paired = (~np.isnan(units)).sum(axis=1) >= 2
    if np.isfinite(units).any(axis=0).sum() < 2:
        return undefined_estimate("fewer than two raters")
    if paired.reshape(-1, systems).any(axis=1).sum() < MIN_ITEMS:
        return undefined_estimate(f"fewer than {MIN_ITEMS} items were rated by two raters")
    units = units[paired]
    if np.nanmin(units) == np.nanmax(units):
        return undefined_estimate("all ratings are equal")
    weights = draw_weights(clusters, resamples, seed)
    values = ordinal_alphas(units, np.flatnonzero(paired) // systems, weights)
    values[0] = evalica.alpha(pd.DataFrame(units.T), distance="ordinal").alpha
    return estimate(values)


def measure_judge_agreement(
    ratings: Floats,
    scores: Floats,
    clusters: NDArray[Any],
    systems: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> JudgeAgreement:
    """Compare one judge with the raters on the edits both rated and scored. `systems` names the second axis."""
    ratings = np.where(np.isnan(scores)[:, :, None], np.nan, ratings)
    people = _mean_rating(ratings)
    there = ~np.isnan(people)
    scores = np.where(there, scores, np.nan)
    weights = draw_weights(clusters, resamples, seed)
    return {
        "items": int(there.any(axis=1).sum()),
        "clusters": len(np.unique(clusters[there.any(axis=1)])),
        "cells": int(there.sum()),
        "spearman": _spearman_per_system(people, scores, weights, systems),
        "leave_one_out": _leave_one_out(ratings, scores, weights),
        "system_level": _system_level(people, scores, weights, systems),
        "pairwise": compare_pairwise(people, scores, weights),
    }


def _mean_rating(ratings: Floats) -> Floats:
    """Average the ratings over the last axis, ignoring NaN; NaN without a rating."""
    count = (~np.isnan(ratings)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.round(np.nansum(ratings, axis=-1) / count, DECIMALS)
    return mean


def _spearman_per_system(people: Floats, scores: Floats, weights: Floats, systems: Sequence[str]) -> Spearman:
    rhos = np.stack([spearman(x, y, weights) for x, y in zip(people.T, scores.T, strict=True)], axis=-1)
    use = has_finite_arctanh(rhos[0])
    averaged = np.where(has_finite_arctanh(rhos), rhos, np.nan)[:, use]
    with np.errstate(invalid="ignore"):
        means = np.nansum(averaged, axis=1) / (~np.isnan(averaged)).sum(axis=1)
    why = "no system has a correlation that can be averaged"
    return {
        "systems": {
            system: estimate(rhos[:, place], _explain_missing_rho(people[:, place], scores[:, place]))
            for place, system in enumerate(systems)
        },
        "averaged": [system for system, used in zip(systems, use, strict=True) if used],
        "mean": estimate(fisher_mean(averaged), why),
        "pooled": estimate(correlate(_add_moments(people, scores, weights)), "no system has a correlation"),
        "tanh_of_mean": estimate(np.tanh(means), why),
    }


def _explain_missing_rho(people: Floats, scores: Floats) -> str:
    there = ~np.isnan(people)
    if there.sum() < MIN_ITEMS:
        return f"fewer than {MIN_ITEMS} items are both rated and scored"
    return "all mean ratings are equal" if np.ptp(people[there]) == 0 else "all scores are equal"


def _add_moments(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Add the rank moments of x and y (items, systems) up over the systems, (3, B)."""
    moments = [rank_moments(of_x, of_y, weights) for of_x, of_y in zip(x.T, y.T, strict=True)]
    return np.sum(moments, axis=0) if moments else np.zeros((3, len(weights)))


def _leave_one_out(ratings: Floats, scores: Floats, weights: Floats) -> LeaveOneOut:
    human, judge, pooled = np.zeros((3, len(weights))), np.zeros((3, len(weights))), 0
    for rater in range(ratings.shape[2]):
        own = ratings[:, :, rater]
        others = np.where(np.isnan(own), np.nan, _mean_rating(np.delete(ratings, rater, axis=2)))
        for person, model, rest in zip(own.T, scores.T, others.T, strict=True):
            of_person, of_model = (rank_moments(values, rest, weights) for values in (person, model))
            human, judge = human + of_person, judge + of_model
            pooled += bool(of_person[1:, 0].all() and of_model[1:, 0].all())
    of_human, of_judge = correlate(human), correlate(judge)
    why = "on no system do the ratings of two raters and the scores all differ between items"
    return {
        "pooled": pooled,
        "human": estimate(of_human, why),
        "judge": estimate(of_judge, why),
        "difference": estimate(of_judge - of_human, why),
    }


def _system_level(people: Floats, scores: Floats, weights: Floats, systems: Sequence[str]) -> SystemLevel:
    there = ~np.isnan(people)
    with np.errstate(invalid="ignore"):
        rated, scored = (
            np.round(weights @ np.where(there, values, 0) / (weights @ there), DECIMALS) for values in (people, scores)
        )
    present = there.any(axis=0)
    if present.sum() < MIN_SYSTEMS:
        tau = rho = undefined_estimate(f"fewer than {MIN_SYSTEMS} systems are both rated and scored")
    elif there.any(axis=1).sum() < MIN_ITEMS:
        tau = rho = undefined_estimate(f"fewer than {MIN_ITEMS} items are both rated and scored")
    else:
        why = "all systems have the same mean"
        tau = estimate(_rank_systems(stats.kendalltau, rated[:, present], scored[:, present]), why)
        rho = estimate(_rank_systems(stats.spearmanr, rated[:, present], scored[:, present]), why)
    return {
        "scores": _by_system(scored[0], systems),
        "ratings": _by_system(rated[0], systems),
        "kendall": tau,
        "spearman": rho,
    }


def _rank_systems(correlation: Any, rated: Floats, scored: Floats) -> Floats:
    """Compute the rank correlation of each row (systems,). NaN if a row is constant or a system has no mean."""
    usable_rows = np.flatnonzero((np.ptp(rated, axis=1) > 0) & (np.ptp(scored, axis=1) > 0))  # NaN is not above 0
    ranks = np.stack([stats.rankdata(means[usable_rows], axis=1) for means in (rated, scored)], axis=1)
    different, place = np.unique(ranks, axis=0, return_inverse=True)  # few: most resamples rank the systems alike
    values = np.full(len(rated), np.nan)
    if len(usable_rows):
        values[usable_rows] = np.array([correlation(x, y).statistic for x, y in different])[place.ravel()]
    return values


def _by_system(values: Floats, systems: Sequence[str]) -> dict[str, float | None]:
    return {system: None if np.isnan(v) else float(v) for system, v in zip(systems, values, strict=True)}
