"""Sum the costs of all lanes in one table: seconds, items, memory and GPU-hours.

    python scripts/merge_costs.py --run-dir results/demo --scores results/demo/scores.parquet --lanes 2 \\
        --out results/demo/costs.parquet

Reads the heartbeats in RUN/heartbeats/, and the counts of requests to servers. Only editors, judges and settings named
in the scores table count.
"""

import logging
from pathlib import Path

from editlane.cli.flags import StepParser, input_folder, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.core.paths import COMPARE, EDIT, SCORE, RunPaths
from editlane.core.text_width import pluralize
from editlane.lanes.costs import lane_costs
from editlane.lanes.lane_status import read_heartbeats
from editlane.lanes.requests_sent import read_sent

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--scores", type=Path, required=True, help="scores.parquet")
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--with-pairs", action="store_true", help="also the arena's lanes, of RUN/pairs.parquet")
    parser.add_argument("--out", type=output_file, required=True, help="costs.parquet")
    args = parser.parse_args()

    provenance = tables.read_provenance(args.scores)
    if not {"editors", "judges"} <= provenance.keys():
        raise UserError(f"{args.scores} names no editors and judges; it is not the table this step reads.")
    if args.with_pairs:
        pairs = tables.read_provenance(RunPaths(args.run_dir).pairs)
        provenance["comparing"] = pairs.get("judges", {})
    paths = RunPaths(args.run_dir)
    keys = {editor: about.get("key") for editor, about in provenance["editors"].items()}
    sent = {(EDIT, editor): read_sent(paths.requests(editor, key), EDIT) for editor, key in keys.items() if key}
    for stage, judges in ((SCORE, provenance["judges"]), (COMPARE, provenance.get("comparing", {}))):
        sent |= {(stage, judge): read_sent(paths.judge_requests(judge), stage) for judge in judges}
    rows = lane_costs(read_heartbeats(paths), provenance, args.lanes, sent)
    tables.write_table(args.out, rows, schemas.COSTS)
    log.info("%s, %d with work", pluralize(len(rows), "lane"), sum(row["attempts"] > 0 for row in rows))


if __name__ == "__main__":
    run_step(main)
