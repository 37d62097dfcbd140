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
from editlane.identity import identity, provenance, short_key
from editlane.images import PREPROCESSING
from editlane.journal import Row, opened
from editlane.judging import PASSING_KINDS, JudgeLane, cut_batches, is_judgeable, score_batches, unjudged
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
    return parser.parse_args()


def score_missing(lane: JudgeLane, edits: list[Row], args: argparse.Namespace, lifeline: Lifeline) -> dict[str, Row]:
    """The score columns of every edit; the judge is loaded only if the journal lacks some."""
    folder = lane.run_dir / "journal/score" / args.editor / args.judge
    with opened(folder, f"lane{args.lane}") as (done, journal):
        keys = {row["item_id"]: lane.key(row) for row in edits}
        scored = {item_id: done[key] for item_id, key in keys.items() if key in done}
        missing = len(edits) - len(scored)
        log.info("%s lane %d: %d edits, %d of them in the journal", args.judge, args.lane, len(edits), len(scored))
        if not missing:
            return scored
        options = read_adapter_flags(args)
        judge = registry.build("judge", options.pop("adapter"), registry.JUDGES, **options)
        device = device_label(judge)
        path = lane.run_dir / f"logs/score_lane/{args.editor}/{args.judge}/lane{args.lane}.heartbeat.json"
        labels = {"stage": "score", "editor": args.editor, "name": args.judge, "lane": args.lane}
        heartbeat = Heartbeat(path, device=device, total=missing, **labels)

        def finished(batch: list[tuple[Row, Row]]) -> None:
            keep = {keys[row["item_id"]]: new for row, new in batch if new["error_kind"] not in PASSING_KINDS}
            journal.append(keep)
            scored.update({row["item_id"]: new for row, new in batch})

        batches = list(cut_batches(edits, judge.batch_size, lambda row: row["item_id"] not in scored))
        score_batches(lane, judge, batches, device=device, check=lifeline.check, heartbeat=heartbeat, finished=finished)
    return scored


def main() -> None:
    args = parse_args()
    lifeline = Lifeline()
    parts = identity("judge", registry.JUDGES, **read_adapter_flags(args)) | {"preprocessing": PREPROCESSING}
    protocol = load_protocol(args.protocol)
    lane = JudgeLane(
        judge=args.judge,
        identity=parts,
        judge_key=short_key(parts | {"protocol": [protocol.name, protocol.version]}),
        run_dir=args.run_dir,
        protocol=protocol,
        criteria=protocol.asked(parts["params"].get("optional_criteria", ())),
    )
    shards = [tables.read_rows(path) for path in args.edits]
    scored = score_missing(lane, [row for shard in shards for row in shard if is_judgeable(row)], args, lifeline)
    schema = tables.scores_schema(lane.criteria)
    about = provenance(parts, model=args.model, revision=args.revision)
    about |= {"protocol": {"name": protocol.name, "version": protocol.version, "sha256": protocol.sha256}}
    for edits, path, shard in zip(args.edits, args.scores, shards, strict=True):
        rows = (row | (scored[row["item_id"]] if is_judgeable(row) else unjudged(lane, row)) for row in shard)
        table = [{name: row.get(name) for name in schema.names} for row in rows]
        source = tables.read_provenance(edits) | {"judge": {args.judge: about}}
        tables.write_table(path, table, schema, provenance=source)


if __name__ == "__main__":
    run_step(main)
