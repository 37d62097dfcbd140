"""Deal the items of a run into shards, one file per category and lane.

    python scripts/split_lanes.py --items results/demo/items.parquet --categories 物理 环境 --lanes 2 \\
        --shards results/demo/shards

Writes SHARDS/{category}/lane{k}.parquet, balanced by estimated cost; a lane without items gets an empty table.
"""

import argparse
from pathlib import Path

from editlane import tables
from editlane.lanes import split_lanes
from editlane.step import run_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--categories", nargs="+", required=True, help="in the order of the config")
    parser.add_argument("--lanes", type=int, required=True, help="1 or more")
    parser.add_argument("--shards", type=Path, required=True, help="folder for the shard files")
    args = parser.parse_args()
    if args.lanes < 1:
        parser.error(f"--lanes is {args.lanes}; use 1 or more")

    shards = split_lanes(tables.read_items(args.items), args.categories, args.lanes)
    for (category, lane), items in shards.items():
        path = args.shards / category / f"lane{lane}.parquet"
        tables.write_table(path, [tables.item_row(item) for item in items], tables.ITEMS)


if __name__ == "__main__":
    run_step(main)
