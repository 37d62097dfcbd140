"""Match people's ratings with the edits of a run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from editlane.ratings.tables import Rating, Score, Subject, drop_outdated, hash_instruction
from editlane.stats.acceptance import ASKED
from editlane.stats.panel import interval_alpha
from editlane.stats.resampled import Estimate, undefined_estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """The ratings of a run's edits."""

    labels: pd.DataFrame
    """A row for each rated edit: item_id, editor, label (the mean of its raters)."""
    counts: Mapping[str, Any]
    """How many ratings are used, and why others are not; for report.json."""


def match_ratings(ratings: Sequence[Rating], rows: pd.DataFrame) -> Rated:
    """Find the edit of each rating. Ratings of another picture, source or instruction than was judged are left out.

    rows: the scores table, at least item_id, editor, state, source_sha256, edited_sha256 and instruction. Raises
    UserError like `drop_outdated`.
    """
    edits = _list_edits(ratings, rows)
    usable, outdated = drop_outdated(ratings, edits.values())
    given = [rating for rating in usable if not np.isnan(rating.score)]
    used = [rating for rating in given if rating[:2] in edits]
    named = [{"item_id": one.item, "editor": one.system, "score": one.score} for one in used]
    frame = pd.DataFrame(named, columns=["item_id", "editor", "score"])
    labels = frame.groupby(["item_id", "editor"], sort=True).agg(label=("score", "mean")).reset_index()
    unknown = Counter(f"{one.item} by {one.system}" for one in given if one[:2] not in edits)
    return Rated(
        labels=labels,
        counts={
            "ratings": len(used),
            "raters": len({one.rater for one in used}),
            "edits": len(labels),
            "items": int(labels["item_id"].nunique()),
            "raters_alpha": _measure_agreement(used, edits),
            "scale": [float(frame["score"].min()), float(frame["score"].max())] if used else None,
            "without_score": len(usable) - len(given),
            "without_subject": sum(one.subject is None for one in used),
            "outdated": dict(sorted(Counter(f"{one.item} by {one.system}" for one in outdated).items())),
            "unknown": dict(sorted(unknown.items())),
        },
    )


def _measure_agreement(used: Sequence[Rating], edits: Mapping[tuple[str, str], Score]) -> Estimate:
    """Compute Krippendorff's alpha of the raters, over the edits that two or more rated."""
    columns = ["item_id", "editor", "rater", "score"]
    rows = pd.DataFrame([rating[:4] for rating in used], columns=columns).astype({"score": np.float64})
    by_rater = rows.pivot_table("score", ["item_id", "editor"], "rater")
    if by_rater.shape[1] < 2:
        return undefined_estimate("fewer than two raters")
    photos = np.array([edits[item, editor].source for item, editor in by_rater.index])
    return interval_alpha(by_rater.to_numpy(), photos)


def _list_edits(ratings: Sequence[Rating], rows: pd.DataFrame) -> dict[tuple[str, str], Score]:
    """Return the edits that have a picture, of those that ratings name. A failed edit is none."""
    items = {rating.item for rating in ratings}
    there = rows[rows["state"].isin(ASKED) & rows["item_id"].isin(items)].drop_duplicates(["item_id", "editor"])
    edits = {}
    for one in there.to_dict("records"):
        subject = None
        if pd.notna(one["edited_sha256"]) and one["edited_sha256"]:
            subject = Subject(one["source_sha256"], one["edited_sha256"], hash_instruction(one["instruction"]))
        item, editor = str(one["item_id"]), str(one["editor"])
        edits[item, editor] = Score(item, editor, "", np.nan, str(one["source_sha256"]), subject)
    return edits
