"""What is left to do: the items of the run, or of the dataset, without those that the journals have."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editlane import tables
from editlane.controls import lane_questions
from editlane.editing import EditLane
from editlane.errors import UserError
from editlane.identity import edit_lane, judge_lane
from editlane.journal import Row, read_journal
from editlane.judging import JudgeLane, is_judgeable
from editlane.preflight.setup import Part, Setup
from editlane.scoring import load_protocol
from editlane.types import Control, Item

CANARIES = 20
"""Pairs of the canary set, which each judge is asked about once."""


@dataclass(slots=True)
class Workload:
    """How much there is to do, and how much of it is left, by editor and, for judges, by (editor, judge)."""

    items: int
    left: dict[tuple[str, str | None], int] = field(default_factory=dict)
    keys: dict[str, str | None] = field(default_factory=dict)
    """`editor NAME` or `judge NAME` -> the key of its settings; None where its model is not there to be looked at."""
    is_prepared: bool = True
    """Whether the items were known; else they are counted from the dataset and nothing is in a journal."""


def find_workload(setup: Setup) -> Workload:
    """Raises UserError where the dataset cannot be prepared."""
    table = setup.run_dir / "items.parquet"
    prepared = table.is_file()
    items = tables.read_items(table) if prepared else []
    if not prepared and setup.scan.mistake:
        raise UserError(setup.scan.mistake)
    count = len(items) if prepared else setup.scan.items.total()
    work = Workload(items=count, is_prepared=prepared)
    plan = _plan(setup)
    for editor in setup.editors:
        lane = _edit_lane(setup, editor)
        work.keys[str(editor)] = lane.editor_key if lane else None
        edits = _edits(setup, lane, items) if lane else []
        work.left[editor.name, None] = work.items - len(edits)
        for judge in setup.judges:
            asked = _judge_lane(setup, judge)
            work.keys[str(judge)] = asked.whole_key if asked else None
            samples = asked.samples if asked else 1
            open_now = _unasked(setup, editor, asked, edits, plan) if asked else len(edits)
            later = work.items - len(edits)
            work.left[editor.name, judge.name] = (
                open_now + later + _controls_later(setup, editor, plan, edits, later, samples)
            )
    return work


def _options(part: Part) -> dict[str, Any]:
    return {name: part.settings[name] for name in ("adapter", "model", "revision", "params")}


def _edit_lane(setup: Setup, editor: Part) -> EditLane | None:
    try:
        return edit_lane(setup.run_dir, editor.name, setup.config["seed"], _options(editor))
    except UserError:  # a model that the workflow builds is not there yet
        return None


def _judge_lane(setup: Setup, judge: Part) -> JudgeLane | None:
    try:
        protocol = load_protocol(Path(judge.settings["protocol"]))
        return judge_lane(setup.run_dir, judge.name, protocol, _options(judge))
    except UserError:
        return None


def _edits(setup: Setup, lane: EditLane, items: list[Item]) -> list[Row]:
    """The finished edits, as rows of an edits table."""
    keys = {lane.key(item): item for item in items}
    found = read_journal(setup.run_dir / "journal/edit" / lane.editor, keys.keys()).rows
    return [tables.item_row(item) | found[key] for key, item in keys.items() if key in found]


def _unasked(setup: Setup, editor: Part, lane: JudgeLane, edits: list[Row], plan: list[Row] | None) -> int:
    """Questions about the finished edits that the journal has no answer to."""
    controls = lane_questions(plan, edits, editor.name, 0, lane.samples) if plan else []
    keys = {lane.key(row) for row in (*edits, *controls) if is_judgeable(row)}
    return len(keys) - len(read_journal(setup.run_dir / "journal/score" / editor.name / lane.judge, keys).rows)


def _controls_later(
    setup: Setup, editor: Part, plan: list[Row] | None, edits: list[Row], later: int, samples: int
) -> int:
    """Controls about edits that are not there yet; without a plan all of them, from the settings."""
    if plan is not None:
        done = {row["item_id"] for row in edits}
        waiting = (row for row in plan if row["editor"] == editor.name and row["item_id"] not in done)
        kinds = [row["control"] for row in waiting if row["control"] != Control.CANARY]
        return sum(samples if kind == Control.REPEAT else 1 for kind in kinds)
    controls = setup.config["controls"]
    first = editor.name == setup.editors[0].name
    return int(later * (controls["share"] + controls["repeats"] * samples)) + CANARIES * (controls["canary"] and first)


def _plan(setup: Setup) -> list[Row] | None:
    path = setup.run_dir / "plan.parquet"
    return tables.read_rows(path, tables.PLAN.names) if path.is_file() else None
