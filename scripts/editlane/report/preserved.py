"""Compute how much of the pictures an editor changed, for report.json."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from editlane.stats.intervals import mean_interval

PRESERVATION = ("ssim", "psnr", "mae", "changed_share")


def summarise_preservation(frame: pd.DataFrame | None, editor: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Compute how much one editor changed, overall and by category. Empty without the table."""
    if frame is None:
        return {}
    rows = frame[frame["editor"] == editor]
    rows = rows.assign(cluster=pd.factorize(rows["source_sha256"])[0])
    in_category = {category: rows[rows["category"] == category] for category in sizes}
    return {
        "overall": _summarise(rows, sum(sizes.values())),
        "categories": {category: _summarise(in_category[category], size) for category, size in sizes.items()},
    }


def _summarise(rows: pd.DataFrame, expected: int) -> dict[str, Any]:
    measured = rows[rows["state"] == "measured"]
    found: dict[str, Any] = {"n": expected, "measured": len(measured)}
    for name in PRESERVATION:
        there = measured[measured[name].notna()]
        values = there[name].to_numpy(dtype=np.float64)
        found[name] = {
            "mean": float(values.mean()) if len(values) else None,
            "interval": mean_interval(values, there["cluster"].to_numpy()),
            "median": float(np.median(values)) if len(values) else None,
        }
    return found
