"""Judge the edits of one lane with one judge; finished ones come from the journal, not from the model.

    python scripts/gpulease.py -- python scripts/score_lane.py --run-dir results/demo --editor fake --judge fake \\
        --adapter fake --protocol resources/protocols/rubric.yaml --lane 0 \\
        --edits results/demo/fake/edits/物理/lane0.parquet \\
        --scores results/demo/fake/scores/fake/物理/lane0.parquet

Takes any number of edits tables and writes one scores table for each.
"""

import argparse
import logging
from pathlib import Path

from editlane import registry, tables
from editlane.identity import judge_lane, judge_provenance
from editlane.journal import DEATHS, Journal, Row
from editlane.judging import JudgeLane, cut_batches, is_judgeable, score_batches
from editlane.lifeline import Lifeline
from editlane.progress import Heartbeat
from editlane.scoring import load_protocol
from editlane.step import adapter_flags, device_label, read_adapter_flags, run_step

log = logging.getLogger(__name__)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--editor", required=True, help="whose edits these are")
    parser.add_argument("--judge", required=True, help="the judge's name in the config")
    adapter_flags(parser)
    parser.add_argument("--protocol", type=Path, required=True, help="a file of resources/protocols")
    parser.add_argument("--lane", type=int, required=True)
    parser.add_argument("--edits", type=Path, nargs="+", required=True, help="one table per category")
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="one output per table, in the same order")
    args = parser.parse_args()
    if len(args.edits) != len(args.scores):
        parser.error(
            f"--edits names {len(args.edits)} files and --scores {len(args.scores)}; give one output per table"
        )
    return args


def score_missing(
    lane: JudgeLane, edits: list[Row], journal: Journal, args: argparse.Namespace, lifeline: Lifeline
) -> dict[str, Row]:
    """The score columns of every edit; the judge is loaded only if the journal lacks some."""
    keys = {row["item_id"]: lane.key(row) for row in edits}
    done, deaths = journal.finished.rows, journal.finished.deaths
    scored = {item_id: done[key] for item_id, key in keys.items() if key in done}
    log.info("%s lane %d: %d edits, %d of them in the journal", args.judge, args.lane, len(edits), len(scored))

    def finished(batch: list[tuple[Row, Row]]) -> None:
        journal.finish({keys[row["item_id"]]: new for row, new in batch})
        scored.update({row["item_id"]: new for row, new in batch})

    def died(row: Row, times: int) -> bool:
        return deaths[keys[row["item_id"]]] >= times

    finished([(row, lane.crashed(row)) for row in edits if row["item_id"] not in scored and died(row, DEATHS)])
    missing = len(edits) - len(scored)
    if not missing:
        return scored
    options = read_adapter_flags(args)
    judge = registry.build("judge", options.pop("adapter"), registry.JUDGES, **options)
    device = device_label(judge)
    path = lane.run_dir / f"logs/score_lane/{args.editor}/{args.judge}/lane{args.lane}.heartbeat.json"
    labels = {"stage": "score", "editor": args.editor, "name": args.judge, "lane": args.lane}
    score_batches(
        lane,
        judge,
        # what killed its batch all but once is asked alone, so that the others of its batch get their scores
        list(
            cut_batches(
                edits,
                judge.batch_size,
                wanted=lambda row: row["item_id"] not in scored,
                alone=lambda row: died(row, DEATHS - 1),
            )
        ),
        device=device,
        check=lifeline.check,
        heartbeat=Heartbeat(path, device=device, total=missing, **labels),
        begin=lambda rows: journal.begin([keys[row["item_id"]] for row in rows]),
        finished=finished,
    )
    return scored


def main() -> None:
    args = parse_args()
    lifeline = Lifeline()
    options = read_adapter_flags(args)
    lane = judge_lane(args.run_dir, args.judge, load_protocol(args.protocol), options)
    shards = [tables.read_rows(path, tables.EDITS.names) for path in args.edits]
    with Journal(args.run_dir / "journal/score" / args.editor / args.judge, f"lane{args.lane}") as journal:
        judgeable = [row for shard in shards for row in shard if is_judgeable(row)]
        scored = score_missing(lane, judgeable, journal, args, lifeline)
        about = {"judge": judge_provenance(lane, options)}
        for edits, path, shard in zip(args.edits, args.scores, shards, strict=True):
            table = [lane.score_row(row, scored.get(row["item_id"])) for row in shard]
            source = tables.read_provenance(edits) | about
            tables.write_table(path, table, tables.scores_schema(lane.criteria), provenance=source)


if __name__ == "__main__":
    run_step(main)
