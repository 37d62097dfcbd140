"""Compare two editors on the items that were scored for both."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from editlane.core.types import SCALE
from editlane.stats.intervals import ALPHA, Inference, Interval, find_least_p, infer_mean

Verdict = Literal[
    "a_better", "b_better", "not_separable", "no_common_items", "too_few", "not_believed", "prefers", "drift"
]
"""`not_believed` and `prefers` are the report's, which knows the judge; `drift` is that of a comparison of runs."""

POWER = 0.8

REACH = SCALE[1] - SCALE[0]
"""Largest difference of two scores."""


class PairedComparison(TypedDict):
    """Item-by-item comparison of two score columns. Undefined values are null."""

    n: int
    """Items scored for both."""
    left_out: int
    """Items not scored for both."""
    clusters: int
    """Source images among the n items."""
    difference: float | None
    """Mean of a - b over the groups' means (macro)."""
    interval: Interval | None
    """95 % interval of the difference; see intervals.infer_mean."""
    p: float | None
    """Two-sided, of no difference, from the same distribution as the interval. Null if `too_few`."""
    bounds: Interval | None
    """The difference over all items if those without a score had got the scores that favour b most, and a most."""
    detectable: float | None
    """Smallest true difference that is found with 80 % power by the p that decides, given the spread of these."""
    verdict: Verdict
    """Decided by p < 0.05; "too_few" without an interval, and where a few images that are not in the sample could
    reverse the difference."""


class Comparison(PairedComparison):
    """One row of the report's comparisons: editor a against editor b."""

    a: str
    b: str
    category: str | None
    """None: the macro mean over all categories."""
    p_holm: float | None
    """p with Holm's correction, which decides: over all pairs of editors, or over all pairs and categories."""


Compared = tuple[Comparison, Inference | None]
"""A comparison, and what its verdict is decided by."""


def compare(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    scale: Interval | None = (-REACH, REACH),
    seed: int = 0,
) -> PairedComparison:
    """Compare two editors item by item.

    a, b: float64 (n,), the scores of the same n items, NaN = not scored. clusters: (n,), equal if two items share a
    source image. groups: (n,), the items' categories, which weigh the same; without them all items do. scale: the
    smallest and the largest difference; None if scores of this kind have no rare outliers. Raises ValueError for arrays
    of unequal lengths.
    """
    return _compare(a, b, clusters, groups, scale, seed)[0]


def _compare(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: npt.ArrayLike,
    groups: npt.ArrayLike | None,
    scale: Interval | None,
    seed: int = 0,
) -> tuple[PairedComparison, Inference | None]:
    first, second, codes = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), np.asarray(clusters)
    if not len(first) == len(second) == len(codes):
        raise ValueError(f"{len(first)} and {len(second)} scores with {len(codes)} clusters; one of each per item.")
    _, group = np.unique(np.zeros(len(first)) if groups is None else np.asarray(groups), return_inverse=True)
    both = ~np.isnan(first - second)
    differences, kept = (first - second)[both], np.unique(group[both])
    inferred = None
    if len(kept) and len(kept) == group.max(initial=-1) + 1:  # else the mean would be of fewer groups
        inferred = infer_mean(differences, codes[both], group[both], scale=scale, seed=seed)
    result: PairedComparison = {
        "n": len(differences),
        "left_out": int((~both).sum()),
        "clusters": len(np.unique(codes[both])),
        "difference": _macro_mean(differences, group[both]) if len(kept) else None,
        "interval": inferred.interval if inferred else None,
        "p": None,
        "bounds": _bound(first, second, group),
        "detectable": None,
        "verdict": "too_few" if len(kept) else "no_common_items",
    }
    _decide(result, inferred, inferred.p if inferred else None, tests=1)
    return result, inferred


def compare_all(
    scores: pd.DataFrame,
    items: pd.DataFrame,
    editors: Sequence[str],
    categories: Sequence[str],
    headline: Collection[str] | None = None,
) -> list[Comparison]:
    """Compare every pair of editors, in the given order, by the macro mean and then within each category.

    The macro mean is over the categories in `headline`, or over all. Only these categories are corrected for one
    another.

    scores: columns item_id, editor, score (NaN = not scored), at most one row per item and editor. A missing row counts
    as not scored. items: all items, columns item_id, category, cluster and optionally `readable`: an item whose source
    cannot be read counts in no bound, because no editor can edit it. Raises ValueError for a duplicate row.
    """
    items = items.assign(readable=items.get("readable", True)).set_index("item_id").sort_index()
    table = scores.pivot(index="item_id", columns="editor", values="score").reindex(items.index)
    table = table.reindex(columns=list(editors)).astype(np.float64)
    named = items["category"].astype(str).to_numpy()
    every = np.full(len(items), True) if headline is None else np.isin(named, list(headline))
    found = [
        one
        for a, b in combinations(editors, 2)
        for one in compare_pair((a, b), table[a].to_numpy(), table[b].to_numpy(), items, categories, every)
    ]
    correct([one for one in found if one[0]["category"] is None])
    of_category = [one for one in found if one[0]["category"] is not None]
    correct([one for one in of_category if headline is None or one[0]["category"] in headline])
    return [comparison for comparison, _ in found]


def compare_pair(
    names: tuple[str, str],
    a: npt.NDArray[np.float64],
    b: npt.NDArray[np.float64],
    items: pd.DataFrame,
    categories: Sequence[str],
    every: npt.NDArray[np.bool_],
) -> list[Compared]:
    """Compare two columns of scores by the macro mean of the items in `every`, and then within each category.

    a, b: float64 (n,), the scores of the n `items`, NaN = not scored. items: columns category, cluster and `readable`.
    every: bool (n,). `correct` still has to decide.
    """
    named, clusters = items["category"].astype(str).to_numpy(), items["cluster"].to_numpy()
    is_readable = items["readable"].to_numpy(dtype=bool)
    found: list[Compared] = []
    for category in (None, *categories):
        there = every if category is None else named == category
        part, inferred = _compare(a[there], b[there], clusters[there], named[there], (-REACH, REACH))
        readable = there & is_readable
        part["bounds"] = _bound(a[readable], b[readable], named[readable])
        found.append(({"a": names[0], "b": names[1], "category": category, "p_holm": None, **part}, inferred))
    return found


def correct(family: Sequence[Compared]) -> None:
    """Apply Holm's correction to the comparisons of one family, and decide their verdicts by the corrected p."""
    tested = [(comparison, inferred) for comparison, inferred in family if inferred]
    if tested:
        corrected = multipletests([inferred.p for _, inferred in tested], method="holm")[1]
        for (comparison, inferred), p in zip(tested, map(float, corrected), strict=True):
            _decide(comparison, inferred, p, tests=len(tested))
            comparison["p_holm"] = None if comparison["p"] is None else p


def _decide(row: PairedComparison, inferred: Inference | None, p: float | None, *, tests: int) -> None:
    """Fill in the verdict at this p, and what could have been detected as the smallest of so many tests."""
    if inferred is None or p is None:
        return
    row["detectable"] = _detect(inferred, row["clusters"], tests)
    if inferred.p < ALPHA and inferred.reversible:
        row["verdict"], row["p"] = "too_few", None
        return
    row["p"] = inferred.p
    row["verdict"] = "not_separable" if p >= ALPHA else "a_better" if inferred.mean > 0 else "b_better"


def _macro_mean(values: npt.NDArray[np.float64], group: npt.NDArray[np.intp]) -> float:
    counts = np.bincount(group)
    return float((np.bincount(group, values)[counts > 0] / counts[counts > 0]).mean())


def _bound(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], groups: npt.NDArray[Any]) -> Interval | None:
    if not len(a):
        return None
    _, group = np.unique(groups, return_inverse=True)
    low, high = (np.where(np.isnan(a), of_a, a) - np.where(np.isnan(b), of_b, b) for of_a, of_b in (SCALE, SCALE[::-1]))
    return _macro_mean(low, group), _macro_mean(high, group)


def _detect(inferred: Inference, clusters: int, tests: int) -> float | None:
    """Return the difference that is detected at the level of the smallest of `tests` p values.

    It is that of a paired t test, or a larger one that exceeds the bootstrap's critical values (their mean over both
    sides), or that the unseen images cannot reverse, with the same power. Null if all differences agree, or if so few
    images cannot give so small a p, however large the difference.
    """
    if not inferred.error or find_least_p(clusters) * tests >= ALPHA:
        return None
    level, power = ALPHA / tests, float(stats.norm.ppf(POWER))
    effect = _solve_power(clusters, level)
    if len(inferred.pivots):
        critical = float(np.abs(np.quantile(inferred.pivots, (level / 2, 1 - level / 2), method="nearest")).mean())
        effect = max(effect, critical + power if np.isfinite(critical) else 0.0)
    return float(max(effect * inferred.error, inferred.unseen + power * inferred.error))


@lru_cache(maxsize=1000)
def _solve_power(clusters: int, level: float) -> float:
    """Return the smallest mean that a t test detects, in standard errors."""
    effect = TTestPower().solve_power(nobs=clusters, alpha=level, power=POWER)
    return float(np.ravel(effect)[0] * np.sqrt(clusters))  # an array where its first solver does not converge
