"""Write the report of a run: report.html (one file that can be mailed), report.md and report.json.

    python scripts/make_report.py --scores results/demo/scores.parquet --items results/demo/items.parquet \\
        --run-dir results/demo --out-dir results/demo/report
"""

import logging
import time
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, number, output_folder
from editlane.cli.step import run_step
from editlane.core.paths import RunPaths
from editlane.report.load import load_report
from editlane.report.notices import find_notices
from editlane.report.texts import LANGUAGES
from editlane.report.write import write_report

log = logging.getLogger(__name__)


def earlier_controls(run_dir: Path) -> list[Path]:
    """The controls of the runs beside this one that are older, the oldest first: did a judge change since then?"""
    mine = RunPaths(run_dir)
    written = {path: path.stat().st_mtime for run in mine.runs_beside() if (path := run.controls).is_file()}
    since = written.get(mine.controls, time.time())
    return sorted((path for path, at in written.items() if at < since), key=lambda path: (written[path], path))


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="scores.parquet")
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument(
        "--run-dir", type=input_folder, required=True, help="the folder that the tables' image paths start from"
    )
    parser.add_argument("--out-dir", type=output_folder, required=True, help="where the three files go")
    parser.add_argument("--categories", **NAMES, default=[], help="in this order; one without items gets a row, too")
    parser.add_argument("--expected-editors", **NAMES, default=[], help="a missing row of these makes a partial report")
    parser.add_argument("--expected-judges", **NAMES, default=[], help="a missing row of these makes a partial report")
    parser.add_argument(
        "--controls", type=Path, help="controls.parquet; without it no judge is tested, nothing is ranked"
    )
    parser.add_argument("--preservation", type=Path, help="preservation.parquet")
    parser.add_argument("--costs", type=Path, help="costs.parquet")
    parser.add_argument("--baseline", help="the editor that comes first")
    parser.add_argument("--min-coverage", type=number(0, 1), default=0.0, help="0..1; less than this is warned of")
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="of the report's own words")
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
        earlier=earlier_controls(args.run_dir),
    )
    told = {"min_coverage": args.min_coverage, "language": args.language}
    notices = find_notices(report, **told)
    write_report(report, notices, run_dir=args.run_dir, out_dir=args.out_dir, **told)
    for notice in notices:
        log.warning("%s", " ".join((notice.title, *notice.lines)))


if __name__ == "__main__":
    run_step(main)
