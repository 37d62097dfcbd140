"""Merge the controls of all lanes into one table. Refuse lost, doubled and foreign rows.

    python scripts/merge_controls.py --run-dir results/demo --editors tiny-qwen --judges tiny-qwen3-vl --lanes 2 \\
        --plan results/demo/plan.parquet --out results/demo/controls.parquet

Reads RUN/{editor}/controls/{judge}/lane{k}.parquet.
"""

import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.paths import RunPaths
from editlane.core.text_width import pluralize
from editlane.lanes.merging import check_controls, provenance_of, read_criteria, read_lanes
from editlane.protocols.controls import check_complete, sort_controls

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editors", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--judges", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--plan", type=Path, required=True, help="plan.parquet")
    parser.add_argument("--out", type=output_file, required=True, help="controls.parquet")
    args = parser.parse_args()

    run = RunPaths(args.run_dir)
    paths = [
        run.lane_controls(editor, judge, lane)
        for editor in args.editors
        for judge in args.judges
        for lane in range(args.lanes)
    ]
    schema = schemas.controls_schema(read_criteria(paths))
    rows = read_lanes(paths, schema)
    plan = tables.read_arrow(args.plan, schemas.PLAN.names)
    check_complete(rows, plan, args.judges)
    check_controls(rows, plan, paths)
    rows = sort_controls(rows, args.editors, args.judges)
    tables.write_parts(args.out, [rows], schema, provenance=provenance_of(paths))
    log.info("%s", pluralize(len(rows), "row"))


if __name__ == "__main__":
    run_step(main)
