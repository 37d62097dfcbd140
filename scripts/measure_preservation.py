"""Measure on the CPU how much of each source image the edits of one lane kept.

    python scripts/measure_preservation.py --run-dir results/demo --editor fake \\
        --edits results/demo/fake/edits/物理/lane0.parquet --out results/demo/fake/preservation/lane0.parquet

Reads any number of edits tables and writes one table with a row per edit.
"""

import logging
from collections import Counter
from pathlib import Path

from editlane.cli.flags import EACH_ONCE, StepParser, folder_name, input_folder, output_file
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.images.preservation import make_preservation_row

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editor", type=folder_name, required=True, help="the editor's name in the config")
    parser.add_argument("--edits", type=Path, **EACH_ONCE, required=True, help="one table per category")
    parser.add_argument("--out", type=output_file, required=True, help="one table for all of them")
    args = parser.parse_args()

    edits = [row for path in args.edits for row in tables.read_edits(path, args.editor)]
    rows = [make_preservation_row(args.run_dir, row) for row in edits]
    tables.write_table(args.out, rows, schemas.PRESERVATION)
    for row in rows:
        if row["error"]:
            log.warning("%s/%s %s", row["category"], row["item_id"], row["error"])
    log.info("%s: %s", args.editor, dict(Counter(row["state"] for row in rows)))


if __name__ == "__main__":
    run_step(main)
