"""How well a judge agrees with people, and people with each other.

`ratings` is float (items, systems, raters), `scores` float (items, systems); NaN where there is none. `clusters`
(items,) names each item's source image: the intervals resample source images with everything that belongs to them, so
that every resample holds the same items for all systems and raters. Systems and raters are taken as they are.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import krippendorff
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from editlane.stats.resampled import (
    MIN_ITEMS,
    RESAMPLES,
    Estimate,
    Floats,
    draw_weights,
    estimate,
    fisher_mean,
    ordinal_alphas,
    spearman,
    undefined,
    usable,
)

MIN_SYSTEMS = 3

_DECIMALS = 9
"""Means and differences are rounded to this, so that equal ones are tied in whatever order they were summed."""


class Spearman(TypedDict):
    """Judge against the mean of the raters, over the items of one system."""

    systems: dict[str, Estimate]
    averaged: list[str]
    """The systems in the two averages: those with a value, and not exactly 1 or -1 (arctanh is infinite there)."""
    mean: Estimate
    """tanh of the mean arctanh."""
    tanh_of_mean: Estimate
    """tanh of the mean, without arctanh. Wrong, and too low; for comparison with what VIEScore (arXiv 2312.14867) and
    those who quote it have published."""


class LeaveOneOut(TypedDict):
    """Spearman against the mean of the other raters, per system and rater left out; averaged by arctanh.

    The human value is the ceiling: what a judge can be expected to reach. Judge and raters must face the same others
    for that; against the mean of all raters, which is less noisy, a judge looks better.
    """

    averaged: int
    """Pairs of a system and a rater in the averages: those in which both correlations are usable."""
    human: Estimate
    """The rater who is left out."""
    judge: Estimate
    """The judge, on the same items against the same others."""
    difference: Estimate
    """judge - human."""


class SystemLevel(TypedDict):
    """Systems by their means over the items that are both rated and scored."""

    scores: dict[str, float | None]
    ratings: dict[str, float | None]
    kendall: Estimate
    """tau-b."""
    spearman: Estimate


class Pairwise(TypedDict):
    """Every two systems on the same item: which is better, or are they tied?"""

    pairs: int
    concordant: int
    discordant: int
    tied_by_raters: int
    """Only by them; likewise the next."""
    tied_by_judge: int
    tied_by_both: int
    accuracy: Estimate
    """(concordant + tied by both) / pairs: a tie is an answer like others (Deutsch et al. 2023, arXiv 2305.14324)."""
    accuracy_untied: Estimate
    """concordant / (concordant + discordant)."""
    calibrated: Estimate
    """The best accuracy that is reached if score differences up to a threshold count as ties (tie calibration, ibid.).
    The threshold is chosen on the pairs it is tried on, also in each resample: slightly optimistic."""
    threshold: float | None
    """That threshold, in units of the score."""
    always_tied: Estimate
    """Share of pairs tied by the raters: the accuracy of calling every pair tied."""


class JudgeAgreement(TypedDict):
    items: int
    """With at least one cell."""
    clusters: int
    """Distinct source images among them."""
    cells: int
    """Edits (item x system) that are both rated and scored."""
    spearman: Spearman
    leave_one_out: LeaveOneOut
    system_level: SystemLevel
    pairwise: Pairwise


def rater_agreement(ratings: Floats, clusters: NDArray[Any], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Krippendorff's alpha (ordinal) of the raters; a unit is an edit that two or more of them rated."""
    systems, raters = ratings.shape[1:]
    units = ratings.reshape(-1, raters)
    paired = (~np.isnan(units)).sum(axis=1) >= 2
    if np.isfinite(units).any(axis=0).sum() < 2:
        return undefined("fewer than two raters")
    if paired.reshape(-1, systems).any(axis=1).sum() < MIN_ITEMS:
        return undefined(f"fewer than {MIN_ITEMS} items were rated by two raters")
    units = units[paired]
    if np.nanmin(units) == np.nanmax(units):
        return undefined("all ratings are equal")
    weights = draw_weights(clusters, resamples, seed)
    values = ordinal_alphas(units, np.flatnonzero(paired) // systems, weights)
    values[0] = krippendorff.alpha(units.T, level_of_measurement="ordinal")
    return estimate(values)


def judge_agreement(
    ratings: Floats,
    scores: Floats,
    clusters: NDArray[Any],
    systems: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> JudgeAgreement:
    """One judge against the raters, on the edits that are both rated and scored. `systems` names the second axis."""
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
        "pairwise": _pairwise(people, scores, weights),
    }


def _mean_rating(ratings: Floats) -> Floats:
    """The mean over the last axis, of the raters who rated; NaN where nobody did."""
    count = (~np.isnan(ratings)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.round(np.nansum(ratings, axis=-1) / count, _DECIMALS)
    return mean


def _spearman_per_system(people: Floats, scores: Floats, weights: Floats, systems: Sequence[str]) -> Spearman:
    rhos = np.stack([spearman(x, y, weights) for x, y in zip(people.T, scores.T, strict=True)], axis=-1)
    use = usable(rhos[0])
    averaged = np.where(usable(rhos), rhos, np.nan)[:, use]
    with np.errstate(invalid="ignore"):
        means = np.nansum(averaged, axis=1) / (~np.isnan(averaged)).sum(axis=1)
    why = "no system has a correlation that can be averaged"
    return {
        "systems": {
            system: estimate(rhos[:, place], _why_no_rho(people[:, place], scores[:, place]))
            for place, system in enumerate(systems)
        },
        "averaged": [system for system, used in zip(systems, use, strict=True) if used],
        "mean": estimate(fisher_mean(averaged), why),
        "tanh_of_mean": estimate(np.tanh(means), why),
    }


def _why_no_rho(people: Floats, scores: Floats) -> str:
    there = ~np.isnan(people)
    if there.sum() < MIN_ITEMS:
        return f"fewer than {MIN_ITEMS} items are both rated and scored"
    return "all mean ratings are equal" if np.ptp(people[there]) == 0 else "all scores are equal"


def _leave_one_out(ratings: Floats, scores: Floats, weights: Floats) -> LeaveOneOut:
    human, judge = [], []
    for rater in range(ratings.shape[2]):
        own = ratings[:, :, rater]
        others = np.where(np.isnan(own), np.nan, _mean_rating(np.delete(ratings, rater, axis=2)))
        human += [spearman(x, y, weights) for x, y in zip(own.T, others.T, strict=True)]
        judge += [spearman(x, y, weights) for x, y in zip(scores.T, others.T, strict=True)]
    of_human, of_judge = np.stack(human, axis=-1), np.stack(judge, axis=-1)
    both = usable(of_human) & usable(of_judge)
    both &= both[0]
    person, model = (fisher_mean(np.where(both, rhos, np.nan)) for rhos in (of_human, of_judge))
    why = "on no system do two raters and the judge have correlations that can be averaged"
    return {
        "averaged": int(both[0].sum()),
        "human": estimate(person, why),
        "judge": estimate(model, why),
        "difference": estimate(model - person, why),
    }


def _system_level(people: Floats, scores: Floats, weights: Floats, systems: Sequence[str]) -> SystemLevel:
    there = ~np.isnan(people)
    with np.errstate(invalid="ignore"):
        rated, scored = (
            np.round(weights @ np.where(there, values, 0) / (weights @ there), _DECIMALS) for values in (people, scores)
        )
    present = there.any(axis=0)
    if present.sum() < MIN_SYSTEMS:
        tau = rho = undefined(f"fewer than {MIN_SYSTEMS} systems are both rated and scored")
    elif there.any(axis=1).sum() < MIN_ITEMS:
        tau = rho = undefined(f"fewer than {MIN_ITEMS} items are both rated and scored")
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
    """The rank correlation of each row (systems,); NaN for a constant, or where a system has no mean."""
    usable_rows = np.flatnonzero((np.ptp(rated, axis=1) > 0) & (np.ptp(scored, axis=1) > 0))  # NaN is not above 0
    ranks = np.stack([stats.rankdata(means[usable_rows], axis=1) for means in (rated, scored)], axis=1)
    different, place = np.unique(ranks, axis=0, return_inverse=True)  # few: most resamples rank the systems alike
    values = np.full(len(rated), np.nan)
    if len(usable_rows):
        values[usable_rows] = np.array([correlation(x, y).statistic for x, y in different])[place.ravel()]
    return values


def _by_system(values: Floats, systems: Sequence[str]) -> dict[str, float | None]:
    return {system: None if np.isnan(v) else float(v) for system, v in zip(systems, values, strict=True)}


def _pairwise(people: Floats, scores: Floats, weights: Floats) -> Pairwise:
    first, second = np.triu_indices(people.shape[1], 1)
    differences = people[:, first] - people[:, second]
    item, pair = np.nonzero(~np.isnan(differences))
    raters = np.round(differences[item, pair], _DECIMALS)
    judge = np.round((scores[:, first] - scores[:, second])[item, pair], _DECIMALS)

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
            return undefined(why) if why else estimate(part / whole, otherwise)

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
    """Right answers with each row's best threshold, and the first row's threshold. `item` (pairs,) is a pair's item."""
    if not len(item):
        return np.zeros(len(weights)), None
    order = np.argsort(np.abs(judge), kind="stable")
    sizes, tied, right = np.abs(judge)[order], (raters == 0)[order], (raters * judge > 0)[order]
    last = np.flatnonzero(np.diff(sizes, append=np.inf))  # a threshold takes in all pairs of its size
    thresholds = sizes[last]
    if thresholds[0] > 0:  # the threshold 0, which then ties no pair
        last, thresholds = np.append(-1, last), np.append(0.0, thresholds)
    best, chosen = np.empty(len(weights)), 0
    for row, per_item in enumerate(weights):
        drawn = per_item[item[order]]
        gain = np.append(np.cumsum(drawn * tied - drawn * right), 0.0)[last]  # place -1, the end, is "no pair"
        best[row] = gain.max() + drawn @ right
        chosen = chosen if row else int(gain.argmax())
    return best, float(thresholds[chosen])
