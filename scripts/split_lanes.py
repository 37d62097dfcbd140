"""Split the items of a run into shards, one file per category and lane.

    python scripts/split_lanes.py --items results/demo/items.parquet --categories 物理 环境 --lanes 2 \\
        --shards results/demo/shards

Writes SHARDS/{category}/lane{k}.parquet, balanced by estimated cost. A lane without items gets an empty table.
"""

from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, output_folder, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.core.paths import locate_shard
from editlane.datasets.split import split_lanes


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--categories", **NAMES, required=True, help="all categories of the run")
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--shards", type=output_folder, required=True, help="folder for the shards")
    args = parser.parse_args()

    items = tables.read_arrow(args.items, schemas.ITEMS.names).select(schemas.ITEMS.names)
    unnamed = sorted(set(items["category"].unique().to_pylist()) - set(args.categories))
    if unnamed:
        raise UserError(f"{args.items} has items of {', '.join(unnamed)}, which --categories lacks. Name them all.")
    for category, lane, shard in split_lanes(items, args.categories, args.lanes):
        tables.write_parts(locate_shard(args.shards, category, lane), [shard], schemas.ITEMS)


if __name__ == "__main__":
    run_step(main)
