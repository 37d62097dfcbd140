"""Plan extra questions to a judge whose answers can be checked, and build the rows that are judged.

The choice depends only on the seed, the editor and the items. Neither lanes nor order change it. Another editor leaves
the controls of the others unchanged, or drops some where they are no longer needed.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from editlane.core.chains import find_first_turns
from editlane.core.errors import UserError
from editlane.core.schemas import ITEMS, PLAN, PlanRow, QuestionRow
from editlane.core.tables import item_row
from editlane.core.text_width import pluralize
from editlane.core.types import ACCEPTANCE, EDITED, SAME_FOR_ALL, Control, Item, Row

CANARY_CATEGORIES = ("物理", "环境", "社会", "因果", "指代")
"""Categories of the canary set."""

SAMPLES = 4
"""Number of times that a judge with sampled replies is asked the same question again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """Control. Items are indices into the order of category and id."""

    place: int
    other: int | None
    editor: str
    control: Control


Cell = tuple[str, Control]
"""A category, and a control that is asked in it."""

LEAST_IN_CATEGORY, LEAST_OF_EDITOR = 0.2, 0.3
"""The least number of acceptance controls in each category and about each editor, as shares of that in all."""


def plan_controls(
    items: pa.Table, editors: Sequence[str], *, share: float, least: int, repeats: float, seed: int
) -> pa.Table:
    """Build the plan: item columns (with the instruction to show), editor, control, other_item_id.

    `share` and `least`: see `count_controls`. `repeats` is the share of items that are asked again. Further samples of
    an item are left out, because controls without an edit would be the same question again.
    """
    items = items.filter(pc.is_null(items["sample_of"]))
    order = pc.sort_indices(items, sort_keys=[("category", "ascending"), ("item_id", "ascending")])
    names = items.select(["category", "item_id", "instruction", "after"]).take(order)
    sizes = {entry["values"]: entry["counts"] for entry in names["category"].value_counts().to_pylist()}
    ends = dict(zip(sizes, np.cumsum(list(sizes.values())).tolist(), strict=True))
    ids = names["item_id"].to_pylist()
    chains = find_first_turns(ids, names["after"].to_pylist())
    instructions = names["instruction"].combine_chunks().dictionary_encode().indices.to_numpy()
    counts = _deal_acceptance(sizes, share, least, len(editors))
    counts |= _deal({(category, Control.REPEAT): min(repeats, 1) * size for category, size in sizes.items()})

    def plan(editor: str, category: str, control: Control) -> Iterator[_Planned]:
        places = range(ends[category] - sizes[category], ends[category])
        salt = f"{seed}\n{control}" + ("" if control in SAME_FOR_ALL else f"\n{editor}")
        ranked = _rank(places, ids, salt)
        for position, place in enumerate(ranked[: counts[category, control]]):
            other = None
            if control == Control.OTHER_INSTRUCTION:
                others = (one for one in _iterate_after(ranked, position) if instructions[one] != instructions[place])
                other = _find_apart(others, chains, chains[place])
                if other is None:
                    continue  # all items of this category have the same instruction
            yield _Planned(place=place, other=other, editor=editor, control=control)

    asked = [cell for cell, count in counts.items() if count]
    planned = [one for editor in editors for category, control in asked for one in plan(editor, category, control)]
    return _make_plan_table(items.select(ITEMS.names), order, planned)


def count_controls(
    sizes: Mapping[str, int], share: float, least: int, editors: int, uniform: Collection[str] = ()
) -> dict[Cell, int]:
    """Count the acceptance controls about one editor's edits by (category, control), from the categories' sizes.

    Each category gets `share` x its items, but at least so many that a judge is asked `least` controls in all,
    LEAST_IN_CATEGORY of it in each category, and LEAST_OF_EDITOR of it about each editor's edits. All controls get the
    same number, and none is asked twice about an item. `uniform`: the categories whose items all have the same
    instruction, which get none of OTHER_INSTRUCTION.
    """
    dealt = _deal_acceptance(dict(sorted(sizes.items())), share, least, editors)  # as in the plan, which is sorted
    lost = {(category, Control.OTHER_INSTRUCTION) for category in uniform}
    return {cell: 0 if cell in lost else count for cell, count in dealt.items()}


def _deal_acceptance(sizes: Mapping[str, int], share: float, least: int, editors: int) -> dict[Cell, int]:
    """Count the controls that differ between editors apart from the others, which become fewer with an editor less.

    Otherwise rounding would choose other controls about the editors that stay.
    """
    exact = _share_out(sizes, share, least, editors)
    same = {cell: wanted for cell, wanted in exact.items() if cell[1] in SAME_FOR_ALL}
    own = {cell: wanted for cell, wanted in exact.items() if cell not in same}
    dealt = _deal(own) | _deal(same)
    return {cell: dealt[cell] for cell in exact}


def _share_out(sizes: Mapping[str, int], share: float, least: int, editors: int) -> dict[Cell, float]:
    """Return the exact number of each control in each category. Without a share there are none."""
    of_editor = max(1, LEAST_IN_CATEGORY * len(sizes), LEAST_OF_EDITOR * editors) * least / editors if share else 0.0
    return {
        (category, control): min(
            size,
            max(share * size, of_editor / len(sizes)) / len(ACCEPTANCE) * (editors if control in SAME_FOR_ALL else 1),
        )
        for category, size in sizes.items()
        for control in ACCEPTANCE
    }


def _deal(exact: Mapping[Cell, float]) -> dict[Cell, int]:
    """Round by largest remainders, and keep the sum, rounded down.

    Of equal remainders, each category begins with another control, so that a small sum is balanced.
    """
    counts = {cell: int(wanted + 1e-9) for cell, wanted in exact.items()}
    left = int(sum(exact.values()) + 1e-9) - sum(counts.values())
    controls = list(dict.fromkeys(control for _, control in exact))
    place = {category: number for number, category in enumerate(dict.fromkeys(category for category, _ in exact))}

    def order(cell: Cell) -> tuple[float, int, int]:
        diagonal = (controls.index(cell[1]) - place[cell[0]]) % len(controls)
        return (round(counts[cell] - exact[cell], 9), diagonal, place[cell[0]])

    for cell in sorted(exact, key=order)[:left]:
        counts[cell] += 1
    return counts


def _make_plan_table(items: pa.Table, order: pa.Array, planned: Sequence[_Planned]) -> pa.Table:
    places, others = (
        order.take(pa.array([getattr(one, name) for one in planned], pa.int64())) for name in ("place", "other")
    )
    instructed = items.select(["instruction", "language", "rationale"]).take(pc.coalesce(others, places))
    columns = dict(zip(ITEMS.names, items.take(places).columns, strict=True))  # the description is the source's
    columns |= dict(zip(instructed.column_names, instructed.columns, strict=True))
    columns["editor"] = pa.array([one.editor for one in planned], pa.string())
    columns["control"] = pa.array([str(one.control) for one in planned], pa.string())
    columns["other_item_id"] = items["item_id"].take(others)
    return pa.Table.from_arrays([columns[name] for name in PLAN.names], schema=PLAN).combine_chunks()


def make_canary_rows(items: Sequence[Item], editor: str, categories: Sequence[str]) -> list[PlanRow]:
    """Build the plan's rows of the canary set, whose items include their edits. Lane 0 of `editor` asks them.

    A canary whose category is not in the run is asked under one that is. Raises UserError for a missing edit.
    """
    missing = [item.item_id for item in items if item.given_path is None]
    if missing:
        raise UserError(
            f"The canary set lacks the edit of {missing[0]}. Delete resources/canary/pictures and run the same command "
            "again."
        )
    rows: list[PlanRow] = []
    for place, item in enumerate(items):
        category = item.category if item.category in categories else categories[place % len(categories)]
        asked = item_row(replace(item, category=category))
        rows.append({**asked, "editor": editor, "control": str(Control.CANARY), "other_item_id": None})
    return rows


def _rank(places: Sequence[int], ids: Sequence[str], salt: str) -> list[int]:
    return sorted(places, key=lambda place: hashlib.sha256(f"{salt}\n{ids[place]}".encode()).digest())


def _iterate_after(ranked: Sequence[int], position: int) -> Iterator[int]:
    """Yield all places, from the one after `position` and around."""
    yield from islice(ranked, position + 1, None)
    yield from islice(ranked, position)


def _find_apart(others: Iterable[int], chains: Sequence[str], chain: str) -> int | None:
    """Return the first of the others that is no turn of this chain, or else the first; None without any."""
    first = None
    for one in others:
        if chains[one] != chain:
            return one
        first = one if first is None else first
    return first


def make_question_row(planned: PlanRow, edit: QuestionRow | None, repeat: int = 0) -> QuestionRow:
    """Build the row to judge, laid out like an edits table. `edit` is the item's row there, None for a canary.

    If the item has no edit or no source, the row copies the edit's state, because there is nothing to judge.
    """
    control = Control(planned["control"])
    row: Row = {**(edit or {}), **planned, "repeat": repeat}
    source = {"path": planned["source_path"], "sha256": planned["source_sha256"]}
    match control:
        case Control.SOURCE_AS_EDIT | Control.BLANK_EDIT if edit and edit["state"] != "source_unreadable":
            shown = source if control == Control.SOURCE_AS_EDIT else {"path": None, "sha256": None}
            row |= {"state": EDITED, "error_kind": None, "error": None}
            row |= {f"edited_{name}": value for name, value in shown.items()}
            row |= {"unchanged": None, "unchanged_rule": None}
        case Control.SWAPPED if edit and edit["state"] == EDITED:
            row |= {"source_path": edit["edited_path"], "source_sha256": edit["edited_sha256"]}
            row |= {f"edited_{name}": value for name, value in source.items()}
        case Control.CANARY:
            row |= {"state": EDITED, "error_kind": None, "error": None, "seed": 0, "editor_key": "canary"}
            row |= {"edited_path": planned["given_path"], "edited_sha256": planned["given_sha256"]}
    return cast(QuestionRow, row)


def select_lane_questions(
    plan: Sequence[PlanRow], edits: Sequence[QuestionRow], editor: str, lane: int, samples: int
) -> list[QuestionRow]:
    """Select the controls that one lane of one editor asks about its own edits. Lane 0 also asks the canaries.

    `samples` is the number of times that a repeat is asked. Rows are ordered by a hash of their content. So repeats get
    other neighbours in a batch than the first time.
    """
    by_id = {row["item_id"]: row for row in edits}
    asked: list[QuestionRow] = []
    for planned in plan:
        canary = planned["control"] == Control.CANARY
        if planned["editor"] != editor or (lane if canary else planned["item_id"] not in by_id):
            continue
        times = range(1, samples + 1) if planned["control"] == Control.REPEAT else (0,)
        edit = None if canary else by_id[planned["item_id"]]
        asked += [make_question_row(planned, edit, repeat) for repeat in times]
    return sorted(asked, key=_hash_row)


def _hash_row(row: QuestionRow) -> bytes:
    return hashlib.sha256(f"{row['repeat']}\n{row['control']}\n{row['item_id']}".encode()).digest()


_CELL = ("judge", "editor", "control", "item_id", "repeat")


def check_complete(asked: pa.Table, plan: pa.Table, judges: Sequence[str]) -> None:
    """Raise UserError unless every judge was asked every planned control exactly once.

    Repeats must all be asked as often as the one that was asked most.
    """
    found, planned = (
        _join_cells(asked),
        _join_cells(pa.concat_tables(_list_expected_cells(asked, plan, judge) for judge in judges)),
    )
    counts = found.value_counts()
    problems = {
        "lost": planned.filter(pc.invert(pc.is_in(planned, found))),
        "not of this run": found.filter(pc.invert(pc.is_in(found, planned))),
        "doubled": counts.field("values").filter(pc.greater(counts.field("counts"), 1)),
    }
    for what, cells in problems.items():
        if len(cells):
            count = pluralize(len(cells.unique()), "control", "is")
            judge, editor, control, item = min(cells.to_pylist()).split("\x1f")[:4]
            raise UserError(
                f"The lanes' controls do not fit the plan: {count} {what} (control {control} of item {item}, editor "
                f"{editor}, judge {judge}, among others). The files are not all of one run: delete the "
                "run's controls and scores tables and run the same command again; answers are kept in the journal."
            )


def _list_expected_cells(asked: pa.Table, plan: pa.Table, judge: str) -> pa.Table:
    """List the cells that a judge must have."""
    times = pc.max(asked.filter(pc.equal(asked["judge"], judge))["repeat"]).as_py() or 1
    again = pc.equal(plan["control"], str(Control.REPEAT))
    parts = [(plan.filter(pc.invert(again)), 0), *((plan.filter(again), number) for number in range(1, times + 1))]
    return pa.concat_tables(
        part.select(["editor", "control", "item_id"])
        .append_column("judge", pa.array([judge] * len(part), pa.string()))
        .append_column("repeat", pa.array([number] * len(part), pa.int32()))
        for part, number in parts
    )


def _join_cells(table: pa.Table) -> pa.Array:
    """Join the columns that identify a question to one text per row."""
    texts = (table[name].cast(pa.string()) for name in _CELL)
    return pc.binary_join_element_wise(*texts, "\x1f").combine_chunks()


def sort_controls(asked: pa.Table, editors: Sequence[str], judges: Sequence[str]) -> pa.Table:
    """Sort the rows of the controls table by judge, editor, control, item and repeat."""
    orders = {"judge": judges, "editor": editors, "control": list(map(str, Control))}
    keys = {name: pc.index_in(asked[name], value_set=pa.array(order)) for name, order in orders.items()}
    keys |= {name: asked[name] for name in ("item_id", "repeat")}
    return asked.take(pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in _CELL]))
