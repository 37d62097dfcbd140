"""Choose which controls the judges are asked beside the edits: one row per control, the same for every judge.

    python scripts/plan_controls.py --items results/demo/items.parquet --editors tiny-qwen --share 0.1 --repeats 0.1 \\
        --seed 42 --canary resources/canary/items.jsonl --run-dir results/demo --out results/demo/plan.parquet

The canary set's pictures go to RUN/sources, like those of the dataset.
"""

import argparse
import logging
from collections import Counter
from pathlib import Path

from editlane import tables
from editlane.controls import CANARY_CATEGORIES, canary_rows, plan_controls
from editlane.datasets.prepare import prepare_items
from editlane.errors import UserError
from editlane.step import run_step

log = logging.getLogger(__name__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--editors", nargs="+", required=True)
    parser.add_argument("--share", type=float, required=True, help="acceptance controls per edit, 0..4")
    parser.add_argument("--repeats", type=float, required=True, help="share of the edits that are asked again, 0..1")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--canary", type=Path, help="the list of the canary set; without it there are no canaries")
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--out", type=Path, required=True, help="plan.parquet")
    args = parser.parse_args()
    for name, most in (("share", 4), ("repeats", 1)):
        if not 0 <= getattr(args, name) <= most:
            raise UserError(f"--{name} is {getattr(args, name)}; use a number from 0 to {most}.")

    items = tables.read_items(args.items)
    rows = plan_controls(items, args.editors, share=args.share, repeats=args.repeats, seed=args.seed)
    if args.canary and items:
        canaries, _ = prepare_items(
            args.canary, format="pairs", language="en", categories=CANARY_CATEGORIES, run_dir=args.run_dir
        )
        rows += canary_rows(canaries, args.editors[0], sorted({item.category for item in items}))
    tables.write_table(args.out, rows, tables.PLAN)
    log.info("%s", ", ".join(f"{name} {count}" for name, count in Counter(row["control"] for row in rows).items()))


if __name__ == "__main__":
    run_step(main)
