"""Number the turns of chains for the report, and count the chains that an editor edited to their end."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from editlane.core.chains import find_turns
from editlane.stats.acceptance import ASKED
from editlane.stats.intervals import rate_interval

DEFINITION_VERSION = 1
"""Changes with the meaning of a figure; config/numbers.md defines them."""


def list_turns(items: pd.DataFrame) -> pd.DataFrame:
    """List the items that are turns: columns item_id, `first` (the first turn of the chain), `turn` (from 1) and
    `turns` (of the chain), in the order of the items. `items`: item_id, and after if any item follows another."""
    ids = items["item_id"].astype(str).tolist()
    after = items["after"].astype(object) if "after" in items else pd.Series([None] * len(ids), dtype=object)
    found = find_turns(ids, after.where(after.notna(), None).tolist())
    table = pd.DataFrame({"item_id": ids, "first": [one.first for one in found], "turn": [one.number for one in found]})
    table["turns"] = table.groupby("first")["turn"].transform("size").astype("int64")
    return table[table["turns"] > 1]


def compute_chains(rows: pd.DataFrame, items: pd.DataFrame, editors: Sequence[str]) -> dict[str, Any] | None:
    """Count each editor's chains in which every turn has an edit. None without chains.

    rows: item_id, editor, state. A chain of which an item has no row yet is not counted. Of
    several samples, the first counts, because chains of one record are not independent.
    """
    turns = list_turns(items[items["sample_of"].isna()] if "sample_of" in items else items)
    if turns.empty:
        return None
    of_chains = rows[rows["item_id"].isin(turns["item_id"])]
    return {
        "definition_version": DEFINITION_VERSION,
        "chains": int(turns["first"].nunique()),
        "editors": {editor: _count_whole(of_chains[of_chains["editor"] == editor], turns) for editor in editors},
    }


def _count_whole(rows: pd.DataFrame, turns: pd.DataFrame) -> dict[str, Any]:
    edits = rows.assign(item_id=rows["item_id"].astype(str)).drop_duplicates("item_id")  # all judges have the same
    joined = turns.merge(edits[["item_id", "state"]], on="item_id")
    by_chain = joined.assign(edited=joined["state"].isin(ASKED)).groupby("first")
    known = by_chain["turns"].first() == by_chain.size()
    count, n = int((known & by_chain["edited"].all()).sum()), int(known.sum())
    return {"count": count, "n": n, "interval": rate_interval(count, n)}
