"""Count the work left in every lane: the items of the run or the dataset that the journals lack."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from editlane.core import schemas, tables
from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.core.schemas import PlanRow, QuestionRow
from editlane.core.types import Control, Item
from editlane.datasets.split import split_lanes
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.identity import model_options
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
    if not context.is_prepared:
        return _estimate_unprepared(context)
    items = tables.read_items(table)
    lane_of = _assign_lanes(table, context)
    lanes = context.config["lanes"]
    work = RemainingWork(items=len(items))
    plan = _read_plan(context)
    for editor in context.editors:
        spec = _make_editor_spec(context, editor)
        work.keys[str(editor)] = spec.editor_key if spec else None
        edits = _read_edits(context, spec, items) if spec else []
        done = {row["item_id"] for row in edits}
        later = [item.item_id for item in items if item.item_id not in done]
        work.left[editor.name, None] = _count_by_lane(later, lane_of, lanes)
        for judge in context.judges:
            asked = _make_judge_spec(context, judge)
            work.keys[str(judge)] = asked.whole_key if asked else None
            questions = _list_questions(context, editor, asked, edits, later, plan)
            counts = _count_by_lane(questions, lane_of, lanes)
            if plan is None:
                first = len(set(later) - {item.item_id for item in items if item.sample_of})
                counts = _add(counts, _count_expected_controls(context, editor, first, asked))
            work.left[editor.name, judge.name] = counts
    return work


def _list_questions(
    context: RunContext,
    editor: Part,
    spec: JudgeSpec | None,
    edits: list[QuestionRow],
    later: list[str],
    plan: list[PlanRow] | None,
) -> list[str]:
    """List the item of each question left, about finished edits and about `later` ones."""
    if spec is None:
        questions = [row["item_id"] for row in edits]
    else:
        questions = _list_unanswered(context, editor, spec, edits, plan)
    samples = spec.samples if spec else 1
    return questions + later + (_list_later_controls(editor, plan, set(later), samples) if plan else [])


def _add(counts: list[int], more: list[int]) -> list[int]:
    return [a + b for a, b in zip(counts, more, strict=True)]


def _estimate_unprepared(context: RunContext) -> RemainingWork:
    if context.scan.error:
        raise UserError(context.scan.error)
    first, lanes = context.scan.items.total(), context.config["lanes"]
    count = first * context.config["samples"]
    work = RemainingWork(items=count, is_prepared=False)
    judges = {judge.name: _make_judge_spec(context, judge) for judge in context.judges}
    work.keys |= {f"judge {name}": spec.whole_key if spec else None for name, spec in judges.items()}
    for editor in context.editors:
        spec = _make_editor_spec(context, editor)
        work.keys[str(editor)] = spec.editor_key if spec else None
        work.left[editor.name, None] = _spread_evenly(count, lanes)
        for name, asked in judges.items():
            controls = _count_expected_controls(context, editor, first, asked)
            work.left[editor.name, name] = _add(_spread_evenly(count, lanes), controls)
    return work


def _assign_lanes(table: Path, context: RunContext) -> dict[str, int]:
    """Map each item_id to its lane, as split_lanes does or will do."""
    items = tables.read_arrow(table, schemas.ITEMS.names)
    dealt = split_lanes(items, context.config["dataset"]["categories"], context.config["lanes"])
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
        return EditorSpec.of(context.run_dir, editor.name, context.config["seed"], model_options(editor.settings))
    except UserError:  # the workflow has not built the model yet
        return None


def _make_judge_spec(context: RunContext, judge: Part) -> JudgeSpec | None:
    try:
        protocol = load_protocol(find_file(judge.settings["protocol"]))
        return JudgeSpec.of(context.run_dir, judge.name, protocol, model_options(judge.settings))
    except UserError:
        return None


def _read_edits(context: RunContext, spec: EditorSpec, items: list[Item]) -> list[QuestionRow]:
    """Read the finished edits from the journal, as rows of an edits table."""
    items = list(spec.give_edits_if_prepared(items))
    found = read_journal(context.paths.journal(spec.editor), {spec.key(item) for item in items}).rows
    done = spec.find_all_recorded(items, found)
    rows = ((item, done[item.item_id]) for item in items if item.item_id in done)
    return [cast(QuestionRow, {**tables.item_row(item), **row}) for item, row in rows]


def _list_unanswered(
    context: RunContext, editor: Part, spec: JudgeSpec, edits: list[QuestionRow], plan: list[PlanRow] | None
) -> list[str]:
    """List the items of the questions about finished edits that the journal cannot answer."""
    controls = select_lane_questions(plan, edits, editor.name, 0, spec.samples) if plan else []
    keys = {spec.key(row): row["item_id"] for row in (*edits, *controls) if is_judgeable(row)}
    answered = read_journal(context.paths.journal(editor.name, spec.judge), keys.keys()).rows
    return [item_id for key, item_id in keys.items() if key not in answered]


def _list_later_controls(editor: Part, plan: list[PlanRow], later: set[str], samples: int) -> list[str]:
    """List the items of the planned controls about edits that do not exist yet."""
    edits = (row for row in plan if row["control"] != Control.CANARY)
    planned = (row for row in edits if row["editor"] == editor.name and row["item_id"] in later)
    return [row["item_id"] for row in planned for _ in range(samples if row["control"] == Control.REPEAT else 1)]


def _count_expected_controls(context: RunContext, editor: Part, later: int, spec: JudgeSpec | None) -> list[int]:
    """Estimate the controls of each lane from the settings, about `later` items without their further samples.

    The first lane asks the canaries.
    """
    controls, samples = context.config["controls"], spec.samples if spec else 1
    counts = _spread_evenly(int(later * (controls["share"] + controls["repeats"] * samples)), context.config["lanes"])
    counts[0] += CANARIES * (controls["canary"] and editor.name == context.editors[0].name)
    return counts


def _read_plan(context: RunContext) -> list[PlanRow] | None:
    path = context.paths.plan
    return [cast(PlanRow, row) for row in tables.read_rows(path, schemas.PLAN.names)] if path.is_file() else None
