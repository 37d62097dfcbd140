"""Compute the old-name figures about several editors together, for report.json."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from editlane.core.types import ON_SERVER
from editlane.report.belief import list_believed
from editlane.stats.division import (
    FEWEST_ITEMS,
    count_winners,
    measure_closeness,
    measure_differentiation,
    measure_routing,
)
from editlane.stats.effort import find_kings

DEFINITION_VERSION = 1
"""Changes with the meaning of a figure; config/numbers.md defines them."""

FIGURES = (
    *("overall_differentiation", "competition_intensity", "effective_winners"),
    *("routing_gain", "volume_king_phenomenon"),
)


def compute_editors_together(
    rows: pd.DataFrame,
    editors: Sequence[str],
    categories: Sequence[str],
    acceptance: Mapping[str, Any],
    elsewhere: Collection[str] = (),
) -> dict[str, Any] | None:
    """Compute the figures by one judge, over the items with a score of every editor. None with one editor.

    rows: item_id, first (the item of a sample), category, editor, cluster, score (NaN unless scored), edit_seconds,
    edit_device. `elsewhere`: editors whose edits were given as files, and took no seconds that could be compared.
    `why` is the reason if there are no figures. Categories with fewer than FEWEST_ITEMS such items are left out. With
    one category there is no differentiation and no gain.
    """
    if len(editors) < 2:
        return None
    scores = rows.pivot(index="item_id", columns="editor", values="score").reindex(columns=list(editors)).dropna()
    about = rows.drop_duplicates("item_id").set_index("item_id").loc[scores.index]
    counts = about.drop_duplicates("first")["category"].astype(str).value_counts()  # more seeds are no more items
    items = {name: int(counts.get(name, 0)) for name in categories}
    believed = [name for name in list_believed(acceptance, "categories", categories) if items[name] >= FEWEST_ITEMS]
    found: dict[str, Any] = {
        "definition_version": DEFINITION_VERSION,
        "why": None,
        "items": items,
        "categories": believed,
    }
    if acceptance["verdict"] != "accepted":
        return found | {"why": "judge_not_accepted", "categories": []} | dict.fromkeys(FIGURES)
    if not believed:
        return found | {"why": "too_few_items"} | dict.fromkeys(FIGURES)
    kept = about["category"].astype(str).isin(believed).to_numpy()
    timed = rows.assign(edit_seconds=_keep_comparable(rows, elsewhere))
    seconds = timed.pivot(index="item_id", columns="editor", values="edit_seconds").reindex(
        index=scores.index[kept], columns=list(editors)
    )
    tables = scores[kept].to_numpy(dtype=float), seconds.to_numpy(dtype=float)
    groups, clusters = about["category"].astype(str).to_numpy()[kept], about["cluster"].to_numpy()[kept]
    return found | _compute(*tables, editors, groups, clusters)


def _keep_comparable(rows: pd.DataFrame, elsewhere: Collection[str]) -> pd.Series:
    """Return the seconds, without those of reading a given file.

    There are none if devices differ between editors, or if a server made edits of one.
    """
    own = rows["edit_seconds"].where(~rows["editor"].isin(list(elsewhere)))
    timed = rows[own.notna()]
    devices = {frozenset(of["edit_device"]) for _, of in timed.groupby("editor", observed=True)}
    on_servers = any(ON_SERVER in names for names in devices)
    return own if len(devices) < 2 and not on_servers else pd.Series(np.nan, index=rows.index)


def _compute(
    scores: np.ndarray, seconds: np.ndarray, editors: Sequence[str], groups: np.ndarray, clusters: np.ndarray
) -> dict[str, Any]:
    several = len(np.unique(groups)) > 1
    routing: dict[str, Any] | None = None
    if several:
        gain = measure_routing(scores, groups, clusters)
        routing = gain | {
            "choice": {name: editors[at] for name, at in gain["choice"].items()},
            "best": editors[gain["best"]],
        }
    return {
        "overall_differentiation": measure_differentiation(scores, groups, clusters) if several else None,
        "competition_intensity": measure_closeness(scores, clusters),
        "effective_winners": count_winners(scores, clusters),
        "routing_gain": routing,
        "volume_king_phenomenon": find_kings(scores, seconds, editors, groups, clusters),
    }
