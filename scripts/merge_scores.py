"""Merge the scores of all lanes into one table. Refuse lost, doubled and foreign rows.

    python scripts/merge_scores.py --run-dir results/demo --editors tiny-qwen --judges tiny-qwen3-vl \\
        --categories 物理 环境 --lanes 2 --items results/demo/items.parquet --out results/demo/scores.parquet

Reads RUN/{editor}/scores/{judge}/{category}/lane{k}.parquet. Every item x editor x judge must occur exactly once.
`--panels '{"both": {"judges": ["a", "b"], "combine": "mean", "quorum": 2, "weights": null}}'` adds the rows of a panel.
"""

import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, json_object, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.text_width import pluralize
from editlane.lanes.merging import SHARED, merge, provenance_of, read_criteria, score_cells
from editlane.lanes.panels import add_panels, describe_panels, read_panels

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editors", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--judges", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--panels", type=json_object, default={}, help="panels of these judges, as JSON by name")
    parser.add_argument("--categories", **NAMES, required=True)
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--out", type=output_file, required=True, help="scores.parquet")
    args = parser.parse_args()

    panels = read_panels(args.panels, args.judges)
    cells = score_cells(args.run_dir, args.editors, args.judges, args.categories, args.lanes)
    paths = [path for cell in cells for path in cell.paths]
    schema = schemas.scores_schema(read_criteria(paths))
    items = tables.read_arrow(args.items, ["item_id", *SHARED])
    provenance = provenance_of(paths) | {"dataset": tables.read_provenance(args.items)} | describe_panels(panels)
    parts = zip(cells, merge(cells, items, schema), strict=True)
    rows = add_panels(((cell.names["editor"], cell.names["judge"], part) for cell, part in parts), panels)
    count = tables.write_parts(args.out, rows, schema, provenance=provenance)
    log.info("%s", pluralize(count, "row"))


if __name__ == "__main__":
    run_step(main)
