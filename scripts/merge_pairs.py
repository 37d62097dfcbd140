"""Merge the arena's answers of all judges, rounds and lanes into one table. Refuse lost, doubled and foreign rows.

    python scripts/merge_pairs.py --items results/demo/items.parquet --run-dir results/demo --editors a b \\
        --judges j --rounds 1 --lanes 2 --out results/demo/pairs.parquet

Reads RUN/arena/{judge}/round{n}/plan.parquet and RUN/arena/{judge}/round{n}/lane{k}.parquet.
"""

import logging
from pathlib import Path

from editlane.cli.flags import NAMES, StepParser, input_folder, output_file, whole_number
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.paths import RunPaths
from editlane.core.text_width import pluralize
from editlane.lanes.merging import Keys, provenance_of
from editlane.lanes.merging_pairs import check_pairs, read_answers, read_plans, sort_pairs

log = logging.getLogger(__name__)


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--editors", **NAMES, required=True, help="in the order of the report")
    parser.add_argument("--judges", **NAMES, required=True, help="those of the arena, in the order of the report")
    parser.add_argument("--rounds", type=whole_number(1), required=True)
    parser.add_argument("--lanes", type=whole_number(1), required=True)
    parser.add_argument("--out", type=output_file, required=True, help="pairs.parquet")
    args = parser.parse_args()

    run, items = RunPaths(args.run_dir), tables.read_arrow(args.items, schemas.ITEMS.names)
    places = [(judge, number) for judge in args.judges for number in range(1, args.rounds + 1)]
    paths = [run.lane_pairs(*place, lane) for place in places for lane in range(args.lanes)]
    answers = read_answers(paths)
    check_pairs(answers, read_plans([run.pair_plan(*place) for place in places]), items)
    Keys().check(answers, paths)
    answers = sort_pairs(answers, items, args.editors, args.judges)
    plans = {judge: tables.read_provenance(run.pair_plan(judge, 1)).get("plan") for judge in args.judges}
    provenance = {"judges": provenance_of(paths)["judges"], "plans": plans}
    tables.write_parts(args.out, [answers], schemas.PAIRS, provenance=provenance)
    log.info("%s", pluralize(len(answers), "row"))


if __name__ == "__main__":
    run_step(main)
