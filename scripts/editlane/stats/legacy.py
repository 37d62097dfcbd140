"""What the rules of the original benchmark would have printed for rows of the protocol `legacy`.

Read in Thomas-uestc/image_edit_benchmark, commit f3b88f3: src/models/reward/qwen3_vl_standalone.py (`extract_score`),
src/models/reward/implementations/qwen3_vl_multi_gpu_subprocess.py (a dead worker), src/pipeline.py (edits that fail one
by one), src/models/diffusion/implementations/multi_gpu_qwen_edit.py (the source goes on as the edit). These numbers are
shown to be compared with the honest ones, and for nothing else.
"""

import re
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from editlane.core.types import State

NEUTRAL = 5.0
"""For a reply without a number, and for all items of a judge that died."""

FAILED = 0.0
"""For an item whose edit failed, where edits are made one by one."""

_NUMBER = r"(\d+\.?\d*)"
_PLACES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"score:\s*{_NUMBER}",
        r"^(\d+(?:\.\d+)?)$",
        *(rf"{word}[:：]\s*{_NUMBER}" for word in ("评分", "分数", "得分", "(?:总分|综合评分)")),
        r"(\d+\.\d+)",
        r"(\d+)",
    )
]
"""Where a number was looked for, in this order. Of each only the first find counts, and only from 0 to 10."""

_NO_EDIT = [str(state) for state in (State.EDIT_FAILED, State.EDIT_REFUSED, State.SOURCE_UNREADABLE)]


class Replaced(TypedDict):
    """Rows without a score that got a number."""

    unreadable: int
    """Edits whose judge gave no legal answer, or failed."""
    failed: int
    """Items without an edit, or without a readable source."""


class Legacy(TypedDict):
    """The honest mean and the old ones, 0..10; null where there is nothing to take a mean of."""

    honest: float | None
    old: float | None
    difference: float | None
    """old - honest."""
    old_source_judged: float | None
    """With failed edits replaced by the judge's score of their source, estimated by its mean score of other sources
    (control `source_as_edit`); null where that is not known."""
    replaced: Replaced


def old_score(state: str, score: float | None, reply: str | None) -> float:
    """The number, 0..10, that one row would have got. `score` counts only for a scored row without its reply."""
    if state in _NO_EDIT:
        return FAILED
    if state == State.SCORED and reply is None and score is not None:
        return score
    return read_number(reply or "")


def read_number(reply: str) -> float:
    """The number, 0..10, that a reply was read as; NEUTRAL where it holds none."""
    for place in _PLACES:
        found = place.search(reply.strip())
        if found and 0 <= float(found[1]) <= 10:
            return float(found[1])
    return NEUTRAL


def old_scores(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """`old_score` of every row (columns state, score, reply), float64 (rows,)."""
    codes, replies = pd.factorize(rows["reply"])
    read = np.array([*(read_number(reply) for reply in replies), NEUTRAL])[codes]  # code -1: no reply
    scores = rows["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    kept = (codes < 0) & (rows["state"] == State.SCORED).to_numpy() & ~np.isnan(scores)
    return np.where(rows["state"].isin(_NO_EDIT), FAILED, np.where(kept, scores, read))


def legacy_cell(rows: pd.DataFrame, source_score: float | None) -> Legacy:
    """The old rules' means of some rows (columns state, score, reply) beside the honest one.

    `source_score`: the judge's mean score of sources shown as their own edits; None where it was not asked. A row that
    is not there yet is replaced by nothing.
    """
    scored = rows["score"].to_numpy(dtype=np.float64, na_value=np.nan)[(rows["state"] == State.SCORED).to_numpy()]
    failed = rows["state"].isin(_NO_EDIT).to_numpy()
    old = old_scores(rows)
    honest = float(scored.mean()) if len(scored) else None
    printed = float(old.mean()) if len(old) else None
    judged = None
    if len(old) and (source_score is not None or not failed.any()):
        judged = float(np.where(failed, source_score or 0.0, old).mean())
    return {
        "honest": honest,
        "old": printed,
        "difference": None if honest is None or printed is None else printed - honest,
        "old_source_judged": judged,
        "replaced": {"unreadable": len(rows) - len(scored) - int(failed.sum()), "failed": int(failed.sum())},
    }
