"""Edit the items of one lane with one editor. Finished items are taken from the journal.

    python scripts/gpulease.py -- python scripts/edit_lane.py --run-dir results/demo --editor fake --adapter fake \\
        --lane 0 --seed 42 --shards results/demo/shards/物理/lane0.parquet \\
        --edits results/demo/fake/edits/物理/lane0.parquet

Writes one edits table per shard, and images to RUN/EDITOR/images/{category}/{item_id}.png.
"""

import argparse
from pathlib import Path

from editlane.cli.flags import EACH_ONCE, StepParser, folder_name, output_file, whole_number
from editlane.cli.model_flags import add_lane_flags, read_model_flags
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.text_width import pluralize
from editlane.lanes.editing import EditWork
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.journal import Journal
from editlane.lanes.runner import record_crashes, run_lane
from editlane.lanes.stopping import StopSignal
from editlane.models import registry


def parse_args() -> argparse.Namespace:
    parser = StepParser(__doc__)
    add_lane_flags(parser)
    parser.add_argument("--editor", type=folder_name, required=True, help="the editor's name in the config")
    parser.add_argument("--seed", type=whole_number(0), required=True, help="the run's seed")
    parser.add_argument("--shards", type=Path, **EACH_ONCE, required=True, help="one file per category")
    parser.add_argument("--edits", type=output_file, **EACH_ONCE, required=True, help="one per shard, in that order")
    args = parser.parse_args()
    if len(args.shards) != len(args.edits):
        given, wanted = len(args.shards), len(args.edits)
        parser.error(f"--shards names {pluralize(given, 'file')} and --edits {wanted}; give one output per input")
    return args


def main() -> None:
    args = parse_args()
    stop = StopSignal()
    options = read_model_flags(args)
    spec = EditorSpec.of(args.run_dir, args.editor, args.seed, options)
    shards = [spec.give_edits(tables.read_items(path)) for path in args.shards]
    items = [item for shard in shards for item in shard]
    work = EditWork(spec, args.lane, items, lambda: registry.build("editor", **options), stop.check)
    with Journal(work.paths.journal(args.editor), work.lane.writer, work.wanted.keys(), stop.check) as journal:
        rows = run_lane(work, journal, stop, args.timeout)
        source = {"editor": spec.describe(options)}
        for path, shard in zip(args.edits, shards, strict=True):
            table = [tables.item_row(item) | rows[spec.key(item)] for item in shard]
            tables.write_table(path, table, schemas.EDITS, provenance=source)
        record_crashes(journal, rows)


if __name__ == "__main__":
    run_step(main, is_lane=True)
