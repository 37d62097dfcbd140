"""Find the weights of a panel of judges in people's ratings, and say whether they are better than the plain mean.

    python scripts/fit_weights.py --ratings ratings.csv --scores results/demo/scores.parquet --judges a b c

Files are those of compare_ratings.py. Weights are 0 or more and sum to 1. They are tried on source images that they
were not fitted to; if they gain nothing there, use the mean.
"""

import json
import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, output_file
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.printable import escape_lines
from editlane.core.tables import read_provenance
from editlane.core.text_width import pluralize
from editlane.images.files import write_atomically
from editlane.ratings.tables import drop_outdated, list_judges, read_ratings, read_scores
from editlane.ratings.weights import find_weights, format_weights

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument(
        "--ratings", type=Path, action="append", required=True, help="a file of ratings; may be repeated"
    )
    parser.add_argument("--scores", type=Path, required=True, help="the table of scores")
    parser.add_argument("--judges", **NAMES, default=[], help="two or more of its judges; default: all but panels")
    parser.add_argument("--out", type=output_file, help="the JSON file to write")
    args = parser.parse_args()

    ratings, scores = read_ratings(args.ratings), read_scores(args.scores)
    panels = _list_panels(args.scores)
    judges = [list_judges(scores, judge)[0] for judge in dict.fromkeys(args.judges)]
    judges = judges or [judge for judge in list_judges(scores) if judge not in panels]
    if both := [judge for judge in judges if judge in panels]:
        raise UserError(f"--judges: {both[0]} is a panel, whose scores are those of its judges. Name these instead.")
    if len(judges) < 2:
        raise UserError(f"A panel has two judges or more, but there is {judges[0]} alone. Give scores of several.")
    usable, outdated = drop_outdated(ratings, scores)
    found = find_weights(usable, scores, judges)
    if outdated:
        what = pluralize(len(outdated), "rating")
        log.warning("left out: %s of another edit, source or instruction than was scored", what)
    print(escape_lines(format_weights(found)))
    if args.out:
        write_atomically(args.out, f"{json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False)}\n".encode())
        log.info("wrote %s", args.out)


def _list_panels(scores: Path) -> list[str]:
    """List the panels of the run that wrote this table. Other tables tell of none."""
    return list(read_provenance(scores).get("panels") or {}) if scores.suffix == ".parquet" else []


if __name__ == "__main__":
    run_step(main)
