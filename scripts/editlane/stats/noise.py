"""How far a judge's answers to the same question differ: within one run (noise) and from an earlier run (drift)."""

from typing import Literal, TypedDict

import numpy as np
import pandas as pd

from editlane.stats.comparisons import compare
from editlane.stats.intervals import ALPHA, Interval

MOVED = 0.05
"""Smallest mean change of the canaries, in points of the 0..10 scale, that is called a move: below it lies what another
batch order or another GPU does to a judge that has not changed."""


class Noise(TypedDict):
    """The spread of one judge's answers to the same question against the spread of the items."""

    kind: Literal["batch_order", "sampled"]
    """What differed between the repeats: only the batch, or what was sampled."""
    items: int
    """Items with at least two scores; the others are left out."""
    repeats: int
    """Most scores of one item."""
    within_sd: float | None
    """Standard deviation inside items, pooled over the items; null without an item."""
    between_sd: float | None
    """Standard deviation of the items' means; null for fewer than two items."""
    largest: float | None
    """Largest difference between two scores of one item."""


class Canary(TypedDict):
    """The same frozen pairs under the same judge, now and in an earlier run."""

    n: int
    """Canaries scored in this run."""
    mean: float | None
    reference_run: str | None
    difference: float | None
    """Mean of this run - reference, over the canaries scored in both; null where there is none."""
    interval: Interval | None
    p: float | None
    moved: bool
    """p < 0.05 and a difference of at least MOVED."""


def judge_noise(rows: pd.DataFrame, kind: Literal["batch_order", "sampled"]) -> Noise:
    """Noise of one judge.

    rows: columns item (a key of the question: the same for all repeats of it) and score (NaN = not scored), one row per
    answer, the first one included. NaN rows and items with a single score are left out.
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


def canary_change(this: pd.DataFrame, reference: pd.DataFrame, reference_run: str | None) -> Canary:
    """Whether one judge's scores of its canaries moved since an earlier run.

    this, reference: columns item_id, judge_key, edited_sha256, score (NaN = not scored). A canary is compared where all
    three keys are equal: another checkpoint, protocol or image is another question, not a drift.
    `reference` has no rows (and reference_run is None) where there is no earlier run.
    """
    keys = ["item_id", "judge_key", "edited_sha256"]
    scored = this["score"].dropna()
    both = this.merge(reference, on=keys, suffixes=("", "_reference"), validate="one_to_one").sort_values(keys)
    change = compare(both["score"], both["score_reference"], both["item_id"].to_numpy(dtype=str))
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
