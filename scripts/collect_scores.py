"""Put together the scores that are done so far, from the journals; also while the lanes are at work.

    python scripts/collect_scores.py --run-dir results/demo --items results/demo/items.parquet \\
        --config "$(cat config.json)" --plan results/demo/plan.parquet \\
        --out results/demo/partial_report/scores.parquet --controls results/demo/partial_report/controls.parquet

Only what belongs to this config counts: a score made under other settings, of another instruction or of an image that
has changed is not there yet.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from editlane import tables
from editlane.controls import lane_questions, plan_controls
from editlane.editing import EditLane
from editlane.identity import edit_lane, editor_provenance, judge_lane, judge_provenance
from editlane.journal import Row, read_journal
from editlane.judging import JudgeLane, is_judgeable
from editlane.scoring import load_protocol
from editlane.step import run_step
from editlane.types import Control, Item

log = logging.getLogger(__name__)


def finished_edits(lane: EditLane, items: list[Item]) -> list[Row]:
    """The rows of the edits tables that the journal already has."""
    done = read_journal(lane.run_dir / "journal/edit" / lane.editor).rows
    kept = ((item, lane.kept(item, done)) for item in items)
    return [tables.item_row(item) | row for item, row in kept if row is not None]


def finished_scores(lane: JudgeLane, editor: str, edits: list[Row]) -> list[Row]:
    """The rows of the scores tables that the journal already has."""
    done = read_journal(lane.run_dir / "journal/score" / editor / lane.judge).rows
    scored = [(row, done.get(lane.key(row)) if is_judgeable(row) else None) for row in edits]
    return [lane.score_row(row, score) for row, score in scored if score is not None or not is_judgeable(row)]


def planned(items: list[Item], config: dict[str, Any], path: Path) -> list[Row]:
    """The controls that this config asks for; the canaries, whose pictures are stored, as the plan has them."""
    asked = {name: config["controls"][name] for name in ("share", "repeats")}
    plan = plan_controls(items, list(config["editors"]), seed=config["seed"], **asked)
    if config["controls"]["canary"] and path.exists():
        plan += [row for row in tables.read_rows(path) if row["control"] == Control.CANARY]
    return plan


def options_of(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("adapter", "model", "revision", "params")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run-dir", type=Path, required=True, help="results/<run>")
    parser.add_argument("--items", type=Path, required=True, help="items.parquet")
    parser.add_argument(
        "--config", type=json.loads, required=True, help="the run's config as JSON: editors, judges, seed"
    )
    parser.add_argument(
        "--plan", type=Path, required=True, help="plan.parquet, for its canaries; it may not be there yet"
    )
    parser.add_argument("--out", type=Path, required=True, help="a table like scores.parquet, with rows missing")
    parser.add_argument("--controls", type=Path, required=True, help="a table like controls.parquet, with rows missing")
    args = parser.parse_args()

    items = tables.read_items(args.items)
    plan = planned(items, args.config, args.plan)
    rows: list[Row] = []
    controls: list[Row] = []
    criteria: dict[str, None] = {}
    source: dict[str, Any] = {"dataset": tables.read_provenance(args.items), "editors": {}, "judges": {}}
    for editor, settings in args.config["editors"].items():
        edits_lane = edit_lane(args.run_dir, editor, args.config["seed"], options_of(settings))
        source["editors"] |= editor_provenance(edits_lane, options_of(settings))
        edits = finished_edits(edits_lane, items)
        for judge, judging in args.config["judges"].items():
            protocol = load_protocol(Path(judging["protocol"]))
            lane = judge_lane(args.run_dir, judge, protocol, options_of(judging))
            source["judges"] |= judge_provenance(lane, options_of(judging))
            criteria |= dict.fromkeys(lane.criteria)
            rows += finished_scores(lane, editor, edits)
            asked = lane_questions(plan, edits, editor, 0, lane.samples)
            controls += finished_scores(lane, editor, asked)
    tables.write_table(args.out, rows, tables.scores_schema(list(criteria)), provenance=source)
    tables.write_table(args.controls, controls, tables.controls_schema(list(criteria)), provenance=source)
    log.info("%d rows are done", len(rows))


if __name__ == "__main__":
    run_step(main)
