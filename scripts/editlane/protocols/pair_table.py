"""Make the table of a round's plan from the items and the edits of all editors, and read the rows of a lane from it."""

from collections.abc import Mapping, Sequence
from heapq import heapreplace
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from editlane.core.errors import UserError
from editlane.core.schemas import PAIR_PLAN, PairPlanRow
from editlane.core.types import EDITED, PairControl
from editlane.protocols.pair_plan import Edits, PairQuestion

PICTURE = ("path", "sha256", "width", "height")
"""What a plan says of a picture, after `a_` or `b_`."""
_STATE = ("state", "error_kind", "error")
EDIT_COLUMNS = ("item_id", *_STATE, *(f"edited_{name}" for name in PICTURE), "editor_key")
"""Columns of an edits table that a plan needs."""


def order_edits(items: pa.Table, edits: pa.Table, editor: str) -> pa.Table:
    """Return the edits in the order of the items. Raises UserError unless there is one for each item."""
    places = pc.index_in(items["item_id"], value_set=edits["item_id"].combine_chunks())
    if len(edits) != len(items) or places.null_count or len(pc.unique(places)) != len(items):
        raise UserError(
            f"The edits tables of {editor} do not fit the items: there are {len(edits)} rows for {len(items)} items, "
            "and each item needs one. Delete the run's shards and edits tables and run the same command again; images "
            "are kept in the journal."
        )
    return edits.take(places)


def list_edits(ordered: pa.Table) -> Edits:
    """Return what the plan is chosen by."""
    return Edits(ordered["state"].to_pylist(), ordered["edited_sha256"].to_pylist())


def make_plan_table(
    items: pa.Table, edits: Mapping[str, pa.Table], questions: Sequence[PairQuestion], judge: str, number: int
) -> pa.Table:
    """Build the plan of a round. `edits`: by editor, each in the order of the items; see `order_edits`.

    A question of which an edit is missing has the state of that edit, the first in the order of editors.
    """
    pictures = _stack_pictures(items, list(edits.values()))
    first = {editor: number * len(items) for number, editor in enumerate(edits)}
    sides = [[_find_picture(one, side, first, len(items)) for one in questions] for side in ("a", "b")]
    shown = [pictures.take(pa.array(places, pa.int64())) for places in sides]
    columns: dict[str, pa.ChunkedArray | pa.Array] = {
        name: column for name, column in _take_items(items, questions).items() if name in PAIR_PLAN.names
    }
    for side, picture in zip(("a", "b"), shown, strict=True):
        columns |= {f"{side}_{name}": picture[name] for name in PICTURE}
    columns |= _take_states(pictures, sides)
    columns["judge"] = pa.array([judge] * len(questions), pa.string())
    columns["round"] = pa.array([number] * len(questions), pa.int32())
    for name in ("editor_a", "editor_b", "control", "control_side"):
        values = (getattr(one, name) for one in questions)
        columns[name] = pa.array([None if value is None else str(value) for value in values], pa.string())
    columns["editor_keys"] = _join_keys([picture["editor_key"] for picture in shown])
    return pa.Table.from_arrays([columns[name] for name in PAIR_PLAN.names], schema=PAIR_PLAN).combine_chunks()


def _stack_pictures(items: pa.Table, edits: Sequence[pa.Table]) -> pa.Table:
    """Return all pictures that a question may show: each editor's edits, the sources, and a blank one."""
    plain = {"path": pa.string(), "sha256": pa.string(), "width": pa.int32(), "height": pa.int32()}
    kinds = plain | dict.fromkeys((*_STATE, "editor_key"), pa.string())
    schema = pa.schema(kinds.items())

    def take(table: pa.Table, prefix: str) -> pa.Table:
        named = {name: f"{prefix}{name}" for name in plain} | {name: name for name in (*_STATE, "editor_key")}
        columns = [
            table[named[name]].cast(kind) if named[name] in table.column_names else pa.nulls(len(table), kind)
            for name, kind in kinds.items()
        ]
        return pa.Table.from_arrays(columns, schema=schema)

    sources = items.rename_columns([name.removeprefix("source_") for name in items.column_names])
    made = pa.array([EDITED] * len(items), pa.string())
    blank = pa.Table.from_pylist([{"state": EDITED}], schema=schema)
    of_items = take(sources.append_column("state", made), "")
    return pa.concat_tables([*(take(table, "edited_") for table in edits), of_items, blank])


def _find_picture(one: PairQuestion, side: str, first: Mapping[str, int], items: int) -> int:
    """Return the place of a question's picture among all pictures."""
    sources = items * len(first)
    if one.control_side != side:
        return first[one.editor_a if side == "a" else one.editor_b] + one.place
    if one.control == PairControl.OTHER_ITEM:
        assert one.other is not None
        return first[one.editor_a] + one.other
    return sources + one.place if one.control == PairControl.SOURCE else sources + items


def _take_items(items: pa.Table, questions: Sequence[PairQuestion]) -> dict[str, pa.ChunkedArray]:
    taken = items.take(pa.array([one.place for one in questions], pa.int64()))
    return dict(zip(taken.column_names, taken.columns, strict=True))


def _take_states(pictures: pa.Table, sides: Sequence[Sequence[int]]) -> dict[str, pa.ChunkedArray]:
    """Return the state of each question: that of a missing edit, or else `edited`."""
    made = pc.equal(pictures["state"], EDITED).to_pylist()
    missing = (next((place for place in sorted(both) if not made[place]), both[0]) for both in zip(*sides, strict=True))
    taken = pictures.select(_STATE).take(pa.array(list(missing), pa.int64()))
    return dict(zip(_STATE, taken.columns, strict=True))


def _join_keys(keys: Sequence[pa.ChunkedArray]) -> pa.Array:
    """Join the keys of the editors of each question by commas."""
    pairs = zip(*(one.to_pylist() for one in keys), strict=True)
    return pa.array([",".join(sorted({key for key in pair if key})) or None for pair in pairs], pa.string())


def select_lane(plan: pa.Table, lane: int, lanes: int) -> list[PairPlanRow]:
    """Return the rows of a lane, in an order by content. Items are dealt whole, so that a photo is looked at once."""
    counts = {entry["values"]: entry["counts"] for entry in plan["item_id"].value_counts().to_pylist()}
    loads, lane_of = [(0, number) for number in range(lanes)], dict[str, int]()
    for item in sorted(counts, key=lambda item: (-counts[item], item)):
        load, lane_of[item] = loads[0]
        heapreplace(loads, (load + counts[item], lane_of[item]))
    own = pa.array([item for item in counts if lane_of[item] == lane], pa.string())
    rows = cast(list[PairPlanRow], plan.filter(pc.is_in(plan["item_id"], value_set=own)).to_pylist())
    return sorted(rows, key=_order)


def _order(row: PairPlanRow) -> tuple[str, ...]:
    return (row["item_id"], row["control"] or "", row["editor_a"], row["editor_b"], row["control_side"] or "")
