"""Carry out the instructions of one lane with one editor; finished items come from the journal, not from the model.

    python scripts/gpulease.py -- python scripts/edit_lane.py --run-dir results/demo --editor fake --adapter fake \\
        --lane 0 --seed 42 --shards results/demo/shards/物理/lane0.parquet \\
        --edits results/demo/fake/edits/物理/lane0.parquet

Takes any number of shards and writes one edits table for each. Images go to RUN/EDITOR/images/{category}/{item_id}.png.
"""

import argparse
import logging
from pathlib import Path

from editlane import registry, tables
from editlane.editing import EditLane, edit_items
from editlane.errors import CRASHED, EditFailed
from editlane.identity import edit_lane, editor_provenance
from editlane.journal import DEATHS, Journal, Row
from editlane.lifeline import Lifeline
from editlane.progress import Heartbeat
from editlane.step import adapter_flags, device_label, read_adapter_flags, run_step
from editlane.types import Item

log = logging.getLogger(__name__)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--editor", required=True, help="the editor's name in the config")
    adapter_flags(parser)
    parser.add_argument("--lane", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True, help="the run's seed")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="one file per category")
    parser.add_argument("--edits", type=Path, nargs="+", required=True, help="one output per shard, in the same order")
    args = parser.parse_args()
    if len(args.shards) != len(args.edits):
        parser.error(
            f"--shards names {len(args.shards)} files and --edits {len(args.edits)}; give one output per shard"
        )
    return args


def edit_missing(
    lane: EditLane, items: list[Item], journal: Journal, args: argparse.Namespace, lifeline: Lifeline
) -> dict[str, Row]:
    """The row of every item; the model is loaded only if the journal lacks some."""
    kept = {item.item_id: lane.kept(item, journal.finished.rows) for item in items}
    rows = {item_id: row for item_id, row in kept.items() if row is not None}
    log.info("%s lane %d: %d items, %d of them in the journal", lane.editor, args.lane, len(items), len(rows))

    def finished(item: Item, row: Row) -> None:
        journal.finish({lane.key(item): row})
        rows[item.item_id] = row

    for item in items:
        if item.item_id not in rows and journal.finished.deaths[lane.key(item)] >= DEATHS:
            finished(item, lane.failed(item, EditFailed(CRASHED, kind="crash")))
    missing = [item for item in items if item.item_id not in rows]
    if not missing:
        return rows
    options = read_adapter_flags(args)
    editor = registry.build("editor", options.pop("adapter"), registry.EDITORS, **options)
    device = device_label(editor)
    path = lane.run_dir / f"logs/edit_lane/{lane.editor}/lane{args.lane}.heartbeat.json"
    heartbeat = Heartbeat(path, device=device, total=len(missing), stage="edit", name=lane.editor, lane=args.lane)

    def saved(item: Item, row: Row) -> None:
        finished(item, row)
        heartbeat.finished(1, state=row["state"], seconds=row["edit_seconds"])

    edit_items(
        lane,
        editor,
        missing,
        device=device,
        check=lifeline.check,
        heartbeat=heartbeat,
        begin=lambda item: journal.begin([lane.key(item)]),
        died=lambda item: journal.finished.deaths[lane.key(item)] > 0,
        finished=saved,
    )
    return rows


def main() -> None:
    args = parse_args()
    lifeline = Lifeline()
    options = read_adapter_flags(args)
    lane = edit_lane(args.run_dir, args.editor, args.seed, options)
    shards = [tables.read_items(path) for path in args.shards]
    with Journal(args.run_dir / "journal/edit" / args.editor, f"lane{args.lane}") as journal:
        rows = edit_missing(lane, [item for shard in shards for item in shard], journal, args, lifeline)
        source = {"editor": editor_provenance(lane, options)}
        for path, shard in zip(args.edits, shards, strict=True):
            table = [tables.item_row(item) | rows[item.item_id] for item in shard]
            tables.write_table(path, table, tables.EDITS, provenance=source)


if __name__ == "__main__":
    run_step(main)
