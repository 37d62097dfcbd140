"""Count the work left in every lane: the items of the run or the dataset that the journals lack."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.core.schemas import PlanRow, QuestionRow
from editlane.core.types import Control, Item
from editlane.datasets.split import split_lanes
from editlane.lanes.editing import EditorSpec
from editlane.lanes.identity import editor_spec, judge_spec, model_options
from editlane.lanes.journal import read_journal
from editlane.lanes.judging import JudgeSpec, is_judgeable
from editlane.preflight.context import Part, RunContext
from editlane.protocols.controls import select_lane_questions
from editlane.protocols.scoring import load_protocol

CANARIES = 20
"""Pairs in the canary set; each judge scores them once."""


@dataclass(slots=True)
class RemainingWork:
    """Number of items, and the work left of each editor and judge."""

    items: int
    left: dict[tuple[str, str | None], list[int]] = field(default_factory=dict)
    """By (editor, judge), the number left in each lane; the judge is None for editing."""
    keys: dict[str, str | None] = field(default_factory=dict)
    """By `editor NAME` or `judge NAME`, the key of its settings; None if its model does not exist yet."""
    is_prepared: bool = True
    """False if the items were counted from the dataset and spread evenly over the lanes."""

    def has_left(self, part: Part) -> bool:
        """Return whether this editor or judge has work left."""
        return any(sum(counts) for names, counts in self.left.items() if belongs_to(part, names))


def belongs_to(part: Part, names: tuple[str, str | None]) -> bool:
    """Return whether the work of (editor, judge) is done by this part."""
    return names == (part.name, None) if part.kind == "editor" else names[1] == part.name


def find_remaining_work(context: RunContext) -> RemainingWork:
    """Count the work left, from the prepared items or else the dataset. Raises UserError if the dataset is wrong."""
    table = context.paths.items
    if not table.is_file():
        return _estimate_unprepared(context)
    items = tables.read_items(table)
    lane_of = _assign_lanes(table, context)
    lanes = context.config["lanes"]
    work = RemainingWork(items=len(items))
    plan = _read_plan(context)
    for editor in context.editors:
        lane = _make_editor_spec(context, editor)
        work.keys[str(editor)] = lane.editor_key if lane else None
        edits = _read_edits(context, lane, items) if lane else []
        done = {row["item_id"] for row in edits}
        later = [item.item_id for item in items if item.item_id not in done]
        work.left[editor.name, None] = _count_by_lane(later, lane_of, lanes)
        for judge in context.judges:
            asked = _make_judge_spec(context, judge)
            work.keys[str(judge)] = asked.whole_key if asked else None
            samples = asked.samples if asked else 1
            questions = (
                _list_unanswered(context, editor, asked, edits, plan) if asked else [row["item_id"] for row in edits]
            )
            questions += later
            if plan is not None:
                questions += _list_later_controls(editor, plan, set(later), samples)
            counts = _count_by_lane(questions, lane_of, lanes)
            expected = (
                [0] * lanes if plan is not None else _count_expected_controls(context, editor, len(later), samples)
            )
            work.left[editor.name, judge.name] = [a + b for a, b in zip(counts, expected, strict=True)]
    return work


def _estimate_unprepared(context: RunContext) -> RemainingWork:
    if context.scan.error:
        raise UserError(context.scan.error)
    count, lanes = context.scan.items.total(), context.config["lanes"]
    work = RemainingWork(items=count, is_prepared=False)
    judges = {judge.name: _make_judge_spec(context, judge) for judge in context.judges}
    work.keys |= {f"judge {name}": lane.whole_key if lane else None for name, lane in judges.items()}
    for editor in context.editors:
        lane = _make_editor_spec(context, editor)
        work.keys[str(editor)] = lane.editor_key if lane else None
        work.left[editor.name, None] = _spread_evenly(count, lanes)
        for name, asked in judges.items():
            controls = _count_expected_controls(context, editor, count, asked.samples if asked else 1)
            work.left[editor.name, name] = [a + b for a, b in zip(_spread_evenly(count, lanes), controls, strict=True)]
    return work


def _assign_lanes(table: Path, context: RunContext) -> dict[str, int]:
    """Map each item_id to its lane, as split_lanes does or will do."""
    dealt = split_lanes(tables.read_arrow(table), context.config["dataset"]["categories"], context.config["lanes"])
    return {item_id: lane for _, lane, shard in dealt for item_id in shard["item_id"].to_pylist()}


def _count_by_lane(item_ids: Iterable[str], lane_of: Mapping[str, int], lanes: int) -> list[int]:
    """Count the item_ids of each lane. Canaries belong to no item; the first lane asks them."""
    counts = [0] * lanes
    for item_id in item_ids:
        counts[lane_of.get(item_id, 0)] += 1
    return counts


def _spread_evenly(count: int, lanes: int) -> list[int]:
    return [count // lanes + (lane < count % lanes) for lane in range(lanes)]


def _make_editor_spec(context: RunContext, editor: Part) -> EditorSpec | None:
    try:
        return editor_spec(context.run_dir, editor.name, context.config["seed"], model_options(editor.settings))
    except UserError:  # the workflow has not built the model yet
        return None


def _make_judge_spec(context: RunContext, judge: Part) -> JudgeSpec | None:
    try:
        protocol = load_protocol(Path(judge.settings["protocol"]))
        return judge_spec(context.run_dir, judge.name, protocol, model_options(judge.settings))
    except UserError:
        return None


def _read_edits(context: RunContext, lane: EditorSpec, items: list[Item]) -> list[QuestionRow]:
    """Read the finished edits from the journal, as rows of an edits table."""
    keys = {lane.key(item): item for item in items}
    found = read_journal(context.paths.journal(lane.editor), keys.keys()).rows
    return [cast(QuestionRow, {**tables.item_row(item), **found[key]}) for key, item in keys.items() if key in found]


def _list_unanswered(
    context: RunContext, editor: Part, lane: JudgeSpec, edits: list[QuestionRow], plan: list[PlanRow] | None
) -> list[str]:
    """List the items of the questions about finished edits that the journal cannot answer."""
    controls = select_lane_questions(plan, edits, editor.name, 0, lane.samples) if plan else []
    keys = {lane.key(row): row["item_id"] for row in (*edits, *controls) if is_judgeable(row)}
    answered = read_journal(context.paths.journal(editor.name, lane.judge), keys.keys()).rows
    return [item_id for key, item_id in keys.items() if key not in answered]


def _list_later_controls(editor: Part, plan: list[PlanRow], later: set[str], samples: int) -> list[str]:
    """List the items of the planned controls about edits that do not exist yet."""
    edits = (row for row in plan if row["control"] != Control.CANARY)
    planned = (row for row in edits if row["editor"] == editor.name and row["item_id"] in later)
    return [row["item_id"] for row in planned for _ in range(samples if row["control"] == Control.REPEAT else 1)]


def _count_expected_controls(context: RunContext, editor: Part, later: int, samples: int) -> list[int]:
    """Estimate the controls of each lane from the settings. The first lane asks the canaries."""
    controls = context.config["controls"]
    counts = _spread_evenly(int(later * (controls["share"] + controls["repeats"] * samples)), context.config["lanes"])
    counts[0] += CANARIES * (controls["canary"] and editor.name == context.editors[0].name)
    return counts


def _read_plan(context: RunContext) -> list[PlanRow] | None:
    path = context.paths.plan
    return [cast(PlanRow, row) for row in tables.read_rows(path, schemas.PLAN.names)] if path.is_file() else None
