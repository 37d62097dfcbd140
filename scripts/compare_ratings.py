"""Compare the scores of judges with ratings by people; print tables and write JSON.

    python scripts/compare_ratings.py --ratings ratings.csv --scores results/demo/scores.parquet --out agreement.json

Ratings (.csv, .tsv, .parquet) have the columns item, system, rater, score, on any scale. Those that tell what they are
of (collect_ratings.py writes it) count only for the very same edit. Scores are a run's scores.parquet, or a table with
item, system, score. Intervals are 95 %, bootstrapped over source images.
"""

import json
import logging
from pathlib import Path

from editlane.cli.flags import StepParser, output_file
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.printable import escape_lines
from editlane.images.files import write_atomically
from editlane.ratings.comparison import SEED, compare_judge, compare_raters
from editlane.ratings.summary_text import format_judge, format_raters
from editlane.ratings.tables import align, drop_outdated, list_judges, read_ratings, read_scores
from editlane.stats.resampled import RESAMPLES

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument(
        "--ratings", type=Path, action="append", required=True, help="a file of ratings; may be repeated"
    )
    parser.add_argument("--scores", type=Path, required=True, help="the table of scores")
    parser.add_argument("--judge", help="one judge of the scores table; default: every judge")
    parser.add_argument("--out", type=output_file, help="the JSON file to write")
    args = parser.parse_args()

    given, scores = read_ratings(args.ratings), read_scores(args.scores)
    ratings, outdated = drop_outdated(given, scores)
    if outdated and not ratings:
        raise UserError(
            f"No rating of the {len(given)} is of an edit, a source and an instruction that {args.scores} has. "
            "Rate the present edits with collect_ratings.py, or give the scores of the run that was rated."
        )
    compared = {judge: align(ratings, scores, judge) for judge in list_judges(scores, args.judge)}
    raters = compare_raters(ratings, outdated, scores) | {"files": [str(path) for path in args.ratings]}
    judges = {judge: compare_judge(aligned) for judge, aligned in compared.items()}
    blocks = [format_raters(raters), *(format_judge(judge, about) for judge, about in judges.items())]
    print(escape_lines("\n\n".join(blocks)))
    if args.out:
        settings = {"resamples": RESAMPLES, "seed": SEED, "level": 0.95}
        found = {"scores": str(args.scores), "raters": raters, "judges": judges, "settings": settings}
        text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(args.out, f"{text}\n".encode())
        log.info("wrote %s", args.out)


if __name__ == "__main__":
    run_step(main)
