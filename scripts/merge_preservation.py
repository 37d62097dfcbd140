"""Merge the preservation of all lanes into one table. Refuse lost, doubled and foreign rows.

    python scripts/merge_preservation.py --run-dir results/demo --editors tiny-qwen --lanes 2 \\
        --items results/demo/items.parquet --out results/demo/preservation.parquet

Reads RUN/{editor}/preservation/lane{k}.parquet. Every item x editor must occur exactly once.
"""

import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.paths import RunPaths
from editlane.core.text_width import pluralize
from editlane.lanes.merging import SHARED, Cell, merge

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editors", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--out", type=output_file, required=True, help="preservation.parquet")
    args = parser.parse_args()

    paths = RunPaths(args.run_dir)
    cells = [
        Cell(
            names={"editor": editor},
            paths=[paths.lane_preservation(editor, lane) for lane in range(args.lanes)],
        )
        for editor in args.editors
    ]
    items = tables.read_arrow(args.items, ["item_id", *SHARED])
    parts = merge(cells, items, schemas.PRESERVATION)
    count = tables.write_parts(args.out, parts, schemas.PRESERVATION)
    log.info("%s", pluralize(count, "row"))


if __name__ == "__main__":
    run_step(main)
