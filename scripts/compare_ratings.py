"""Compare the scores of judges with ratings by people; prints tables and writes JSON.

    python scripts/compare_ratings.py --ratings ratings.csv --scores results/demo/scores.parquet --out agreement.json

Ratings (.csv, .tsv, .parquet) have the columns item, system, rater, score, on any scale. Scores are a run's
scores.parquet, or a table with item, system, score. Intervals are 95 %, bootstrapped over source images.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from editlane.cli.flags import StepParser, output_file
from editlane.cli.step import run_step
from editlane.images.files import write_atomically
from editlane.ratings.summary_text import format_judge, format_raters
from editlane.ratings.tables import (
    Aligned,
    Rating,
    Score,
    align,
    list_judges,
    make_rating_array,
    read_ratings,
    read_scores,
)
from editlane.stats.agreement import measure_judge_agreement, measure_rater_agreement
from editlane.stats.resampled import RESAMPLES

log = logging.getLogger(__name__)

SEED = 0


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--ratings", type=Path, action="append", required=True, help="may be given several times")
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--judge", help="one judge of the scores table; without it, every judge")
    parser.add_argument("--out", type=output_file, help="where the JSON goes")
    args = parser.parse_args()

    ratings, scores = read_ratings(args.ratings), read_scores(args.scores)
    compared = {judge: align(ratings, scores, judge) for judge in list_judges(scores, args.judge)}
    raters = summarise_raters(ratings, scores) | {"files": [str(path) for path in args.ratings]}
    judges = {judge: summarise_judge(aligned) for judge, aligned in compared.items()}
    print("\n\n".join([format_raters(raters), *(format_judge(judge, about) for judge, about in judges.items())]))
    if args.out:
        settings = {"resamples": RESAMPLES, "seed": SEED, "level": 0.95}
        found = {"scores": str(args.scores), "raters": raters, "judges": judges, "settings": settings}
        text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(args.out, f"{text}\n".encode())
        log.info("wrote %s", args.out)


def summarise_raters(ratings: Sequence[Rating], scores: Sequence[Score]) -> dict[str, Any]:
    """What the ratings are, and Krippendorff's alpha over all of them, also of edits that no judge has scored."""
    given = [rating for rating in ratings if not np.isnan(rating.score)]
    items, systems, raters = (sorted({str(rating[place]) for rating in given}) for place in range(3))
    sources = {score.item: score.source for score in scores}
    clusters = np.array([sources.get(item, item) for item in items])
    return {
        "ratings": dict(sorted(Counter(rating.rater for rating in given).items())),
        "without_score": len(ratings) - len(given),
        "items": len(items),
        "systems": systems,
        "alpha": measure_rater_agreement(make_rating_array(given, items, systems, raters), clusters, seed=SEED),
    }


def summarise_judge(aligned: Aligned) -> dict[str, Any]:
    """The agreement of one judge, what was left out, and alpha over the ratings that were compared."""
    numbers = measure_judge_agreement(aligned.ratings, aligned.scores, aligned.sources, aligned.systems, seed=SEED)
    return {
        "left_out": {"unknown": aligned.unknown, "not_scored": aligned.not_scored},
        "alpha": measure_rater_agreement(aligned.ratings, aligned.sources, seed=SEED),
        **numbers,
    }


if __name__ == "__main__":
    run_step(main)
