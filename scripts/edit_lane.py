"""Carry out the instructions of one lane with one editor; finished items come from the journal, not from the model.

    python scripts/gpulease.py -- python scripts/edit_lane.py --run-dir results/demo --editor fake --adapter fake \\
        --lane 0 --seed 42 --shards results/demo/shards/物理/lane0.parquet \\
        --edits results/demo/fake/edits/物理/lane0.parquet

Takes any number of shards and writes one edits table for each. Images go to RUN/EDITOR/images/{category}/{item_id}.png.
"""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from editlane.cli.flags import EACH_ONCE, StepParser, folder_name, input_folder, output_file, whole_number
from editlane.cli.step import adapter_flags, device_label, read_adapter_flags, run_step, timeout_flag
from editlane.core import schemas, tables
from editlane.core.errors import CRASHED, EditFailed
from editlane.core.types import EDITED, Item, Row
from editlane.lanes.editing import EditLane, edit_items
from editlane.lanes.heartbeat import Heartbeat
from editlane.lanes.identity import edit_lane, editor_provenance
from editlane.lanes.journal import DEATHS, Journal
from editlane.lanes.stopping import Lifeline
from editlane.models import registry

log = logging.getLogger(__name__)


def parse_args() -> argparse.Namespace:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editor", type=folder_name, required=True, help="the editor's name in the config")
    adapter_flags(parser)
    parser.add_argument("--lane", type=whole_number(0), required=True)
    parser.add_argument("--seed", type=whole_number(0), required=True, help="the run's seed")
    timeout_flag(parser)
    parser.add_argument("--shards", type=Path, **EACH_ONCE, required=True, help="one file per category")
    parser.add_argument("--edits", type=output_file, **EACH_ONCE, required=True, help="one per shard, in that order")
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
            rows[item.item_id] = lane.failed(item, EditFailed(CRASHED, kind="crash"))
    missing = [item for item in items if item.item_id not in rows]
    missing.sort(key=lambda item: journal.finished.deaths[lane.key(item)])  # all others are done before it kills again
    if missing:
        failed = sum(row["state"] != EDITED for row in rows.values())
        with heart_of(lane, args, total=len(items), kept=len(rows), failed=failed) as heartbeat:
            edit_now(lane, missing, journal, args, lifeline, heartbeat, finished)
    return rows


def heart_of(lane: EditLane, args: argparse.Namespace, *, total: int, kept: int, failed: int) -> Heartbeat:
    """The heartbeat of this process; it beats from before the model is loaded."""
    names = {"stage": "edit", "editor": lane.editor, "lane": args.lane, "editor_key": lane.editor_key}
    return Heartbeat(lane.run_dir, **names, total=total, kept=kept, failed=failed, timeout=args.timeout)


def edit_now(
    lane: EditLane,
    missing: list[Item],
    journal: Journal,
    args: argparse.Namespace,
    lifeline: Lifeline,
    heartbeat: Heartbeat,
    finished: Callable[[Item, Row], None],
) -> None:
    """Load the model and edit these items."""
    options = read_adapter_flags(args)
    editor = registry.build("editor", options.pop("adapter"), registry.EDITORS, **options)
    device = device_label(editor)
    heartbeat.loaded(device)

    def saved(item: Item, row: Row) -> None:
        finished(item, row)
        failed = int(row["state"] != EDITED)
        heartbeat.finished(1, seconds=row["edit_seconds"], state=row["state"], failed=failed)

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


def main() -> None:
    args = parse_args()
    lifeline = Lifeline()
    options = read_adapter_flags(args)
    lane = edit_lane(args.run_dir, args.editor, args.seed, options)
    shards = [tables.read_items(path) for path in args.shards]
    items = [item for shard in shards for item in shard]
    wanted = frozenset(map(lane.key, items))
    folder = args.run_dir / "journal/edit" / args.editor
    with Journal(folder, f"lane{args.lane}", wanted, lifeline.check) as journal:
        rows = edit_missing(lane, items, journal, args, lifeline)
        source = {"editor": editor_provenance(lane, options)}
        for path, shard in zip(args.edits, shards, strict=True):
            table = [tables.item_row(item) | rows[item.item_id] for item in shard]
            tables.write_table(path, table, schemas.EDITS, provenance=source)
        # only now: until the lane is through, no process begins them again
        journal.finish({lane.key(item): row for item in items if (row := rows[item.item_id])["error_kind"] == "crash"})


if __name__ == "__main__":
    run_step(main, is_lane=True)
