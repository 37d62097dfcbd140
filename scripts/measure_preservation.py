"""Describe how much of each source the edits of one lane left as it was; on the CPU, beside the GPU work.

    python scripts/measure_preservation.py --run-dir results/demo --editor fake \\
        --edits results/demo/fake/edits/物理/lane0.parquet --out results/demo/fake/preservation/lane0.parquet

Takes any number of edits tables and writes one table with a row for each of their rows.
"""

import argparse
import logging
from collections import Counter
from pathlib import Path

from editlane import tables
from editlane.errors import UserError
from editlane.preservation import preservation_row
from editlane.step import run_step

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--editor", required=True, help="whose edits these are")
    parser.add_argument("--edits", type=Path, nargs="+", required=True, help="one table per category")
    parser.add_argument("--out", type=Path, required=True, help="one table for all of them")
    args = parser.parse_args()

    edits = [row for path in args.edits for row in tables.read_rows(path, tables.EDITS.names)]
    others = {row["editor"] for row in edits} - {args.editor}
    if others:
        raise UserError(f"The edits tables hold edits by {', '.join(sorted(others))}, not only by {args.editor}.")
    rows = [preservation_row(args.run_dir, row) for row in edits]
    tables.write_table(args.out, rows, tables.PRESERVATION)
    for row in rows:
        if row["error"]:
            log.warning("%s/%s %s", row["category"], row["item_id"], row["error"])
    log.info("%s: %s", args.editor, dict(Counter(row["state"] for row in rows)))


if __name__ == "__main__":
    run_step(main)
