"""Count on which share of the shared items one editor scores higher than another."""

from collections.abc import Sequence
from itertools import combinations
from typing import TypedDict

import numpy as np
import pandas as pd

from editlane.stats.intervals import Interval, mean_interval

SAME = 1e-9
"""Scores that differ by no more are tied: they differ by rounding only."""


class WinRate(TypedDict):
    """Editor a against editor b on the items that are scored for both."""

    a: str
    b: str
    n: int
    clusters: int
    """Source images among the n items."""
    wins: int
    """Items on which a scores higher."""
    ties: int
    losses: int
    rate: float | None
    """(wins + ties / 2) / n, 0..1."""
    interval: Interval | None
    """95 % interval of the rate, resampled by source image; null with too few images."""


def count_wins(rows: pd.DataFrame, editors: Sequence[str]) -> list[WinRate]:
    """Compare every two editors. rows: item_id, cluster, editor, score (NaN = not scored), one row per editor and item.

    Every item weighs the same.
    """
    scores = rows.pivot(index="item_id", columns="editor", values="score").reindex(columns=list(editors))
    clusters = rows.drop_duplicates("item_id").set_index("item_id")["cluster"].reindex(scores.index).to_numpy()
    columns = {editor: scores[editor].to_numpy(dtype=np.float64) for editor in editors}
    return [_compare(a, b, columns[a] - columns[b], clusters) for a, b in combinations(editors, 2)]


def _compare(a: str, b: str, differences: np.ndarray, clusters: np.ndarray) -> WinRate:
    both = ~np.isnan(differences)
    there = differences[both]
    won = np.where(np.abs(there) <= SAME, 0.5, there > 0)
    return {
        "a": a,
        "b": b,
        "n": len(won),
        "clusters": len(np.unique(clusters[both])),
        "wins": int((won == 1).sum()),
        "ties": int((won == 0.5).sum()),
        "losses": int((won == 0).sum()),
        "rate": float(won.mean()) if len(won) else None,
        "interval": mean_interval(won, clusters[both], (0.0, 1.0)),
    }
