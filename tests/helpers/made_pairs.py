"""Make answers of a pairwise judge whose truth is known."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from editlane.core.schemas import PAIRS

MODES = ("A", "B", "tie", "both_bad")


def answer(lead: float, bias: float = 0.0) -> dict[str, Any]:
    """Make the columns of an answer: `lead` is how much better A is, and `bias` the preference for A."""
    logits = np.array([(lead + bias) / 2, -(lead + bias) / 2, -0.7, -1.5])
    shares = np.exp(logits) / np.exp(logits).sum()
    found = dict(zip(("p_a", "p_b", "p_tie", "p_both_bad"), map(float, shares), strict=True))
    return found | {"mode": MODES[int(shares.argmax())], "state": "scored", "mass": 1.0, "entropy": 0.5}


def row(item: str, a: str, b: str, **more: Any) -> dict[str, Any]:
    """Make a row of the pairs table; by default of category 物理, judge `p`, without an answer."""
    about = {"item_id": item, "category": "物理", "judge": "j", "editor_a": a, "editor_b": b, "round": 1}
    shown = {"source_sha256": f"photo of {item}", "a_sha256": f"{item} {a}", "b_sha256": f"{item} {b}"}
    ran = {"judge_key": "k", "protocol_version": "1", "state": "judge_failed"}
    return dict.fromkeys(PAIRS.names) | about | shown | ran | more


def made_pairs(
    skills: Mapping[str, float],
    items: Mapping[str, str],
    *,
    bias: float = 0.0,
    control: float = -3.0,
    noise: float = 0.5,
    seed: int = 0,
) -> pd.DataFrame:
    """Make both orders of all pairs on all items (item to category), and controls as good as `control`."""
    rng = np.random.default_rng(seed)
    rows = []
    for item, category in items.items():
        quality = {editor: skill + noise * rng.normal() for editor, skill in skills.items()}

        def ask(a: str, b: str, lead: float, at: str = item, of: str = category, **more: Any) -> None:
            rows.append(row(at, a, b, **answer(lead, bias), **{"category": of} | more))

        for a, b in combinations(skills, 2):
            ask(a, b, quality[a] - quality[b])
            ask(b, a, quality[b] - quality[a])
        for editor in skills:
            gap = quality[editor] - control - noise * rng.normal()
            for name in ("source", "blank", "other_item"):
                ask(editor, editor, gap, control=name, control_side="b")
                ask(editor, editor, -gap, control=name, control_side="a")
            ask(editor, editor, 0.0, control="itself")
    return pd.DataFrame(rows, columns=PAIRS.names)


def fail(pairs: pd.DataFrame, item: str, editors: Sequence[str]) -> pd.DataFrame:
    """Take the edits of some editors away from an item."""
    pairs = pairs.copy()
    for side in ("a", "b"):
        there = (pairs["item_id"] == item) & pairs[f"editor_{side}"].isin(editors)
        pairs.loc[there, f"{side}_sha256"] = None
        pairs.loc[there, "state"] = "edit_failed"
        pairs.loc[there, ["p_a", "p_b", "p_tie", "p_both_bad"]] = np.nan
        pairs.loc[there, "mode"] = None
    return pairs
