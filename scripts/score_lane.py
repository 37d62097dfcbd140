"""Score the edits of one lane, those of all editors, with one judge. Finished scores are taken from the journals.

    python scripts/gpulease.py -- python scripts/score_lane.py --run-dir results/demo --editors fake --judge fake \\
        --adapter fake --protocol resources/protocols/rubric.yaml --lane 0 --categories 物理 \\
        --plan results/demo/plan.parquet

Reads RUN/{editor}/edits/{category}/lane{k}.parquet, and writes RUN/{editor}/scores/{judge}/{category}/lane{k}.parquet
and RUN/{editor}/controls/{judge}/lane{k}.parquet.
"""

import argparse
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, folder_name
from editlane.cli.model_flags import add_lane_flags, read_model_flags
from editlane.cli.step import run_step
from editlane.lanes.journal_set import JournalSet
from editlane.lanes.judging import JudgeSpec, JudgeWork, group_by_item
from editlane.lanes.judging_tables import LaneTables
from editlane.lanes.runner import record_crashes, run_lane
from editlane.lanes.stopping import StopSignal
from editlane.models import registry
from editlane.protocols.scoring import load_protocol


def parse_args() -> argparse.Namespace:
    parser = StepParser(__doc__)
    add_lane_flags(parser)
    parser.add_argument("--editors", **NAMES, required=True, help="the editors whose edits are judged")
    parser.add_argument("--judge", type=folder_name, required=True, help="the judge's name in the config")
    parser.add_argument("--categories", **NAMES, required=True)
    parser.add_argument("--protocol", type=Path, required=True, help="a file of resources/protocols")
    parser.add_argument("--plan", type=Path, required=True, help="plan.parquet, with the controls to ask")
    parser.add_argument(
        "--journal-only", action="store_true", help="write no tables, because other editors are missing"
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    stop = StopSignal()
    options = read_model_flags(args)
    spec = JudgeSpec.of(args.run_dir, args.judge, load_protocol(args.protocol), options)
    editors = [LaneTables.read(spec, name, args.lane, args.categories, args.plan) for name in args.editors]
    edits = [row for one in editors for rows in one.edits.values() for row in rows]
    controls = [row for one in editors for row in one.controls]
    lists = [group_by_item(edits), controls]
    work = JudgeWork(spec, args.lane, lists, lambda: registry.build("judge", **options), stop.check)
    with JournalSet(work.list_journals(), work.lane.writer, stop.check) as journal:
        scored = run_lane(work, journal, stop, args.timeout)
        for one in editors if not args.journal_only else ():
            one.write(scored | journal.kept.get(one.journal, {}), spec.describe(options))
        record_crashes(journal, scored)


if __name__ == "__main__":
    run_step(main, is_lane=True)
