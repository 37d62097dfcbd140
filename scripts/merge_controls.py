"""Put the controls of all lanes into one table: every planned control once for every judge, or not at all.

    python scripts/merge_controls.py --run-dir results/demo --editors tiny-qwen --judges tiny-qwen3-vl --lanes 2 \\
        --plan results/demo/plan.parquet --out results/demo/controls.parquet

Reads RUN/{editor}/controls/{judge}/lane{k}.parquet.
"""

import argparse
import logging
from pathlib import Path

from editlane import tables
from editlane.controls import check_complete, control_order
from editlane.merging import criteria_of, provenance_of
from editlane.step import run_step

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--editors", nargs="+", required=True, help="in the order of the report")
    parser.add_argument("--judges", nargs="+", required=True, help="in the order of the report")
    parser.add_argument("--lanes", type=int, required=True)
    parser.add_argument("--plan", type=Path, required=True, help="plan.parquet")
    parser.add_argument("--out", type=Path, required=True, help="controls.parquet")
    args = parser.parse_args()

    paths = tables.controls_paths(args.run_dir, args.editors, args.judges, args.lanes)
    rows = [row for path in paths for row in tables.read_rows(path)]
    check_complete(rows, tables.read_rows(args.plan), args.judges)
    rows.sort(key=control_order(args.editors, args.judges))
    tables.write_table(args.out, rows, tables.controls_schema(criteria_of(paths)), provenance=provenance_of(paths))
    log.info("%d rows", len(rows))


if __name__ == "__main__":
    run_step(main)
