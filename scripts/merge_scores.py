"""Put the scores of all lanes into one table: every item x editor x judge exactly once, or not at all.

    python scripts/merge_scores.py --run-dir results/demo --editors tiny-qwen --judges tiny-qwen3-vl \\
        --categories 物理 环境 --lanes 2 --items results/demo/items.parquet --out results/demo/scores.parquet

Reads RUN/{editor}/scores/{judge}/{category}/lane{k}.parquet. Refuses lost or doubled rows.
"""

import argparse
import logging
from pathlib import Path

from editlane import tables
from editlane.merging import criteria_of, merge, provenance_of, score_cells
from editlane.step import run_step

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--editors", nargs="+", required=True, help="in the order of the report")
    parser.add_argument("--judges", nargs="+", required=True, help="in the order of the report")
    parser.add_argument("--categories", nargs="+", required=True)
    parser.add_argument("--lanes", type=int, required=True)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--out", type=Path, required=True, help="scores.parquet")
    args = parser.parse_args()

    cells = score_cells(args.run_dir, args.editors, args.judges, args.categories, args.lanes)
    paths = [path for cell in cells for path in cell.paths]
    schema = tables.scores_schema(criteria_of(paths))
    item_ids = tables.read_arrow(args.items)["item_id"].to_pylist()
    provenance = provenance_of(paths) | {"dataset": tables.read_provenance(args.items)}
    count = tables.write_parts(args.out, merge(cells, item_ids, schema), schema, provenance=provenance)
    log.info("%d rows", count)


if __name__ == "__main__":
    run_step(main)
