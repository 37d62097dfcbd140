"""Measure how much a judge's answers to the same question differ, within a run (noise) and between runs (drift)."""

from typing import Literal, TypedDict

import numpy as np
import pandas as pd

from editlane.stats.comparisons import compare
from editlane.stats.intervals import ALPHA, Interval

MOVED = 0.05
"""Smallest mean change of the canaries that counts as drift, in points of the 0..10 scale. Another batch order or
another GPU changes the scores of an unchanged judge by less."""


class Noise(TypedDict):
    """The spread of one judge's answers to the same question against the spread of the items."""

    kind: Literal["batch_order", "sampled"]
    """Source of the differences: only the batch order, or sampling."""
    items: int
    """Items with at least two scores. Other items are ignored."""
    repeats: int
    """Largest number of scores of one item."""
    within_sd: float | None
    """Standard deviation within items, pooled over the items; null without items."""
    between_sd: float | None
    """Standard deviation of the items' means; null below two items."""
    largest: float | None
    """Largest difference between two scores of one item."""


class Canary(TypedDict):
    """Scores of the same frozen pairs by the same judge, in this run and in an earlier one."""

    n: int
    """Canaries scored in this run."""
    mean: float | None
    reference_run: str | None
    difference: float | None
    """Mean of this run - reference, over the canaries scored in both runs; null if there are none."""
    interval: Interval | None
    p: float | None
    moved: bool
    """p < 0.05 and a difference of at least MOVED."""


def measure_noise(rows: pd.DataFrame, kind: Literal["batch_order", "sampled"]) -> Noise:
    """Measure the noise of one judge.

    rows: one per answer, the first one included, columns item and score (NaN = not scored). `item` is a key of the
    question, equal for all its repeats. NaN rows and items with a single score are ignored.
    """
    answers = rows.dropna(subset="score").groupby("item", sort=True)["score"]
    table = answers.agg(["count", "mean", "var", "min", "max"]).query("count > 1")
    if table.empty:
        return {"kind": kind, "items": 0, "repeats": 0, "within_sd": None, "between_sd": None, "largest": None}
    return {
        "kind": kind,
        "items": len(table),
        "repeats": int(table["count"].max()),
        "within_sd": float(np.sqrt(np.average(table["var"], weights=table["count"] - 1))),
        "between_sd": float(table["mean"].std(ddof=1)) if len(table) > 1 else None,
        "largest": float((table["max"] - table["min"]).max()),
    }


def compare_canaries(this: pd.DataFrame, reference: pd.DataFrame, reference_run: str | None) -> Canary:
    """Compare one judge's scores of its canaries with those of an earlier run.

    this, reference: columns item_id, judge_key, edited_sha256, score (NaN = not scored). Two rows are compared only if
    all three keys are equal, because another checkpoint, protocol or image asks another question and is not drift.
    Without an earlier run `reference` is empty and `reference_run` is None.
    """
    keys = ["item_id", "judge_key", "edited_sha256"]
    scored = this["score"].dropna()
    both = this.merge(reference, on=keys, suffixes=("", "_reference"), validate="one_to_one").sort_values(keys)
    change = compare(both["score"], both["score_reference"], both["item_id"].to_numpy(dtype=str), scale=None)
    difference, p = change["difference"], change["p"]
    return {
        "n": len(scored),
        "mean": float(scored.mean()) if len(scored) else None,
        "reference_run": reference_run,
        "difference": difference,
        "interval": change["interval"],
        "p": p,
        "moved": p is not None and difference is not None and p < ALPHA and abs(difference) >= MOVED,
    }
