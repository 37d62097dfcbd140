"""Judge the edits of one lane with one judge; finished ones come from the journal, not from the model.

    python scripts/gpulease.py -- python scripts/score_lane.py --run-dir results/demo --editor fake --judge fake \\
        --adapter fake --protocol resources/protocols/rubric.yaml --lane 0 \\
        --edits results/demo/fake/edits/物理/lane0.parquet --scores results/demo/fake/scores/fake/物理/lane0.parquet \\
        --plan results/demo/plan.parquet --controls results/demo/fake/controls/fake/lane0.parquet

Takes any number of edits tables and writes one scores table for each.
"""

import argparse
import logging
from pathlib import Path

from editlane.cli.flags import EACH_ONCE, StepParser, folder_name, input_folder, output_file, whole_number
from editlane.cli.step import adapter_flags, device_label, read_adapter_flags, run_step, timeout_flag
from editlane.core import schemas, tables
from editlane.core.types import Control, Row, State
from editlane.lanes.heartbeat import Heartbeat
from editlane.lanes.identity import judge_lane, judge_provenance
from editlane.lanes.journal import DEATHS, Journal, read_journal
from editlane.lanes.judging import JudgeLane, cut_batches, is_judgeable, score_batches
from editlane.lanes.stopping import Lifeline
from editlane.models import registry
from editlane.protocols.controls import lane_questions
from editlane.protocols.scoring import load_protocol

log = logging.getLogger(__name__)


def parse_args() -> argparse.Namespace:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editor", type=folder_name, required=True, help="whose edits these are")
    parser.add_argument("--judge", type=folder_name, required=True, help="the judge's name in the config")
    adapter_flags(parser)
    parser.add_argument("--protocol", type=Path, required=True, help="a file of resources/protocols")
    parser.add_argument("--lane", type=whole_number(0), required=True)
    timeout_flag(parser)
    parser.add_argument("--edits", type=Path, **EACH_ONCE, required=True, help="one table per category")
    parser.add_argument("--scores", type=output_file, **EACH_ONCE, required=True, help="one per table, in that order")
    parser.add_argument("--plan", type=Path, required=True, help="which controls are asked, too")
    parser.add_argument("--controls", type=output_file, required=True, help="the output for them")
    args = parser.parse_args()
    if len(args.edits) != len(args.scores):
        parser.error(
            f"--edits names {len(args.edits)} files and --scores {len(args.scores)}; give one output per table"
        )
    return args


def known_canaries(lane: JudgeLane, lists: list[list[Row]], args: argparse.Namespace) -> dict[str, Row]:
    """Answers about canaries by another editor's lane: which editor's lane asks them is no part of the question."""
    wanted = {lane.key(row) for rows in lists for row in rows if row.get("control") == Control.CANARY}
    folders = sorted((lane.run_dir / "journal/score").glob("*")) if wanted else []
    found = (read_journal(folder / args.judge, wanted).rows for folder in folders)
    return {key: row for rows in found for key, row in rows.items()}


def score_missing(
    lane: JudgeLane, lists: list[list[Row]], journal: Journal, args: argparse.Namespace, lifeline: Lifeline
) -> dict[str, Row]:
    """The score columns of every row of the lists, by key; the judge is loaded only if the journal lacks some."""
    missing = {lane.key(row): row for rows in reversed(lists) for row in reversed(rows)}
    keys = {id(row): key for key, row in missing.items()}  # of two equal questions the first is asked
    done, deaths = journal.finished.rows | known_canaries(lane, lists, args), journal.finished.deaths
    scored = {key: done[key] for key in missing if key in done}
    log.info("%s lane %d: %d questions, %d of them in the journal", args.judge, args.lane, len(missing), len(scored))

    def finished(batch: list[tuple[Row, Row]]) -> None:
        new = {keys[id(row)]: columns for row, columns in batch}
        journal.finish(new)
        scored.update(new)

    fatal = [key for key in missing if key not in scored and deaths[key] >= DEATHS]
    scored |= {key: lane.crashed(missing[key]) for key in fatal}
    if len(scored) < len(missing):
        failed = sum(columns["state"] != State.SCORED for columns in scored.values())
        with heart_of(lane, args, total=len(missing), kept=len(scored), failed=failed) as heartbeat:
            options = read_adapter_flags(args)
            judge = registry.build("judge", options.pop("adapter"), registry.JUDGES, **options)
            device = device_label(judge)
            heartbeat.loaded(device)
            # what killed its batch all but once is asked alone, so that the others of its batch get their scores
            batches = [
                batch
                for rows in lists
                for batch in cut_batches(
                    rows,
                    lambda row: lane.weigh(judge, row),
                    judge.capacity,
                    wanted=lambda row: id(row) in keys and keys[id(row)] not in scored,
                    alone=lambda row: deaths[keys[id(row)]] >= DEATHS - 1,
                )
            ]
            # what a process died on comes last: all others are done before it kills again
            batches.sort(key=lambda batch: max(deaths[keys[id(row)]] for row in batch))
            score_batches(
                lane,
                judge,
                batches,
                device=device,
                check=lifeline.check,
                heartbeat=heartbeat,
                begin=lambda rows: journal.begin([keys[id(row)] for row in rows]),
                died=lambda rows: any(deaths[keys[id(row)]] for row in rows),
                finished=finished,
            )
    return scored


def heart_of(lane: JudgeLane, args: argparse.Namespace, *, total: int, kept: int, failed: int) -> Heartbeat:
    """The heartbeat of this process; it beats from before the judge is loaded."""
    names = {"stage": "score", "editor": args.editor, "judge": args.judge, "lane": args.lane}
    editor = tables.read_provenance(args.edits[0]).get("editor", {}).get(args.editor, {})
    names |= {"editor_key": editor.get("key"), "judge_key": lane.whole_key}
    return Heartbeat(lane.run_dir, **names, total=total, kept=kept, failed=failed, timeout=args.timeout)


def main() -> None:
    args = parse_args()
    lifeline = Lifeline()
    options = read_adapter_flags(args)
    lane = judge_lane(args.run_dir, args.judge, load_protocol(args.protocol), options)
    shards = [tables.read_edits(path, args.editor) for path in args.edits]
    edits = [row for shard in shards for row in shard]
    plan = tables.read_plan(args.plan, args.editor, [row["item_id"] for row in edits])
    controls = lane_questions(plan, edits, args.editor, args.lane, lane.samples)
    asked = [list(filter(is_judgeable, rows)) for rows in (edits, controls)]
    wanted = frozenset(lane.key(row) for rows in asked for row in rows)
    folder = args.run_dir / "journal/score" / args.editor / args.judge
    with Journal(folder, f"lane{args.lane}", wanted, lifeline.check) as journal:
        scored = score_missing(lane, asked, journal, args, lifeline)
        about = {"judge": judge_provenance(lane, options)}
        outputs = [*zip(args.scores, shards, strict=True), (args.controls, controls)]
        for path, rows in outputs:
            table = [lane.score_row(row, scored[lane.key(row)] if is_judgeable(row) else None) for row in rows]
            schema = schemas.controls_schema if rows is controls else schemas.scores_schema
            source = tables.read_provenance(args.edits[0]) | about
            tables.write_table(path, table, schema(lane.criteria), provenance=source)
        # only now: until the lane is through, no process asks them again
        journal.finish({key: columns for key, columns in scored.items() if columns["error_kind"] == "crash"})


if __name__ == "__main__":
    run_step(main, is_lane=True)
