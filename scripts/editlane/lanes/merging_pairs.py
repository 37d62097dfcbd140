"""Read what the arena plans and answers, and check that the answers are those that were planned."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.core.text_width import pluralize
from editlane.core.types import PairControl
from editlane.protocols.pair_table import EDIT_COLUMNS, order_edits

_NAMES = ("judge", "item_id", "editor_a", "editor_b", "control", "control_side")
"""Columns that name a question."""

_SHARED = ("round", "category", "source_sha256", "a_sha256", "b_sha256")
"""Columns that lanes copy from the plan."""

_AGAIN = (
    "The files are not all of one run: delete the run's folder `arena` and run the same command again; answers are "
    "kept in the journal."
)


def read_ordered_edits(run: RunPaths, editor: str, categories: Sequence[str], lanes: int, items: pa.Table) -> pa.Table:
    """Read the edits of one editor in the order of the items. Raises UserError unless there is one for each."""
    paths = [run.edits(editor, category, lane) for category in categories for lane in range(lanes)]
    parts = [tables.read_arrow(path, EDIT_COLUMNS).select(EDIT_COLUMNS) for path in paths]
    return order_edits(items, pa.concat_tables(part.cast(_edit_schema()) for part in parts), editor)


def _edit_schema() -> pa.Schema:
    return pa.schema([schemas.EDITS.field(name) for name in EDIT_COLUMNS])


def read_answers(paths: Sequence[Path]) -> pa.Table:
    """Read the answers of lanes; no rows of no lanes."""
    return _read(paths, schemas.PAIRS)


def read_plans(paths: Sequence[Path]) -> pa.Table:
    """Read the plans of rounds."""
    return _read(paths, schemas.PAIR_PLAN)


def _read(paths: Sequence[Path], schema: pa.Schema) -> pa.Table:
    parts = (tables.read_arrow(path, schema.names).select(schema.names).cast(schema) for path in paths)
    return pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()


def check_pairs(answers: pa.Table, plan: pa.Table, items: pa.Table) -> None:
    """Raise UserError unless the answers are those to the plan's questions, once each, about the run's items."""
    found, planned = _join(answers, _NAMES), _join(plan, _NAMES)
    _check_doubled(found, "answers")
    _check_doubled(planned, "plans")
    for what, cells in (
        ("lost", planned.filter(pc.invert(pc.is_in(planned, found)))),
        ("not of this run", found.filter(pc.invert(pc.is_in(found, planned)))),
    ):
        _refuse(cells, f"The arena's answers do not fit its plans: {{}} {what}")
    ordered = plan.take(pc.index_in(found, value_set=planned))
    changed = found.filter(pc.not_equal(_join(answers, _SHARED), _join(ordered, _SHARED)))
    _refuse(changed, "The arena's answers do not fit its plans: {} about other pictures, or of another round")
    _check_items(found, answers, items)


def _check_items(found: pa.Array, answers: pa.Table, items: pa.Table) -> None:
    names = ("item_id", "category", "source_sha256")
    known = pc.is_in(_join(answers, names), _join(items, names))
    _refuse(found.filter(pc.invert(known)), "The arena's answers do not fit the items: {} about other items")


def _check_doubled(cells: pa.Array, where: str) -> None:
    counts = cells.value_counts()
    doubled = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    _refuse(doubled, f"The arena's {where} do not fit together: {{}} doubled")


def _refuse(cells: pa.Array, problem: str) -> None:
    if len(cells):
        judge, item, first, second, control, side = min(cells.to_pylist()).split("\x1f")
        what = f"control {control} {side}".strip() + f" of {first}" if control else f"{first} beside {second}"
        count = pluralize(len(cells), "question", "is")
        raise UserError(f"{problem.format(count)} (judge {judge}, item {item}, {what}, for example). {_AGAIN}")


def _join(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """Join columns to one text per row; nulls are empty."""
    texts = (pc.fill_null(table[name].cast(pa.string()), "") for name in names)
    return pa.concat_arrays(pc.binary_join_element_wise(*texts, "\x1f").chunks or [pa.array([], pa.string())])


def sort_pairs(answers: pa.Table, items: pa.Table, editors: Sequence[str], judges: Sequence[str]) -> pa.Table:
    """Sort by judge, pairs before controls, then by item, editors and side, in the order of the run."""
    orders = {
        "judge": judges,
        "control": list(map(str, PairControl)),
        "item_id": items["item_id"].to_pylist(),
        "editor_a": editors,
        "editor_b": editors,
        "control_side": ["a", "b"],
    }
    keys = {
        name: pc.fill_null(pc.index_in(answers[name], value_set=pa.array(order, pa.string())), -1)
        for name, order in orders.items()
    }
    return answers.take(pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys]))
