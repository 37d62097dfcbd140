"""Choose the pairs of edits that one judge compares in one round of the arena, and in the first one the controls.

    python scripts/plan_pairs.py --items results/demo/items.parquet --run-dir results/demo --editors a b \\
        --categories 物理 --lanes 1 --judge j --round 1 --rounds 1 --share 0.1 --least 150 --seed 42 \\
        --out results/demo/arena/j/round1/plan.parquet

Reads RUN/{editor}/edits/{category}/lane{k}.parquet, and the answers of the earlier rounds,
RUN/arena/{judge}/round{n}/lane{k}.parquet.
"""

import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, folder_name, input_folder, number, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.paths import RunPaths
from editlane.core.text_width import pluralize
from editlane.lanes.merging_pairs import read_answers, read_ordered_edits
from editlane.protocols.pair_intervals import READ
from editlane.protocols.pair_plan import ArenaPlan
from editlane.protocols.pair_table import list_edits, make_plan_table

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editors", **NAMES, required=True, help="two or more")
    parser.add_argument("--categories", **NAMES, required=True)
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--judge", type=folder_name, required=True, help="the judge's name in the config")
    parser.add_argument("--round", type=whole_number(1), required=True, help="counted from 1")
    parser.add_argument("--rounds", type=whole_number(1), required=True, help="rounds that share the budget")
    parser.add_argument("--budget", type=whole_number(1), help="pairs of edits in all rounds; default: all")
    parser.add_argument("--share", type=number(0, 6), required=True, help="controls per question about a pair, 0..6")
    parser.add_argument("--least", type=whole_number(0), default=0, help="least number of controls, unless share is 0")
    parser.add_argument("--seed", type=whole_number(0), required=True)
    parser.add_argument("--out", type=output_file, required=True, help="the plan of the round")
    args = parser.parse_args()

    run = RunPaths(args.run_dir)
    items = tables.read_arrow(args.items, schemas.ITEMS.names)
    edits = {name: read_ordered_edits(run, name, args.categories, args.lanes, items) for name in args.editors}
    answers = [run.lane_pairs(args.judge, past, lane) for past in range(1, args.round) for lane in range(args.lanes)]
    plan = ArenaPlan(items, args.editors, seed=args.seed, rounds=args.rounds, budget=args.budget)
    questions = plan.plan_pairs(args.round, read_answers(answers).select(READ).to_pylist())
    pairs = len(questions) // 2
    if args.round == 1:
        made = {name: list_edits(table) for name, table in edits.items()}
        questions += plan.plan_controls(made, args.share, args.least)
    table = make_plan_table(items, edits, questions, args.judge, args.round)
    tables.write_parts(args.out, [table], schemas.PAIR_PLAN, provenance={"plan": plan.describe()})
    log.info("%s in both orders, %s", pluralize(pairs, "pair"), pluralize(len(questions) - 2 * pairs, "control"))


if __name__ == "__main__":
    run_step(main)
