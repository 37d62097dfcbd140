"""Measure how long an editor takes for one edit, and which editors are neither slower nor worse than another."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from editlane.stats.acceptance import ASKED
from editlane.stats.intervals import Interval, mean_interval


class Speed(TypedDict):
    """The seconds of one editor's edits."""

    n: int
    """Edits whose time is known."""
    clusters: int
    """Source images among them."""
    mean: float | None
    """Seconds per edit, without loading the model."""
    interval: Interval | None
    """95 % interval of the mean, resampled by source image."""
    devices: list[str]
    """The kinds of devices that computed them. Seconds on different ones are not to be compared."""


def measure_speed(rows: pd.DataFrame) -> Speed:
    """Measure one editor's seconds. rows: item_id, cluster, state, edit_seconds (NaN = unknown), edit_device.

    An edit that several judges scored counts once. Attempts that failed or were refused are no edits: they end early.
    """
    made = rows["state"].isin(ASKED) & rows["edit_seconds"].notna()
    edits = rows[made].drop_duplicates("item_id")
    seconds = edits["edit_seconds"].to_numpy(dtype=np.float64)
    clusters = edits["cluster"].to_numpy()
    return {
        "n": len(seconds),
        "clusters": len(np.unique(clusters)),
        "mean": float(seconds.mean()) if len(seconds) else None,
        "interval": mean_interval(seconds, clusters),
        "devices": sorted({str(name) for name in edits["edit_device"].dropna()}),
    }


def find_front(quality: Mapping[str, float | None], seconds: Mapping[str, float | None]) -> list[str]:
    """List the editors on the Pareto front of the means: no other is as good and as fast, and better in one of both."""
    known: Sequence[tuple[str, float, float]] = [
        (editor, mean, time)
        for editor, mean in quality.items()
        if mean is not None and (time := seconds.get(editor)) is not None
    ]
    return [
        editor
        for editor, mean, time in known
        if not any(
            (better >= mean and faster <= time) and (better > mean or faster < time) for _, better, faster in known
        )
    ]
