"""Rows of scores to numbers. An item without a score is counted, never turned into one."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from editlane.core.errors import UserError
from editlane.core.types import SCALE, State
from editlane.stats.intervals import Interval, mean_interval, rate_interval


class Spread(TypedDict):
    """How the scores of `n` rows are spread. Nothing is said (null) where nothing was scored."""

    n: int
    """Rows that should exist."""
    scored: int
    clusters: int
    """Source images among the scored rows; two items with one photo are not independent."""
    mean: float | None
    interval: Interval | None
    """95 % interval of the mean, resampled by source image."""
    std: float | None
    """Sample standard deviation; null for fewer than two scores."""
    median: float | None
    min: float | None
    max: float | None
    coverage: float | None
    """scored / n, 0..1."""
    bounds: Interval | None
    """The mean if every row without a score had got the lowest, and the highest, score of the scale."""


class UnchangedCount(TypedDict):
    count: int
    """Edits that do not differ from their source."""
    n: int
    """Edits there are."""
    interval: Interval | None
    """95 % Wilson interval of count / n."""


class Summary(Spread):
    """`S` of the report: the spread of the item scores, and how the items ended."""

    states: dict[str, int]
    """Every state, also those that did not occur."""
    missing: int
    """Rows that do not exist yet: part of n, of no state."""
    unchanged: UnchangedCount


def spread(scores: pd.Series, clusters: pd.Series, expected: int) -> Spread:
    """The spread of the scores that are there (not NaN), out of `expected` ones; `clusters`: their source images."""
    there = scores.notna().to_numpy()
    values = scores.to_numpy(dtype=np.float64)[there]
    sources = clusters.to_numpy()[there]
    count = len(values)
    absent = expected - count
    return {
        "n": expected,
        "scored": count,
        "clusters": len(np.unique(sources)),
        "mean": float(values.mean()) if count else None,
        "interval": mean_interval(values, sources),
        "std": float(values.std(ddof=1)) if count > 1 else None,
        "median": float(np.median(values)) if count else None,
        "min": float(values.min()) if count else None,
        "max": float(values.max()) if count else None,
        "coverage": count / expected if expected else None,
        "bounds": _bounds(values, absent) if expected else None,
    }


def _bounds(values: np.ndarray, absent: int) -> Interval:
    total, count = float(values.sum()), len(values) + absent
    return (total + SCALE[0] * absent) / count, (total + SCALE[1] * absent) / count


def summarise(rows: pd.DataFrame, expected: int) -> Summary:
    """The numbers of some rows (columns state, score, unchanged, cluster), of which there should be `expected`."""
    found = rows["state"].value_counts()
    compared = rows["unchanged"].dropna()
    count, edits = int(compared.sum()), len(compared)
    return {
        **spread(rows["score"], rows["cluster"], expected),
        "states": {str(state): int(found.get(str(state), 0)) for state in State},
        "missing": expected - len(rows),
        "unchanged": {"count": count, "n": edits, "interval": rate_interval(count, edits)},
    }


def error_kinds(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """State to error kind to count, for the rows without a score."""
    failed = rows.loc[rows["state"] != State.SCORED, ["state", "error_kind"]].astype(object)
    counts = failed.fillna({"error_kind": "not given"}).groupby(["state", "error_kind"], as_index=False).size()
    found: dict[str, dict[str, int]] = {}
    for state, kind, count in counts.sort_values(["state", "error_kind"]).itertuples(index=False):
        found.setdefault(str(state), {})[str(kind)] = int(count)
    return found


def check_rows(scores: pd.DataFrame, items: pd.DataFrame, editors: Sequence[str], judges: Sequence[str]) -> None:
    """Raise UserError for the first row that must not be counted."""
    category = scores["item_id"].map(items.set_index("item_id")["category"])
    scored, score = scores["state"] == State.SCORED, scores["score"]
    problems = {
        "there is a second row for it": scores.duplicated(["item_id", "editor", "judge"]),
        "the items table has no such item in category {category!r}": category.astype(object)
        != scores["category"].astype(object),
        "this editor or judge is not expected in this run": ~scores["editor"].isin(editors)
        | ~scores["judge"].isin(judges),
        "the state {state!r} is unknown": ~scores["state"].isin(list(map(str, State))),
        "state {state!r} and score {score} contradict each other": scored != score.notna(),
        f"the score {{score}} lies outside {SCALE[0]:g}..{SCALE[1]:g}": scored & ~score.between(*SCALE),
    }
    wrong = pd.DataFrame(dict(enumerate(problems.values())), index=scores.index)
    bad = np.flatnonzero(wrong.to_numpy(dtype=bool).any(axis=1))
    if not len(bad):
        return
    row = scores.iloc[bad[0]].to_dict()
    row["score"] = None if pd.isna(row["score"]) else row["score"]
    problem = list(problems)[int(wrong.iloc[bad[0]].to_numpy(dtype=bool).argmax())].format(**row)
    raise UserError(
        f"Cannot report item {row['item_id']!r}, editor {row['editor']!r}, judge {row['judge']!r}: {problem}. The "
        "scores and the items table must come from one run; run merge_scores.py again with the run's own files."
    )
