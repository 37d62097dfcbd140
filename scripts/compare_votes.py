"""Compare a judge's votes on pairs of edits with votes by people; print tables and write JSON.

    python scripts/compare_votes.py --votes people.csv --judge judge.jsonl --out votes.json
    python scripts/compare_votes.py --votes results/image_edition/gpt4o/pairwise.jsonl

Votes (.csv, .tsv, .jsonl, .parquet) have the columns item, system_a, system_b, vote and, for several people, rater. A
vote is A, B, tie or both_bad. A judge's vote may be a whole reply that holds [[A>B]], [[B>A]], [[A=B=Good]] or
[[A=B=Bad]]. Files of GenAI-Bench hold the votes of both and are read as they come. Intervals are 95 %.
"""

import json
import logging
from pathlib import Path

from editlane.cli.flags import StepParser, output_file
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.printable import escape_lines
from editlane.images.files import write_atomically
from editlane.ratings.votes import find_mirrored, join_votes, read_judge, read_people
from editlane.ratings.votes_text import format_votes
from editlane.stats.votes import measure_votes, rank_systems

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument(
        "--votes", type=Path, action="append", required=True, help="a file of people's votes; may be repeated"
    )
    parser.add_argument("--judge", type=Path, help="the judge's votes; default: the column judge_vote of --votes")
    parser.add_argument("--out", type=output_file, help="the JSON file to write")
    args = parser.parse_args()

    people = read_people(args.votes)
    judge = read_judge([args.judge], "vote") if args.judge else read_judge(args.votes, "judge_vote")
    joined = join_votes(people, judge)
    if joined.empty:
        raise UserError("No vote of a person is on a pair that the judge was asked about. Compare the names.")
    left_out = sum(vote.vote is not None for vote in people) - len(joined)
    agreement, ranking = measure_votes(joined, find_mirrored(judge)), rank_systems(joined)
    print(escape_lines(format_votes(agreement, ranking, left_out)))
    if args.out:
        found = {"agreement": agreement, "ranking": ranking, "left_out": left_out}
        text = json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False)
        write_atomically(args.out, f"{text}\n".encode())
        log.info("wrote %s", args.out)


if __name__ == "__main__":
    run_step(main)
