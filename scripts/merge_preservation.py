"""Put the preservation of all lanes into one table: every item x editor exactly once, or not at all.

    python scripts/merge_preservation.py --run-dir results/demo --editors tiny-qwen --lanes 2 \\
        --items results/demo/items.parquet --out results/demo/preservation.parquet

Reads RUN/{editor}/preservation/lane{k}.parquet. Refuses lost or doubled rows.
"""

import argparse
import logging
from pathlib import Path

from editlane import tables
from editlane.merging import Cell, merge
from editlane.step import run_step

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--editors", nargs="+", required=True, help="in the order of the report")
    parser.add_argument("--lanes", type=int, required=True)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--out", type=Path, required=True, help="preservation.parquet")
    args = parser.parse_args()

    cells = [
        Cell(
            names={"editor": editor},
            paths=[args.run_dir / editor / f"preservation/lane{lane}.parquet" for lane in range(args.lanes)],
        )
        for editor in args.editors
    ]
    item_ids = tables.read_arrow(args.items)["item_id"].to_pylist()
    parts = merge(cells, item_ids, tables.PRESERVATION)
    count = tables.write_parts(args.out, parts, tables.PRESERVATION)
    log.info("%d rows", count)


if __name__ == "__main__":
    run_step(main)
