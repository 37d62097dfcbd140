"""Compare finished runs: comparison.html (one file that can be mailed), comparison.md and comparison.json.

    python scripts/compare_runs.py results/before results/after --out results/comparison
    python scripts/compare_runs.py results/before results/after --editors qwen=qwen-fp8 --out results/comparison

Each run is compared with the first one, on items of the same photo and instruction, by judges that both runs have.
Scores of different judges or protocols are not subtracted; the page says what differs.
"""

import argparse
import logging

from editlane.cli.flags import EACH_ONCE, StepParser, folder_name, input_folder, output_folder
from editlane.cli.step import run_step
from editlane.core.errors import UnknownName
from editlane.report.runs.load import load_runs
from editlane.report.runs.numbers import compare_runs
from editlane.report.runs.write import write_comparison
from editlane.report.texts import LANGUAGES

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("runs", type=input_folder, nargs="+", help="folders results/<run>; the first is the reference")
    parser.add_argument("--out", type=output_folder, required=True, help="the folder for the three files")
    parser.add_argument(
        "--editors", type=two_names, **EACH_ONCE, default=[], help="A=B: A of the first run against B of the others"
    )
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="the language of the page")
    args = parser.parse_args()

    runs = load_runs(args.runs)
    for first, other in args.editors:
        if first not in runs[0].editors:
            raise UnknownName(f"editor of {runs[0].name}", first, runs[0].editors)
        known = {name for run in runs[1:] for name in run.editors}
        if other not in known:
            raise UnknownName("editor of the other runs", other, known)
    write_comparison(runs, compare_runs(runs, args.editors), out_dir=args.out, language=args.language)
    log.info("wrote %s", args.out / "comparison.html")


def two_names(text: str) -> tuple[str, str]:
    """Parse A=B, two names of editors."""
    first, equals, other = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not A=B, two names of editors")
    return folder_name(first), folder_name(other)


if __name__ == "__main__":
    run_step(main)
