"""Compute the numbers that the original benchmark's rules would have printed for rows of the protocol `legacy`.

The rules are those of Thomas-uestc/image_edit_benchmark, commit f3b88f3:
src/models/reward/qwen3_vl_standalone.py (`extract_score`),
src/models/reward/implementations/qwen3_vl_multi_gpu_subprocess.py (a dead worker),
src/pipeline.py (edits that fail one by one),
src/models/diffusion/implementations/multi_gpu_qwen_edit.py (the source is passed on as the edit).
The numbers are reported only for comparison with the honest ones.
"""

import re
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from editlane.core.types import State

NEUTRAL = 5.0
"""Score of a reply without a number, and of all items of a judge that died."""

FAILED = 0.0
"""Score of an item whose edit failed, if edits are made one by one."""

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
"""Patterns tried in this order. Only the first match of each pattern counts, and only if it lies within 0..10."""

_NO_EDIT = [str(state) for state in (State.EDIT_FAILED, State.EDIT_REFUSED, State.SOURCE_UNREADABLE)]


class Replaced(TypedDict):
    """Counts of rows without a score that the old rules gave a number."""

    unreadable: int
    """Edits whose judge gave no valid answer, or failed."""
    failed: int
    """Items without an edit, or without a readable source."""


class Legacy(TypedDict):
    """The honest mean and the old ones, 0..10. A mean of no rows is null."""

    honest: float | None
    old: float | None
    difference: float | None
    """old - honest."""
    old_source_judged: float | None
    """The old mean if the source were judged in place of a failed edit. The score of a source is estimated by the
    judge's mean score of other sources (control `source_as_edit`); null without that control."""
    replaced: Replaced


def old_score(state: str, score: float | None, reply: str | None) -> float:
    """Return the number, 0..10, that the old rules give one row. `score` is used only if there is no reply."""
    if state in _NO_EDIT:
        return FAILED
    if state == State.SCORED and reply is None and score is not None:
        return score
    return read_number(reply or "")


def read_number(reply: str) -> float:
    """Parse the number, 0..10, that the old rules read in a reply, or NEUTRAL if there is none."""
    for place in _PLACES:
        found = place.search(reply.strip())
        if found and 0 <= float(found[1]) <= 10:
            return float(found[1])
    return NEUTRAL


def old_scores(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Apply `old_score` to every row (columns state, score, reply); float64 (rows,)."""
    codes, replies = pd.factorize(rows["reply"])
    read = np.array([*(read_number(reply) for reply in replies), NEUTRAL])[codes]  # code -1: no reply
    scores = rows["score"].to_numpy(dtype=np.float64, na_value=np.nan)
    kept = (codes < 0) & (rows["state"] == State.SCORED).to_numpy() & ~np.isnan(scores)
    return np.where(rows["state"].isin(_NO_EDIT), FAILED, np.where(kept, scores, read))


def summarise_legacy(rows: pd.DataFrame, source_score: float | None) -> Legacy:
    """Return the means by the old rules beside the honest mean, for rows with columns state, score and reply.

    `source_score`: the judge's mean score of sources shown as their own edits, None if it did not judge any. A row that
    does not exist yet is not replaced.
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
