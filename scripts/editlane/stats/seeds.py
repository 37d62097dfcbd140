"""Split the variance of scores into that of items, of seeds and of the judge.

One-way random effects with unequal group sizes, by analysis of variance (Searle, Casella and McCulloch, Variance
Components, 1992): the score of a sample is the mean of its category, plus an effect of its item, plus one of its seed,
plus the judge's noise. Intervals leave out source images with all their items.
"""

from typing import TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from editlane.stats.jackknife import ROUNDING, group_clusters, jackknife, leave_out
from editlane.stats.resampled import MIN_ITEMS, Estimate, Floats, undefined_estimate


class SeedSpread(TypedDict):
    """The spread of one editor's scores by one judge. Standard deviations are in points of the 0..10 scale."""

    items: int
    """Items with two scored samples or more. Others are left out."""
    samples: int
    """Scored samples of these items."""
    equal_edits: int
    """Items whose samples are all the same picture, to the byte; an editor that ignores its seed has nothing else."""
    item_sd: Estimate
    """Of the items of one category, without seeds and noise."""
    seed_sd: Estimate
    """Of the samples of one item, without the judge's noise."""
    judge_sd: float | None
    """Of the judge's answers to one question. Null if no edit was asked about twice; `seed_sd` then includes it."""
    seed_share: Estimate
    """Share of the variance within a category that seeds and the judge's noise make, 0..1."""
    interval_width: Estimate
    """Width of the mean's interval with these samples, relative to that with one sample of each item."""


def measure_seeds(rows: pd.DataFrame, judge_sd: float | None) -> SeedSpread:
    """Split the variance of one editor's scores by one judge.

    rows: one per sample, columns item, category, cluster (the source image), score (NaN = not scored) and
    edited_sha256. `judge_sd`: see SeedSpread.
    """
    scored = rows.dropna(subset="score")
    items = scored.groupby("item", sort=True, observed=True).agg(
        n=("score", "size"),
        mean=("score", "mean"),
        variance=("score", "var"),
        category=("category", "first"),
        cluster=("cluster", "first"),
        pictures=("edited_sha256", "nunique"),
    )
    items = items[items["n"] > 1]
    found: SeedSpread = {
        "items": len(items),
        "samples": int(items["n"].sum()),
        "equal_edits": int((items["pictures"] == 1).sum()),
        "item_sd": undefined_estimate(_TOO_FEW),
        "seed_sd": undefined_estimate(_TOO_FEW),
        "judge_sd": judge_sd,
        "seed_share": undefined_estimate(_TOO_FEW),
        "interval_width": undefined_estimate(_TOO_FEW),
    }
    if len(items) >= MIN_ITEMS + items["category"].nunique() - 1:
        within, between = _compute_variances(items, group_clusters(items["cluster"].to_numpy()))
        size = float(items["n"].mean())
        seeds = within - (judge_sd or 0.0) ** 2
        share = _estimate_share(within, between, size)
        found |= {
            "item_sd": _estimate_deviation(between, "items differ no more than their samples do"),
            "seed_sd": _estimate_deviation(seeds, "samples differ no more than the judge's answers to one question do"),
            "seed_share": share,
            "interval_width": _relate_width(share, size),
        }
    return found


_TOO_FEW = "too few items with two scored samples"


def _compute_variances(items: pd.DataFrame, groups: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """Return the variances within and between items, of all items and then without each group, (1 + G,) each."""
    n, mean = (items[name].to_numpy(dtype=np.float64) for name in ("n", "mean"))
    mean = mean - mean.mean()  # sums of squares of large numbers would lose digits
    codes = pd.factorize(items["category"])[0]
    in_category = (codes[:, None] == np.arange(codes.max() + 1)).astype(np.float64)
    parts = [one[:, None] * in_category for one in (n * mean**2, n * mean, n, n**2, np.ones(len(n)))]
    within_parts = np.column_stack([(n - 1) * items["variance"].to_numpy(dtype=np.float64), n - 1])
    squares, freedom = leave_out(within_parts, groups).T
    square, total, count, count_squared, number = (leave_out(part, groups) for part in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        within = squares / freedom
        there = count > 0
        spread = np.where(there, square - total**2 / count, 0).sum(axis=1)
        uneven = np.where(there, count_squared / count, 0).sum(axis=1)
        free = number.sum(axis=1) - there.sum(axis=1)
        size = (count.sum(axis=1) - uneven) / free
        between = (spread / free - within) / size
    return within, between


def _estimate_deviation(variance: Floats, if_none: str) -> Estimate:
    """Estimate a standard deviation, with its interval on the scale of logarithms. 0 if the variance is not above 0."""
    if variance[0] <= ROUNDING:
        return {"value": 0.0, "interval": None, "why": f"no interval: {if_none}"}
    return jackknife(np.sqrt(np.maximum(variance, 0)), np.log, np.exp, _TOO_FEW)


def _estimate_share(within: Floats, between: Floats, size: float) -> Estimate:
    """Estimate 1 - the intraclass correlation, with its interval on the scale of Fisher's z for `size` samples each."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(within + between > ROUNDING, within / (within + between), np.nan)
    others = size - 1
    found = jackknife(
        share,
        lambda share: np.log((1 + others * (1 - share)) / share),
        lambda z: 1 - (np.exp(z) - 1) / (np.exp(z) + others),
        "all scores are equal",
    )
    value, ends = found["value"], found["interval"]
    return {
        "value": None if value is None else min(1.0, max(0.0, value)),
        "interval": None if ends is None else (min(1.0, max(0.0, ends[0])), min(1.0, max(0.0, ends[1]))),
        "why": found["why"],
    }


def _relate_width(share: Estimate, size: float) -> Estimate:
    """Relate the standard error of a mean of `size` samples an item to that of one: root(1 - share + share / size).

    This is for the mean of all items as a sample of more. It is 1 if seeds change nothing.
    """

    def relate(share: float) -> float:
        return float(np.sqrt(1 - share + share / size))

    value, ends = share["value"], share["interval"]
    return {
        "value": None if value is None else relate(value),
        "interval": None if ends is None else (relate(ends[1]), relate(ends[0])),
        "why": share["why"],
    }
