"""What is left to do in every lane: the items of the run, or of the dataset, without those that the journals have."""

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
from editlane.preflight.context import Part, Setup
from editlane.protocols.controls import select_lane_questions
from editlane.protocols.scoring import load_protocol

CANARIES = 20
"""Pairs of the canary set, which each judge is asked about once."""


@dataclass(slots=True)
class Workload:
    """How much there is to do, and how much of it is left, by editor and, for judges, by (editor, judge)."""

    items: int
    left: dict[tuple[str, str | None], list[int]] = field(default_factory=dict)
    """Of each lane."""
    keys: dict[str, str | None] = field(default_factory=dict)
    """`editor NAME` or `judge NAME` -> the key of its settings; None where its model is not there to be looked at."""
    is_prepared: bool = True
    """Whether the items were known; else they are counted from the dataset, nothing is in a journal, and what is left
    is spread evenly over the lanes."""

    def has_left(self, part: Part) -> bool:
        """Whether this editor or judge has anything left."""
        return any(sum(counts) for names, counts in self.left.items() if is_of(part, names))


def is_of(part: Part, names: tuple[str, str | None]) -> bool:
    """Whether (editor, judge) is work of this editor or judge."""
    return names == (part.name, None) if part.kind == "editor" else names[1] == part.name


def find_workload(setup: Setup) -> Workload:
    """Raises UserError where the dataset cannot be prepared."""
    table = setup.paths.items
    if not table.is_file():
        return _unprepared(setup)
    items = tables.read_items(table)
    lane_of = _lanes_of(table, setup)
    lanes = setup.config["lanes"]
    work = Workload(items=len(items))
    plan = _plan(setup)
    for editor in setup.editors:
        lane = _editor_spec(setup, editor)
        work.keys[str(editor)] = lane.editor_key if lane else None
        edits = _edits(setup, lane, items) if lane else []
        done = {row["item_id"] for row in edits}
        later = [item.item_id for item in items if item.item_id not in done]
        work.left[editor.name, None] = _by_lane(later, lane_of, lanes)
        for judge in setup.judges:
            asked = _judge_spec(setup, judge)
            work.keys[str(judge)] = asked.whole_key if asked else None
            samples = asked.samples if asked else 1
            questions = _unasked(setup, editor, asked, edits, plan) if asked else [row["item_id"] for row in edits]
            questions += later
            if plan is not None:
                questions += _controls_later(editor, plan, set(later), samples)
            counts = _by_lane(questions, lane_of, lanes)
            expected = [0] * lanes if plan is not None else _expected_controls(setup, editor, len(later), samples)
            work.left[editor.name, judge.name] = [a + b for a, b in zip(counts, expected, strict=True)]
    return work


def _unprepared(setup: Setup) -> Workload:
    if setup.scan.mistake:
        raise UserError(setup.scan.mistake)
    count, lanes = setup.scan.items.total(), setup.config["lanes"]
    work = Workload(items=count, is_prepared=False)
    judges = {judge.name: _judge_spec(setup, judge) for judge in setup.judges}
    work.keys |= {f"judge {name}": lane.whole_key if lane else None for name, lane in judges.items()}
    for editor in setup.editors:
        lane = _editor_spec(setup, editor)
        work.keys[str(editor)] = lane.editor_key if lane else None
        work.left[editor.name, None] = _evenly(count, lanes)
        for name, asked in judges.items():
            controls = _expected_controls(setup, editor, count, asked.samples if asked else 1)
            work.left[editor.name, name] = [a + b for a, b in zip(_evenly(count, lanes), controls, strict=True)]
    return work


def _lanes_of(table: Path, setup: Setup) -> dict[str, int]:
    """item_id -> lane, as the workflow deals the items into shards, also where it has not done so yet."""
    dealt = split_lanes(tables.read_arrow(table), setup.config["dataset"]["categories"], setup.config["lanes"])
    return {item_id: lane for _, lane, shard in dealt for item_id in shard["item_id"].to_pylist()}


def _by_lane(item_ids: Iterable[str], lane_of: Mapping[str, int], lanes: int) -> list[int]:
    """How many are of each lane; those of no item are the canaries, which the first lane asks."""
    counts = [0] * lanes
    for item_id in item_ids:
        counts[lane_of.get(item_id, 0)] += 1
    return counts


def _evenly(count: int, lanes: int) -> list[int]:
    return [count // lanes + (lane < count % lanes) for lane in range(lanes)]


def _editor_spec(setup: Setup, editor: Part) -> EditorSpec | None:
    try:
        return editor_spec(setup.run_dir, editor.name, setup.config["seed"], model_options(editor.settings))
    except UserError:  # a model that the workflow builds is not there yet
        return None


def _judge_spec(setup: Setup, judge: Part) -> JudgeSpec | None:
    try:
        protocol = load_protocol(Path(judge.settings["protocol"]))
        return judge_spec(setup.run_dir, judge.name, protocol, model_options(judge.settings))
    except UserError:
        return None


def _edits(setup: Setup, lane: EditorSpec, items: list[Item]) -> list[QuestionRow]:
    """The finished edits, as rows of an edits table."""
    keys = {lane.key(item): item for item in items}
    found = read_journal(setup.paths.journal(lane.editor), keys.keys()).rows
    return [cast(QuestionRow, {**tables.item_row(item), **found[key]}) for key, item in keys.items() if key in found]


def _unasked(
    setup: Setup, editor: Part, lane: JudgeSpec, edits: list[QuestionRow], plan: list[PlanRow] | None
) -> list[str]:
    """The items of the questions about finished edits that the journal has no answer to."""
    controls = select_lane_questions(plan, edits, editor.name, 0, lane.samples) if plan else []
    keys = {lane.key(row): row["item_id"] for row in (*edits, *controls) if is_judgeable(row)}
    answered = read_journal(setup.paths.journal(editor.name, lane.judge), keys.keys()).rows
    return [item_id for key, item_id in keys.items() if key not in answered]


def _controls_later(editor: Part, plan: list[PlanRow], later: set[str], samples: int) -> list[str]:
    """The items of the planned controls about edits that are not there yet."""
    edits = (row for row in plan if row["control"] != Control.CANARY)
    planned = (row for row in edits if row["editor"] == editor.name and row["item_id"] in later)
    return [row["item_id"] for row in planned for _ in range(samples if row["control"] == Control.REPEAT else 1)]


def _expected_controls(setup: Setup, editor: Part, later: int, samples: int) -> list[int]:
    """Without a plan: from the settings, for each lane, the canaries in the first."""
    controls = setup.config["controls"]
    counts = _evenly(int(later * (controls["share"] + controls["repeats"] * samples)), setup.config["lanes"])
    counts[0] += CANARIES * (controls["canary"] and editor.name == setup.editors[0].name)
    return counts


def _plan(setup: Setup) -> list[PlanRow] | None:
    path = setup.paths.plan
    return [cast(PlanRow, row) for row in tables.read_rows(path, schemas.PLAN.names)] if path.is_file() else None
