"""Make duels of the answers of a pairwise judge: two editors on one item, with the order of the pictures averaged out.

A judge that prefers the picture it sees first says so in one order for one editor and in the other order for the other.
The mean over both orders is free of it. A duel with one readable order is not, so it is counted and not used.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

import numpy as np
import pandas as pd

from editlane.core.errors import UserError
from editlane.core.types import State
from editlane.stats.intervals import Interval, mean_interval
from editlane.stats.many_means import find_intervals
from editlane.stats.resampled import Estimate

ANSWERS = ("p_a", "p_b", "p_tie", "p_both_bad")
SWAPPED = {"A": "B", "B": "A"}

FAILED = (State.EDIT_FAILED, State.EDIT_REFUSED)
"""States of a pair in which an editor has no edit by its own fault."""

Fate = Literal["used", "one_order", "failed", "unreadable"]
"""What became of a duel: used; one order only could be read; an editor has no edit; nothing could be read, or the
source could not."""


class Position(TypedDict):
    """How much more probable the answer "the first is better" is than "the second is"."""

    n: int
    bias: Estimate
    """-1..1. 0 without a preference for a place."""


def make_duels(rows: pd.DataFrame, editors: Sequence[str], clusters: Mapping[str, int]) -> pd.DataFrame:
    """Combine both orders of each item and pair of editors.

    rows: the real pairs of one judge, with the columns of the pairs table. clusters: the source image of each item.
    Returns a row per item and pair: item_id, category, cluster, a, b (in the order of `editors`), fate, win (of a, with
    half of both ties, 0..1, NaN unless used), tie, both_bad, first (P(first) - P(second)), alike (whether both orders
    have the same answer), failed_a, failed_b. Raises UserError for an order that was asked twice.
    """
    names = ["item_id", "editor_a", "editor_b"]
    doubled = rows[rows.duplicated(names)]
    if len(doubled):
        item, a, b = doubled.iloc[0][names]
        raise UserError(f"The pairs table has {a!r} against {b!r} on item {item!r} twice. Give the table of one run.")
    seen = _turn(rows.astype(dict.fromkeys(["category", "state", "mode", *names], object)), editors)
    duels = seen.groupby(["item_id", "a", "b"], sort=True).agg(
        category=("category", "first"),
        asked=("win", "size"),
        read=("read", "sum"),
        win=("win", "mean"),
        tie=("p_tie", "mean"),
        both_bad=("p_both_bad", "mean"),
        first=("first", "mean"),
        kinds=("mode", "nunique"),
        failed_a=("failed_a", "any"),
        failed_b=("failed_b", "any"),
    )
    duels = duels.reset_index()
    failed = duels["failed_a"] | duels["failed_b"]
    fates = [failed, duels["read"] == 2, duels["read"] == 1]
    duels["fate"] = np.select(fates, ["failed", "used", "one_order"], "unreadable")
    used = duels["fate"] == "used"
    for name in ("win", "tie", "both_bad", "first"):
        duels[name] = duels[name].where(used)
    duels["alike"] = (duels["kinds"] == 1).where(used)
    duels["cluster"] = duels["item_id"].map(clusters).astype("int64")
    return duels.drop(columns=["kinds", "read", "asked"])


def _turn(rows: pd.DataFrame, editors: Sequence[str]) -> pd.DataFrame:
    """Show every row as the editor that comes first in `editors` sees it."""
    place = {name: at for at, name in enumerate(editors)}
    turned = (rows["editor_a"].map(place) > rows["editor_b"].map(place)).to_numpy()
    read = (rows["state"] == State.SCORED).to_numpy()
    p_a, p_b, tie, bad = (rows[name].astype(float).where(read).to_numpy() for name in ANSWERS)
    wins = np.where(turned, p_b, p_a) + (tie + bad) / 2
    lacks = rows["state"].isin(list(map(str, FAILED))).to_numpy()
    none_a, none_b = (lacks & rows[name].isna().to_numpy() for name in ("a_sha256", "b_sha256"))
    return rows.assign(
        a=np.where(turned, rows["editor_b"], rows["editor_a"]),
        b=np.where(turned, rows["editor_a"], rows["editor_b"]),
        read=read,
        win=wins,
        first=p_a - p_b,
        mode=rows["mode"].where(~turned, rows["mode"].replace(SWAPPED)).where(read),
        failed_a=np.where(turned, none_b, none_a),
        failed_b=np.where(turned, none_a, none_b),
    )


def measure_position(differences: pd.Series, clusters: pd.Series) -> Position:
    """Compute the mean of P(first) - P(second) of readable answers, with its interval over source images."""
    there = differences.notna().to_numpy()
    values, codes = differences.to_numpy(dtype=float)[there], clusters.to_numpy()[there]
    interval = mean_interval(values, codes, (-1.0, 1.0)) if len(values) else None
    why = None if interval else "too few source images"
    return {"n": len(values), "bias": {"value": _mean(values), "interval": interval, "why": why}}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


class PairCount(TypedDict):
    """Two editors: what became of their pairs, and how often a wins."""

    a: str
    b: str
    category: str | None
    """None: all categories."""
    asked: int
    """Items on which the two were to be compared."""
    n: int
    """Items that are used: both orders could be read."""
    clusters: int
    one_order: int
    failed_a: int
    """Items without an edit of a. Likewise `failed_b`; an item may count in both."""
    failed_b: int
    unreadable: int
    win_rate: float | None
    """Mean probability that a wins, with half of both ties."""
    interval: Interval | None
    """95 %, over source images."""
    tie: float | None
    """Mean probability of a tie; likewise `both_bad`."""
    both_bad: float | None


def count_pairs(duels: pd.DataFrame, pairs: Sequence[tuple[str, str]], category: str | None) -> list[PairCount]:
    """Count the duels of each pair of editors, which `pairs` names in the order of the editors."""
    part = duels if category is None else duels[duels["category"] == category]
    by_pair = dict(list(part.groupby(["a", "b"])))
    asked = [by_pair.get(pair, part.iloc[:0]) for pair in pairs]
    used = [one[one["fate"] == "used"] for one in asked]
    tables = [(one["win"].to_numpy(dtype=float), one["cluster"].to_numpy()) for one in used]
    intervals = find_intervals(tables, (0.0, 1.0))
    return [_count_pair(*one, category) for one in zip(asked, used, pairs, intervals, strict=True)]


def _count_pair(
    duels: pd.DataFrame, used: pd.DataFrame, pair: tuple[str, str], interval: Interval | None, category: str | None
) -> PairCount:
    fates, wins, clusters = duels["fate"].value_counts(), used["win"].to_numpy(dtype=float), used["cluster"]
    return {
        "a": pair[0],
        "b": pair[1],
        "category": category,
        "asked": len(duels),
        "n": len(used),
        "clusters": clusters.nunique(),
        "one_order": int(fates.get("one_order", 0)),
        "failed_a": int(duels["failed_a"].sum()),
        "failed_b": int(duels["failed_b"].sum()),
        "unreadable": int(fates.get("unreadable", 0)),
        "win_rate": _mean(wins),
        "interval": interval,
        "tie": _mean(used["tie"].to_numpy(dtype=float)),
        "both_bad": _mean(used["both_bad"].to_numpy(dtype=float)),
    }
