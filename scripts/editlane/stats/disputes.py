"""Find where judges disagree: which edits, categories and editors, which states, and which order of two editors."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypedDict

import numpy as np
import pandas as pd

from editlane.core.types import SCALE
from editlane.stats.acceptance import ASKED
from editlane.stats.comparisons import compare
from editlane.stats.intervals import Interval, mean_interval, rate_interval
from editlane.stats.resampled import Floats

MOST_DISPUTED = 20
"""Edits that are listed by name."""


class Disagreement(TypedDict):
    """The range of an edit's scores, the highest less the lowest, over edits that two judges or more scored."""

    n: int
    mean: float | None
    """Points of 0..10. A judge that is more lenient than another adds to it."""
    interval: Interval | None


class DisputedEdit(TypedDict):
    item_id: str
    category: str
    editor: str
    range: float
    """The highest score less the lowest."""
    sd: float
    """Sample standard deviation over the judges."""
    scores: dict[str, float | None]


class StateDisputes(TypedDict):
    """Edits that some judges scored and others did not."""

    n: int
    """Edits that all judges were asked about."""
    split: int
    """Those with a score by some judges, but not by all."""
    interval: Interval | None
    """95 % Wilson interval of split / n."""
    unscored: dict[str, int]
    """Of the split ones, those without a score, by judge."""


class Difference(TypedDict):
    difference: float | None
    """Macro mean of a - b over the categories."""
    interval: Interval | None


class Order(TypedDict):
    """Two editors on the items that all judges scored for both."""

    a: str
    b: str
    n: int
    differences: dict[str, Difference]
    """By judge."""
    swaps: list[tuple[str, str]]
    """Pairs of judges for which the other editor is better. Both intervals leave out 0."""


def spread_scores(rows: pd.DataFrame, judges: Sequence[str]) -> pd.DataFrame:
    """Return a row for each edit: item_id, category, editor, cluster, and a column of scores for each judge (NaN).

    rows: item_id, category, editor, judge, cluster, score (NaN unless scored).
    """
    named = rows[rows["judge"].isin(judges)].astype({"item_id": str, "category": str, "editor": str, "judge": str})
    wide = named.pivot(index=["item_id", "category", "editor", "cluster"], columns="judge", values="score")
    return wide.reindex(columns=list(judges)).astype(np.float64).reset_index()


def measure_disagreement(edits: pd.DataFrame, judges: Sequence[str]) -> Disagreement:
    """Compute the mean range of the scores of each edit. `edits`: see `spread_scores`."""
    scores = edits[list(judges)].to_numpy()
    paired = (~np.isnan(scores)).sum(axis=1) >= 2
    ranges = _find_ranges(scores[paired])
    return {
        "n": len(ranges),
        "mean": float(ranges.mean()) if len(ranges) else None,
        "interval": mean_interval(ranges, edits["cluster"].to_numpy()[paired], SCALE),
    }


def _find_ranges(scores: Floats) -> Floats:
    if not len(scores):
        return np.empty(0)
    ranges: Floats = np.nanmax(scores, axis=1) - np.nanmin(scores, axis=1)
    return ranges


def list_disputed(edits: pd.DataFrame, judges: Sequence[str], most: int = MOST_DISPUTED) -> list[DisputedEdit]:
    """List the edits with the largest range of scores, the most disputed first. Equal scores are no dispute."""
    scores = edits[list(judges)].to_numpy()
    paired = np.flatnonzero((~np.isnan(scores)).sum(axis=1) >= 2)
    ranges = _find_ranges(scores[paired])
    there = edits.iloc[paired].assign(range=ranges, place=paired)
    worst = there[there["range"] > 0].sort_values(["range", "item_id", "editor"], ascending=[False, True, True])
    return [
        {
            "item_id": one["item_id"],
            "category": one["category"],
            "editor": one["editor"],
            "range": one["range"],
            "sd": float(np.nanstd(scores[one["place"]], ddof=1)),
            "scores": {judge: None if np.isnan(one[judge]) else one[judge] for judge in judges},
        }
        for one in worst.head(most).to_dict("records")
    ]


def count_split_states(rows: pd.DataFrame, judges: Sequence[str]) -> StateDisputes:
    """Count edits that some judges scored and others did not. rows: item_id, editor, judge, state, score."""
    asked = rows[rows["judge"].isin(judges) & rows["state"].isin(ASKED)].astype({"judge": str})
    wide = asked.assign(scored=asked["score"].notna()).astype({"item_id": str, "editor": str})
    table = wide.pivot(index=["item_id", "editor"], columns="judge", values="scored").reindex(columns=list(judges))
    complete = table.dropna().to_numpy(dtype=bool)
    split = complete[complete.any(axis=1) & ~complete.all(axis=1)]
    return {
        "n": len(complete),
        "split": len(split),
        "interval": rate_interval(len(split), len(complete)),
        "unscored": dict(zip(judges, (~split).sum(axis=0).tolist(), strict=True)),
    }


def compare_orders(edits: pd.DataFrame, editors: Sequence[str], judges: Sequence[str]) -> list[Order]:
    """Compare every pair of editors under each judge, on the items that all judges scored for both."""
    complete = edits[edits[list(judges)].notna().all(axis=1)]
    of = {editor: complete[complete["editor"] == editor].set_index("item_id") for editor in editors}
    return [_compare_order(a, b, of, judges) for a, b in combinations(editors, 2)]


def _compare_order(a: str, b: str, of: Mapping[str, pd.DataFrame], judges: Sequence[str]) -> Order:
    shared = of[a].index.intersection(of[b].index).sort_values()
    first, second = of[a].loc[shared], of[b].loc[shared]
    clusters, categories = first["cluster"].to_numpy(), first["category"].to_numpy()
    found: dict[str, Difference] = {}
    for judge in judges:
        one = compare(first[judge].to_numpy(), second[judge].to_numpy(), clusters, categories)
        found[judge] = {"difference": one["difference"], "interval": one["interval"]}
    signs = {judge: _sign(one["interval"]) for judge, one in found.items()}
    swaps = [(one, other) for one, other in combinations(judges, 2) if signs[one] * signs[other] < 0]
    return {"a": a, "b": b, "n": len(shared), "differences": found, "swaps": swaps}


def _sign(interval: Interval | None) -> int:
    """Return the sign of the values in an interval; 0 if it holds 0, or if there is none."""
    return 0 if interval is None else int(interval[0] > 0) - int(interval[1] < 0)
