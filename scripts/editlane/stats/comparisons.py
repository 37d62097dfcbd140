"""Compare two editors on the items that were scored for both."""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from editlane.stats.intervals import (
    ALPHA,
    FEWEST_CLUSTERS,
    MANY_CLUSTERS,
    Interval,
    cluster_contributions,
    mean_interval,
)

Verdict = Literal["a_better", "b_better", "not_separable", "no_common_items", "too_few"]

POWER = 0.8
FLIPS = 9999
"""Random sign patterns drawn for one test."""

_BATCH_CELLS = 1_000_000


class PairedComparison(TypedDict):
    """Item-by-item comparison of two score columns. Undefined values are null."""

    n: int
    """Items scored for both."""
    left_out: int
    """Items not scored for both."""
    clusters: int
    """Source images among the n items."""
    difference: float | None
    """Mean of a - b."""
    interval: Interval | None
    """95 % bootstrap interval of the difference, resampled by source image."""
    p: float | None
    """Two-sided paired sign-flip permutation test; the differences of one source image flip together."""
    detectable: float | None
    """Smallest true difference detectable with 80 % power at alpha 0.05, given the spread of these differences."""
    verdict: Verdict
    """Decided by p < 0.05; "too_few" below FEWEST_CLUSTERS source images, because p cannot fall below 0.05 there."""


class Comparison(PairedComparison):
    """One row of the report's comparisons: editor a against editor b."""

    a: str
    b: str
    category: str | None
    """None: over all categories."""
    p_holm: float | None
    """p with Holm's correction over the categories of this pair. It decides their verdicts. None overall."""


def compare(a: npt.ArrayLike, b: npt.ArrayLike, clusters: npt.ArrayLike, seed: int = 0) -> PairedComparison:
    """Compare two editors item by item.

    a, b: float64 (n,), the scores of the same n items, NaN = not scored. clusters: (n,), equal if two items share a
    source image. Raises ValueError for arrays of unequal lengths.
    """
    first, second, codes = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), np.asarray(clusters)
    if not len(first) == len(second) == len(codes):
        raise ValueError(f"{len(first)} and {len(second)} scores with {len(codes)} clusters; one of each per item.")
    both = ~np.isnan(first - second)
    differences, codes = (first - second)[both], codes[both]
    count = len(np.unique(codes))
    result: PairedComparison = {
        "n": len(differences),
        "left_out": int((~both).sum()),
        "clusters": count,
        "difference": float(differences.mean()) if count else None,
        "interval": mean_interval(differences, codes, seed),
        "p": None,
        "detectable": _detectable(differences, codes),
        "verdict": "too_few" if count else "no_common_items",
    }
    if count >= FEWEST_CLUSTERS:
        p = sign_flip_p(differences, codes, seed)
        result |= {"p": p, "verdict": _verdict(differences.mean(), p)}
    return result


def compare_all(
    scores: pd.DataFrame, items: pd.DataFrame, editors: Sequence[str], categories: Sequence[str]
) -> list[Comparison]:
    """Compare every pair of editors, in the given order, over all categories and then within each category.

    There is no correction for testing several pairs. scores: columns item_id, editor, score (NaN = not scored), at most
    one row per item and editor. A missing row counts as not scored. items: all items, columns item_id, category,
    cluster. Raises ValueError for a duplicate row.
    """
    items = items.set_index("item_id")[["category", "cluster"]].sort_index()
    table = scores.pivot(index="item_id", columns="editor", values="score").reindex(items.index)
    table = table.reindex(columns=list(editors)).astype(np.float64)
    found: list[Comparison] = []
    for a, b in combinations(editors, 2):
        found.append({"a": a, "b": b, "category": None, "p_holm": None, **_compare(table, items, a, b)})
        rows: list[Comparison] = []
        for category in categories:
            there = (items["category"] == category).to_numpy()
            part = _compare(table[there], items[there], a, b)
            rows.append({"a": a, "b": b, "category": category, "p_holm": None, **part})
        _correct(rows)
        found += rows
    return found


def sign_flip_p(differences: npt.NDArray[np.float64], clusters: npt.ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p of a paired sign-flip permutation test of a zero mean.

    The signs of one cluster flip together. The test is exact if there are at most FLIPS sign patterns; otherwise it
    draws FLIPS random ones, and p is never below 2 / (FLIPS + 1). Above MANY_CLUSTERS clusters it uses the limit, a
    normal distribution with the sum of squares as its variance.
    """
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(codes, differences)
    if not sums.any():
        return 1.0
    if len(sums) > MANY_CLUSTERS:
        return float(2 * stats.norm.sf(abs(sums.sum()) / np.sqrt(np.square(sums).sum())))
    batch = max(1, _BATCH_CELLS // len(sums))
    rng = np.random.default_rng(seed)
    if 2 ** len(sums) <= FLIPS:
        exact = stats.permutation_test(
            (sums,), np.sum, permutation_type="samples", vectorized=True, n_resamples=FLIPS, batch=batch, rng=rng
        )
        return float(exact.pvalue)
    flipped = stats.monte_carlo_test(
        sums,
        lambda size: sums * rng.choice(np.array([-1.0, 1.0]), size),
        np.sum,
        vectorized=True,
        n_resamples=FLIPS,
        batch=batch,
    )
    return float(flipped.pvalue)


def _compare(table: pd.DataFrame, items: pd.DataFrame, a: str, b: str) -> PairedComparison:
    return compare(table[a].to_numpy(), table[b].to_numpy(), items["cluster"].to_numpy())


def _correct(rows: list[Comparison]) -> None:
    """Apply Holm's correction to the categories that have a p, and decide their verdicts by the corrected p."""
    tested = [row for row in rows if row["p"] is not None]
    if tested:
        corrected = multipletests([row["p"] for row in tested], method="holm")[1]
        for row, p in zip(tested, corrected, strict=True):
            row |= {"p_holm": float(p), "verdict": _verdict(row["difference"] or 0.0, float(p))}


def _verdict(difference: float, p: float) -> Verdict:
    if p >= ALPHA:
        return "not_separable"
    return "a_better" if difference > 0 else "b_better"


def _detectable(differences: npt.NDArray[np.float64], clusters: npt.ArrayLike) -> float | None:
    """Return the smallest true difference that a paired t test on the clusters' contributions detects.

    Their spread gives the cluster-robust standard error. Returns None if there are too few clusters.
    """
    contributions = cluster_contributions(differences, clusters, np.zeros(len(differences)))
    if contributions is None:
        return None
    values, _ = contributions  # scaled by sqrt(m / (m - 1)) already, so std() needs no ddof=1
    effect = TTestPower().solve_power(nobs=len(values), alpha=ALPHA, power=POWER)
    return float(effect) * float(values.std())
