"""Choose the controls that the judges are asked besides the edits. Each row is one control for every judge.

    python scripts/plan_controls.py --items results/demo/items.parquet --editors tiny-qwen --share 0.1 --least 150 \\
        --repeats 0.1 --seed 42 --canary resources/canary/items.jsonl --run-dir results/demo \\
        --out results/demo/plan.parquet

Pictures of the canary set are copied to RUN/sources, like those of the dataset.
"""

import logging
from pathlib import Path

import pyarrow as pa

from editlane.cli.flags import NAMES, StepParser, number, output_file, output_folder, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.datasets.prepare import prepare_items
from editlane.protocols.controls import CANARY_CATEGORIES, make_canary_rows, plan_controls

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--editors", **NAMES, required=True)
    parser.add_argument("--share", type=number(0, 6), required=True, help="acceptance controls per edit, 0..6")
    parser.add_argument(
        "--least", type=whole_number(0), default=0, help="least number of acceptance controls, unless share is 0"
    )
    parser.add_argument(
        "--repeats", type=number(0, 1), required=True, help="share of the edits that are scored again, 0..1"
    )
    parser.add_argument("--seed", type=whole_number(0), required=True)
    parser.add_argument("--canary", type=Path, help="the list of the canary set; default: no canaries")
    parser.add_argument("--run-dir", type=output_folder, required=True, help="results/<run>")
    parser.add_argument("--out", type=output_file, required=True, help="plan.parquet")
    args = parser.parse_args()

    items = tables.read_arrow(args.items, schemas.ITEMS.names)
    plan = plan_controls(items, args.editors, share=args.share, least=args.least, repeats=args.repeats, seed=args.seed)
    if args.canary and len(items):
        canaries, _ = prepare_items(
            args.canary, format="pairs", language="en", categories=CANARY_CATEGORIES, run_dir=args.run_dir
        )
        rows = make_canary_rows(canaries, args.editors[0], sorted(items["category"].unique().to_pylist()))
        plan = pa.concat_tables([plan, pa.Table.from_pylist(rows, schemas.PLAN)]).combine_chunks()
    tables.write_parts(args.out, [plan], schemas.PLAN)
    counts = plan["control"].value_counts().to_pylist()
    log.info("%s", ", ".join(f"{entry['values']} {entry['counts']}" for entry in counts))


if __name__ == "__main__":
    run_step(main)
