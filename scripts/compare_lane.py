"""Let one judge compare the pairs of edits of one lane and round. Finished answers are taken from the journal.

    python scripts/gpulease.py -- python scripts/compare_lane.py --run-dir results/demo --judge j --adapter fake \\
        --protocol resources/protocols/pairwise.yaml --lane 0 --lanes 1 \\
        --plan results/demo/arena/j/round1/plan.parquet --out results/demo/arena/j/round1/lane0.parquet
"""

import argparse
from pathlib import Path

from editlane.cli.flags import StepParser, folder_name, output_file, whole_number
from editlane.cli.model_flags import add_lane_flags, read_model_flags
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.lanes.comparing import CompareWork, PairSpec
from editlane.lanes.journal import Journal
from editlane.lanes.runner import record_crashes, run_lane
from editlane.lanes.stopping import StopSignal
from editlane.models import registry
from editlane.protocols.pair_table import select_lane
from editlane.protocols.pairwise import load_pairwise


def parse_args() -> argparse.Namespace:
    parser = StepParser(__doc__)
    add_lane_flags(parser)
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--judge", type=folder_name, required=True, help="the judge's name in the config")
    parser.add_argument("--protocol", type=Path, required=True, help="a file of resources/protocols that compares")
    parser.add_argument("--plan", type=Path, required=True, help="the plan of the round")
    parser.add_argument("--out", type=output_file, required=True, help="the answers of the lane")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.lane >= args.lanes:
        raise UserError(f"--lane is {args.lane}, but --lanes is {args.lanes}; lanes are counted from 0.")
    stop = StopSignal()
    options = read_model_flags(args)
    spec = PairSpec.of(args.run_dir, args.judge, load_pairwise(args.protocol), options)
    rows = select_lane(tables.read_arrow(args.plan, schemas.PAIR_PLAN.names), args.lane, args.lanes)
    work = CompareWork(spec, args.lane, rows, lambda: registry.build("judge", **options), stop.check)
    folder = RunPaths(args.run_dir).pair_journal(args.judge)
    with Journal(folder, work.lane.writer, work.wanted.keys(), stop.check) as journal:
        answers = run_lane(work, journal, stop, args.timeout)
        spec.write(args.out, rows, answers, spec.judge.describe(options))
        record_crashes(journal, answers)


if __name__ == "__main__":
    run_step(main, is_lane=True)
