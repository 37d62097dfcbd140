"""Put the scores of all lanes into one table: every item x editor x judge exactly once, or not at all.

    python scripts/merge_scores.py --items results/demo/items.parquet --editors fake --judges fake \\
        --scores results/demo/fake/scores/fake/*/lane*.parquet --out results/demo/scores.parquet

Refuses lost or doubled rows. With --partial, files that are not there yet are left out and their rows counted.
"""

import argparse
import logging
from pathlib import Path

from editlane import tables
from editlane.merging import merge
from editlane.step import run_step

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--editors", nargs="+", required=True, help="in the order of the report")
    parser.add_argument("--judges", nargs="+", required=True, help="in the order of the report")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="the tables of all lanes")
    parser.add_argument("--out", type=Path, required=True, help="scores.parquet")
    parser.add_argument("--partial", action="store_true", help="merge what is there")
    args = parser.parse_args()

    paths = [path for path in args.scores if path.exists()] if args.partial else args.scores
    merged = merge(paths, tables.read_items(args.items), args.editors, args.judges, partial=args.partial)
    provenance = merged.provenance | {"dataset": tables.read_provenance(args.items)}
    tables.write_table(args.out, merged.rows, tables.scores_schema(merged.criteria), provenance=provenance)
    log.info("%d rows; %d missing", len(merged.rows), merged.missing)


if __name__ == "__main__":
    run_step(main)
