"""Write the report of a run: report.html (one file that can be mailed), report.md and report.json.

    python scripts/make_report.py --scores results/demo/scores.parquet --items results/demo/items.parquet \\
        --run-dir results/demo --out-dir results/demo/report
"""

import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, number, output_folder
from editlane.cli.step import run_step
from editlane.ratings.votes import make_frame, read_people
from editlane.report.load import find_earlier_controls, load_report
from editlane.report.notices import find_notices
from editlane.report.texts import LANGUAGES
from editlane.report.write import write_report

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.parquet")
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>, where the images are")
    parser.add_argument("--out-dir", type=output_folder, required=True, help="the folder for the three files")
    parser.add_argument("--categories", **NAMES, default=[], help="in this order; an empty category gets a row, too")
    parser.add_argument("--expected-editors", **NAMES, default=[], help="missing rows of these make a partial report")
    parser.add_argument("--expected-judges", **NAMES, default=[], help="missing rows of these make a partial report")
    parser.add_argument("--controls", type=Path, help="controls.parquet; without it nothing is ranked")
    parser.add_argument("--preservation", type=Path, help="preservation.parquet")
    parser.add_argument("--costs", type=Path, help="costs.parquet")
    parser.add_argument("--pairs", type=Path, help="pairs.parquet, the answers of pairwise judges")
    parser.add_argument(
        "--votes", type=Path, nargs="*", default=[], help="people's votes on pairs, by collect_ratings.py --pairs"
    )
    parser.add_argument("--ratings", type=Path, help="people's ratings, as of collect_ratings.py")
    parser.add_argument("--baseline", help="the editor that comes first")
    parser.add_argument("--min-coverage", type=number(0, 1), default=0.0, help="0..1; warn below this share")
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="the language of the report")
    args = parser.parse_args()

    report = load_report(
        scores=args.scores,
        items=args.items,
        run=args.run_dir.name,
        editors=args.expected_editors,
        judges=args.expected_judges,
        categories=args.categories,
        baseline=args.baseline,
        controls=args.controls,
        preservation=args.preservation,
        costs=args.costs,
        pairs=args.pairs,
        earlier=find_earlier_controls(args.run_dir),
        votes=make_frame(read_people(args.votes)) if args.votes else None,
        ratings=args.ratings,
    )
    options = {"min_coverage": args.min_coverage, "language": args.language}
    notices = find_notices(report, **options)
    write_report(report, notices, run_dir=args.run_dir, out_dir=args.out_dir, **options)
    for notice in notices:
        log.warning("%s", " ".join((notice.title, *notice.lines)))


if __name__ == "__main__":
    run_step(main)
