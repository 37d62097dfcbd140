"""Make rows and frames of scores for the tests of the numbers."""

from typing import Any

import pandas as pd


def item(item_id: str, category: str) -> dict[str, Any]:
    return {"item_id": item_id, "category": category, "source_sha256": item_id, "sample_of": None}


def row(item_id: str, score: float | None, state: str = "scored", **more: Any) -> dict[str, Any]:
    base = {"item_id": item_id, "category": "物理", "editor": "a", "judge": "j", "state": state, "score": score}
    base |= {"unchanged": False, "error_kind": None, "score_instruction": score, "source_sha256": item_id}
    base |= {"edited_sha256": f"edit of {item_id}"}
    base |= {"edit_seconds": 2.0, "score_seconds": 0.5, "edit_device": "cuda:0 X", "score_device": "cuda:0 X"}
    return base | more


def failed(item_id: str, state: str, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return row(item_id, None, state, error_kind=kind, unchanged=None) | more


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Make a frame as tables.read_frame returns it."""
    table = pd.DataFrame(rows, columns=list(rows[0] if rows else row("", 0.0)))
    texts = dict.fromkeys(("category", "editor", "judge", "state", "error_kind"), "category")
    clusters = table["source_sha256"].factorize()[0]
    return table.astype({"score": float, "unchanged": "boolean"} | texts).assign(cluster=clusters)
