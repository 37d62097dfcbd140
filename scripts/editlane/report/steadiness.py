"""Compute how much a judge's answers differ between repeats and since earlier runs, for report.json."""

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from editlane.core.types import Control
from editlane.stats.noise import compare_canaries, measure_noise


def measure_own_noise(rows: pd.DataFrame, controls: pd.DataFrame) -> dict[str, Any] | None:
    """Measure how much the judge's answers to the same question differ."""
    again = controls[controls["control"] == Control.REPEAT]
    if again.empty:
        return None
    names = ["editor", "item_id"]
    asked = again[names].drop_duplicates().astype(str)
    first = rows.astype(dict.fromkeys(names, str)).merge(asked, on=names)[[*names, "score"]].assign(repeat=0)
    every = pd.concat([first, again.astype(dict.fromkeys(names, str))[[*names, "score", "repeat"]]])
    kind: Literal["sampled", "batch_order"] = "sampled" if int(again["repeat"].max()) > 1 else "batch_order"
    return dict(measure_noise(every.assign(item=every["editor"] + "\n" + every["item_id"]), kind))


def compare_own_canary(controls: pd.DataFrame, earlier: Sequence[tuple[str, pd.DataFrame]]) -> dict[str, Any] | None:
    """Compare this run's canaries with those of the oldest run with the same judge and the same pairs."""
    mine = controls[controls["control"] == Control.CANARY]
    if mine.empty:
        return None
    same = ["item_id", "judge_key", "edited_sha256"]
    for run, theirs in earlier:
        reference = theirs[theirs["control"] == Control.CANARY].drop_duplicates(same)  # two judges of one configuration
        if len(mine[same].merge(reference[same], on=same)):
            return dict(compare_canaries(mine, reference, run))
    return dict(compare_canaries(mine, mine.iloc[:0], None))
