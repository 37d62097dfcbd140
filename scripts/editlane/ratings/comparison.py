"""Compute the agreement of raters with each other and with a judge."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from editlane.ratings.tables import Aligned, Rating, Score, make_rating_array
from editlane.stats.agreement import measure_judge_agreement, measure_rater_agreement

SEED = 0
"""Seed of the bootstrap."""


def compare_raters(ratings: Sequence[Rating], outdated: Sequence[Rating], scores: Sequence[Score]) -> dict[str, Any]:
    """Count the ratings and compute Krippendorff's alpha over all of them, including edits without a score.

    `outdated` ratings are counted alone; see `drop_outdated`.
    """
    given = [rating for rating in ratings if not np.isnan(rating.score)]
    items, systems, raters = (sorted({str(rating[place]) for rating in given}) for place in range(3))
    sources = {score.item: score.source for score in scores}
    clusters = np.array([sources.get(item, item) for item in items])
    return {
        "ratings": dict(sorted(Counter(rating.rater for rating in given).items())),
        "without_score": len(ratings) - len(given),
        "without_subject": sum(rating.subject is None for rating in given),
        "outdated": dict(sorted(Counter(f"{rating.item} by {rating.system}" for rating in outdated).items())),
        "items": len(items),
        "systems": systems,
        "alpha": measure_rater_agreement(make_rating_array(given, items, systems, raters), clusters, seed=SEED),
    }


def compare_judge(aligned: Aligned) -> dict[str, Any]:
    """Compute a judge's agreement with the raters, count the skipped ratings, and compute alpha over the others."""
    numbers = measure_judge_agreement(aligned.ratings, aligned.scores, aligned.sources, aligned.systems, seed=SEED)
    return {
        "left_out": {"unknown": aligned.unknown, "not_scored": aligned.not_scored},
        "alpha": measure_rater_agreement(aligned.ratings, aligned.sources, seed=SEED),
        **numbers,
    }
