"""Merge the controls of all lanes into one table. Refuse lost, doubled and foreign rows.

    python scripts/merge_controls.py --run-dir results/demo --editors tiny-qwen --judges tiny-qwen3-vl --lanes 2 \\
        --plan results/demo/plan.parquet --out results/demo/controls.parquet

Reads RUN/{editor}/controls/{judge}/lane{k}.parquet. `--panels` as in merge_scores.py adds the rows of a panel.
"""

import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, json_object, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.paths import RunPaths
from editlane.core.text_width import pluralize
from editlane.lanes.merging import Keys, check_controls, provenance_of, read_criteria, read_lanes
from editlane.lanes.panels import add_panel_rows, describe_panels, read_panels
from editlane.protocols.controls import check_complete, sort_controls

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editors", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--judges", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--panels", type=json_object, default={}, help="panels of these judges, as JSON by name")
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--plan", type=Path, required=True, help="plan.parquet")
    parser.add_argument("--out", type=output_file, required=True, help="controls.parquet")
    args = parser.parse_args()

    panels = read_panels(args.panels, args.judges)
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
    Keys().check(rows, paths)
    rows = sort_controls(add_panel_rows(rows, panels), args.editors, [*args.judges, *args.panels])
    tables.write_parts(args.out, [rows], schema, provenance=provenance_of(paths) | describe_panels(panels))
    log.info("%s", pluralize(len(rows), "row"))


if __name__ == "__main__":
    run_step(main)
