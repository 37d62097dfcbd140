"""Summarise rows of scores. Items without a score are counted, never given one."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from editlane.core.errors import UserError
from editlane.core.types import SCALE, State
from editlane.stats.intervals import Interval, mean_interval, rate_interval


class Spread(TypedDict):
    """Distribution of the scores of `n` rows. All statistics are null if no row is scored."""

    n: int
    """Expected rows."""
    scored: int
    clusters: int
    """Source images among the scored rows. Two items that share a photo are not independent."""
    mean: float | None
    interval: Interval | None
    """95 % interval of the mean, resampled by source image."""
    std: float | None
    """Sample standard deviation; null below two scores."""
    median: float | None
    min: float | None
    max: float | None
    coverage: float | None
    """scored / n, 0..1."""
    bounds: Interval | None
    """The mean if every row without a score had the lowest score of the scale, and the highest."""


class UnchangedCount(TypedDict):
    count: int
    """Edits that do not differ from their source."""
    n: int
    """Edits of which it is sure whether they differ."""
    interval: Interval | None
    """95 % Wilson interval of count / n."""


class Summary(Spread):
    """`S` of the report: the distribution of the item scores, and the counts of states."""

    states: dict[str, int]
    """Count of each state, 0 included."""
    missing: int
    """Rows that do not exist yet. They are part of n and have no state."""
    unchanged: UnchangedCount


def summarise_scores(scores: pd.Series, clusters: pd.Series, expected: int) -> Spread:
    """Summarise the scores that are not NaN, out of `expected` rows. `clusters` is the source image of each score."""
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
        "interval": mean_interval(values, sources, SCALE),
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
    """Summarise rows with columns state, score, unchanged and cluster. `expected` is the number that should exist."""
    found = rows["state"].value_counts()
    compared = rows["unchanged"].dropna()
    count, edits = int(compared.sum()), len(compared)
    return {
        **summarise_scores(rows["score"], rows["cluster"], expected),
        "states": {str(state): int(found.get(str(state), 0)) for state in State},
        "missing": expected - len(rows),
        "unchanged": {"count": count, "n": edits, "interval": rate_interval(count, edits)},
    }


def count_error_kinds(rows: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count the rows without a score by state and error kind."""
    failed = rows.loc[rows["state"] != State.SCORED, ["state", "error_kind"]].astype(object)
    counts = failed.fillna({"error_kind": "not given"}).groupby(["state", "error_kind"], as_index=False).size()
    found: dict[str, dict[str, int]] = {}
    for state, kind, count in counts.sort_values(["state", "error_kind"]).itertuples(index=False):
        found.setdefault(str(state), {})[str(kind)] = int(count)
    return found


def check_rows(scores: pd.DataFrame, items: pd.DataFrame, editors: Sequence[str], judges: Sequence[str]) -> None:
    """Raise UserError for the first row that contradicts the items table, the run or itself."""
    category = scores["item_id"].map(items.set_index("item_id")["category"])
    scored, score = scores["state"] == State.SCORED, scores["score"]
    problems = {
        "it has more than one row": scores.duplicated(["item_id", "editor", "judge"]),
        "the items table has no such item in category {category!r}": category.astype(object)
        != scores["category"].astype(object),
        "this editor or judge is not part of this run": ~scores["editor"].isin(editors) | ~scores["judge"].isin(judges),
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
