"""Turn a dataset into the items of a run.

    python scripts/prepare_items.py --dataset resources/demo/items.jsonl --format items --language en \\
        --categories 物理 环境 社会 因果 指代 --run-dir results/demo --out results/demo/items.parquet

Writes the table of items, and unchanged copies of the images to RUN-DIR/sources/AA/SHA256.EXT. With --given, it also
writes RUN-DIR/given.parquet, the edits of each editor that has a folder for itself.
"""

from pathlib import Path

from editlane.cli.flags import (
    NAMES,
    ByName,
    StepParser,
    input_folder,
    named_folder,
    output_file,
    output_folder,
    whole_number,
)
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.datasets.prepare import prepare_items
from editlane.datasets.public_formats import FORMATS


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset file; a folder for some formats")
    parser.add_argument("--format", required=True, help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("--language", required=True, help="the instructions to use: en or zh")
    parser.add_argument("--categories", **NAMES, required=True, help="records of other categories are skipped")
    parser.add_argument("--edited-dir", type=input_folder, help="take each item's edit from here, by its id")
    parser.add_argument(
        "--given", type=named_folder, nargs="+", action=ByName, help="EDITOR=FOLDER: take this editor's edits from here"
    )
    parser.add_argument("--limit", type=whole_number(1), help="only the first records of each category, this many")
    parser.add_argument("--samples", type=whole_number(1), default=1, help="edits of each item, with different seeds")
    parser.add_argument("--run-dir", type=output_folder, required=True, help="the run's folder, results/<run>")
    parser.add_argument("--out", type=output_file, required=True, help="the table of items to write")
    args = parser.parse_args()

    items, provenance = prepare_items(
        args.dataset,
        format=args.format,
        language=args.language,
        categories=args.categories,
        run_dir=args.run_dir,
        edited_dir=args.edited_dir,
        given=args.given,
        limit=args.limit,
        samples=args.samples,
    )
    tables.write_table(args.out, map(tables.item_row, items), schemas.ITEMS, provenance=provenance)


if __name__ == "__main__":
    run_step(main)
