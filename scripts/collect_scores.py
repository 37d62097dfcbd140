"""Put together the scores that are done so far, from the journals; also while the lanes are at work.

    python scripts/collect_scores.py --run-dir results/demo --items results/demo/items.parquet \\
        --config "$(cat config.json)" --plan results/demo/plan.parquet \\
        --out results/demo/partial_report/scores.parquet --controls results/demo/partial_report/controls.parquet

Only what belongs to this config counts: a score made under other settings, of another instruction or of an image that
has changed is not there yet.
"""

import argparse
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from editlane.cli.flags import StepParser, input_folder, json_object, output_file
from editlane.cli.step import run_step
from editlane.core import schemas, tables
from editlane.core.types import Control, Item, Row
from editlane.lanes.editing import EditLane
from editlane.lanes.identity import edit_lane, editor_provenance, judge_lane, judge_provenance
from editlane.lanes.journal import read_journal
from editlane.lanes.judging import JudgeLane, is_judgeable
from editlane.protocols.controls import lane_questions, plan_controls
from editlane.protocols.scoring import load_protocol

log = logging.getLogger(__name__)


def finished_edits(lane: EditLane, items: list[Item]) -> list[Row]:
    """The rows of the edits tables that the journal already has."""
    done = read_journal(lane.run_dir / "journal/edit" / lane.editor).rows
    kept = ((item, lane.kept(item, done)) for item in items)
    return [tables.item_row(item) | row for item, row in kept if row is not None]


def finished_scores(lane: JudgeLane, editor: str, edits: list[Row]) -> Iterator[Row]:
    """The rows of the scores tables that the journal already has."""
    done = read_journal(lane.run_dir / "journal/score" / editor / lane.judge).rows
    for row in edits:
        score = done.get(lane.key(row)) if is_judgeable(row) else None
        if score is not None or not is_judgeable(row):
            yield lane.score_row(row, score)


def planned(items: pa.Table, config: dict[str, Any], path: Path) -> pa.Table:
    """The controls that this config asks for; the canaries, whose pictures are stored, as the plan has them."""
    asked = {name: config["controls"][name] for name in ("share", "repeats")}
    plan = plan_controls(items, list(config["editors"]), seed=config["seed"], **asked)
    if config["controls"]["canary"] and path.exists():
        canaries = tables.read_arrow(path, schemas.PLAN.names, pc.field("control") == str(Control.CANARY))
        plan = pa.concat_tables([plan, canaries.select(schemas.PLAN.names).cast(schemas.PLAN)])
    return plan


def options_of(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("adapter", "model", "revision", "params")}


def whole_config(text: str) -> dict[str, Any]:
    """A run's config as JSON, with every default filled in."""
    config = json_object(text)
    try:
        _ = config["seed"], config["controls"]["share"], config["controls"]["repeats"], config["controls"]["canary"]
        for settings in (*config["editors"].values(), *config["judges"].values()):
            options_of(settings)
        _ = [settings["protocol"] for settings in config["judges"].values()]
    except (KeyError, TypeError, AttributeError) as error:
        raise argparse.ArgumentTypeError(f"it is not a whole config ({error}); the workflow passes its own") from error
    return config


def lanes_of(config: dict[str, Any], run_dir: Path) -> tuple[dict[str, EditLane], dict[str, JudgeLane]]:
    """Every editor and every judge of the config."""
    editors = {
        name: edit_lane(run_dir, name, config["seed"], options_of(settings))
        for name, settings in config["editors"].items()
    }
    judges = {
        name: judge_lane(run_dir, name, load_protocol(Path(settings["protocol"])), options_of(settings))
        for name, settings in config["judges"].items()
    }
    return editors, judges


def made_of(
    config: dict[str, Any], editors: dict[str, EditLane], judges: dict[str, JudgeLane]
) -> dict[str, dict[str, Any]]:
    """What the tables say about their editors and judges."""
    made: dict[str, dict[str, Any]] = {"editors": {}, "judges": {}}
    for name, edits_lane in editors.items():
        made["editors"] |= editor_provenance(edits_lane, options_of(config["editors"][name]))
    for name, lane in judges.items():
        made["judges"] |= judge_provenance(lane, options_of(config["judges"][name]))
    return made


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument("--config", type=whole_config, required=True, help="the run's config as JSON")
    parser.add_argument(
        "--plan", type=Path, required=True, help="plan.parquet, for its canaries; it may not be there yet"
    )
    parser.add_argument("--out", type=output_file, required=True, help="a table like scores.parquet, with rows missing")
    parser.add_argument(
        "--controls", type=output_file, required=True, help="a table like controls.parquet, with rows missing"
    )
    args = parser.parse_args()

    editors, judges = lanes_of(args.config, args.run_dir)
    criteria = list(dict.fromkeys(name for lane in judges.values() for name in lane.criteria))
    made_by = made_of(args.config, editors, judges) | {"dataset": tables.read_provenance(args.items)}
    plan = planned(tables.read_arrow(args.items, schemas.ITEMS.names), args.config, args.plan)
    items = tables.read_items(args.items)
    controls: list[pa.Table] = []

    def scores() -> Iterator[pa.Table]:
        for editor, edits_lane in editors.items():
            edits = finished_edits(edits_lane, items)
            own = plan.filter(pc.equal(plan["editor"], editor)).to_pylist()
            for lane in judges.values():
                asked = finished_scores(lane, editor, lane_questions(own, edits, editor, 0, lane.samples))
                controls.append(tables.from_rows(asked, schemas.controls_schema(criteria)))
                yield tables.from_rows(finished_scores(lane, editor, edits), schemas.scores_schema(criteria))

    count = tables.write_parts(args.out, scores(), schemas.scores_schema(criteria), provenance=made_by)
    tables.write_parts(args.controls, controls, schemas.controls_schema(criteria), provenance=made_by)
    log.info("%d rows are done", count)


if __name__ == "__main__":
    run_step(main)
