"""Compute what several seeds for each item tell: how much of the spread is chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from editlane.stats.seeds import measure_seeds

DEFINITION_VERSION = 1
"""Changes with the meaning of a figure; config/numbers.md defines them."""


def compute_seeds(
    rows: pd.DataFrame, items: pd.DataFrame, editors: Sequence[str], judges: Sequence[str], noise: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Split the variance of the scores of each editor by each judge. None if every item has one sample.

    rows: first (the item of a sample), category, editor, judge, cluster, score (NaN unless scored), edited_sha256.
    items: first. noise: see `stats.noise`, by judge.
    """
    if items["first"].is_unique:
        return None
    of_item = rows.rename(columns={"first": "item"})

    def measure(editor: str, judge: str) -> dict[str, Any]:
        mine = of_item[(of_item["editor"] == editor) & (of_item["judge"] == judge)]
        return dict(measure_seeds(mine, (noise[judge] or {}).get("within_sd")))

    return {
        "definition_version": DEFINITION_VERSION,
        "samples": int(items["first"].value_counts().max()),
        "editors": {editor: {judge: measure(editor, judge) for judge in judges} for editor in editors},
    }
