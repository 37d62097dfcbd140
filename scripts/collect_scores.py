"""Collect the finished scores from the journals, even while lanes are running.

    python scripts/collect_scores.py --run-dir results/demo --items results/demo/items.parquet \\
        --config "$(cat config.json)" --plan results/demo/plan.parquet \\
        --out results/demo/partial_report/scores.parquet --controls results/demo/partial_report/controls.parquet

Scores made with other settings, for another instruction, or of an image that has changed since are skipped.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from editlane.cli.flags import StepParser, input_folder, json_object, output_file
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.text_width import pluralize
from editlane.lanes.finished import FinishedRun

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--config", type=json_object, required=True, help="the run's config as JSON")
    parser.add_argument("--plan", type=Path, required=True, help="plan.parquet, for its canaries; need not exist")
    parser.add_argument("--out", type=output_file, required=True, help="a table like scores.parquet, but incomplete")
    parser.add_argument("--controls", type=output_file, required=True, help="the same for controls.parquet")
    args = parser.parse_args()

    run = FinishedRun(args.run_dir, args.config, args.items, args.plan)
    made_by = run.provenance()
    scores, controls = schemas.scores_schema(run.criteria), schemas.controls_schema(run.criteria)
    asked: list[pa.Table] = []

    def score_parts() -> Iterator[pa.Table]:
        for part in run.parts():
            asked.append(part.controls)
            yield part.scores

    count = tables.write_parts(args.out, score_parts(), scores, provenance=made_by)
    tables.write_parts(args.controls, asked, controls, provenance=made_by)
    log.info("%s", pluralize(count, "row"))


if __name__ == "__main__":
    run_step(main)
