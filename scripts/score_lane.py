"""Score the edits of one lane with one judge. Finished scores are taken from the journal.

    python scripts/gpulease.py -- python scripts/score_lane.py --run-dir results/demo --editor fake --judge fake \\
        --adapter fake --protocol resources/protocols/rubric.yaml --lane 0 \\
        --edits results/demo/fake/edits/物理/lane0.parquet --scores results/demo/fake/scores/fake/物理/lane0.parquet \\
        --plan results/demo/plan.parquet --controls results/demo/fake/controls/fake/lane0.parquet

Writes one scores table per edits table.
"""

import argparse
from pathlib import Path

from editlane.cli.flags import EACH_ONCE, StepParser, folder_name, output_file
from editlane.cli.model_flags import add_lane_flags, read_model_flags, require_pairs
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.paths import SCORE, LaneId
from editlane.lanes.journal import Journal
from editlane.lanes.judging import JudgeSpec, JudgeWork, is_judgeable
from editlane.lanes.runner import record_crashes, run_lane
from editlane.lanes.stopping import StopSignal
from editlane.models import registry
from editlane.protocols.controls import select_lane_questions
from editlane.protocols.scoring import load_protocol


def parse_args() -> argparse.Namespace:
    parser = StepParser(__doc__)
    add_lane_flags(parser)
    parser.add_argument("--judge", type=folder_name, required=True, help="the judge's name in the config")
    parser.add_argument("--protocol", type=Path, required=True, help="a file of resources/protocols")
    parser.add_argument("--edits", type=Path, **EACH_ONCE, required=True, help="one table per category")
    parser.add_argument("--scores", type=output_file, **EACH_ONCE, required=True, help="one per table, in that order")
    parser.add_argument("--plan", type=Path, required=True, help="plan.parquet, with the controls to ask")
    parser.add_argument("--controls", type=output_file, required=True, help="the table of controls to write")
    args = parser.parse_args()
    require_pairs(parser, args, "edits", "scores")
    return args


def main() -> None:
    args = parse_args()
    stop = StopSignal()
    options = read_model_flags(args)
    spec = JudgeSpec.of(args.run_dir, args.judge, load_protocol(args.protocol), options)
    shards = [tables.read_edits(path, args.editor) for path in args.edits]
    edits = [row for shard in shards for row in shard]
    plan = tables.read_plan(args.plan, args.editor, [row["item_id"] for row in edits])
    controls = select_lane_questions(plan, edits, args.editor, args.lane, spec.samples)
    source = tables.read_provenance(args.edits[0])
    work = JudgeWork(
        spec,
        LaneId(SCORE, args.editor, args.judge, args.lane),
        [[row for row in rows if is_judgeable(row)] for rows in (edits, controls)],
        lambda: registry.build("judge", **options),
        source.get("editor", {}).get(args.editor, {}).get("key"),
    )
    with Journal(
        work.paths.journal(args.editor, args.judge), work.lane.writer, work.wanted.keys(), stop.check
    ) as journal:
        scored = run_lane(work, journal, stop.check, args.timeout)
        source |= {"judge": spec.describe(options)}
        for path, rows in (*zip(args.scores, shards, strict=True), (args.controls, controls)):
            table = [spec.score_row(row, scored[spec.key(row)] if is_judgeable(row) else None) for row in rows]
            schema = schemas.controls_schema if rows is controls else schemas.scores_schema
            tables.write_table(path, table, schema(spec.criteria), provenance=source)
        record_crashes(journal, scored)


if __name__ == "__main__":
    run_step(main, is_lane=True)
