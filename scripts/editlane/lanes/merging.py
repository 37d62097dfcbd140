"""Merge the lanes' tables, one cell at a time, so that memory is bounded by one cell.

Lost, doubled and foreign rows are errors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.paths import RunPaths
from editlane.core.schemas import criteria_among
from editlane.core.text_width import pluralize
from editlane.core.types import Control

_MIXED = (
    "The lane files are not all of one run. Delete the run's shards, edits and scores tables and run the same command "
    "again; images and finished items are kept in the journal."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A unit that must have exactly one row per item: an editor, or an editor and a judge."""

    names: Mapping[str, str]
    """Column -> the value that all of the cell's rows have there, as {"editor": "a", "judge": "j"}."""
    paths: Sequence[Path]
    """The tables of its lanes."""

    @property
    def label(self) -> str:
        """As error messages name it: `editor a, judge j`."""
        return ", ".join(f"{column} {value}" for column, value in self.names.items())


SHARED = ("category", "instruction", "language", "source_sha256")
"""Columns of items.parquet that lanes copy, so that a row says which item it is about."""


def merge(cells: Sequence[Cell], items: pa.Table, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield one table per cell, its rows in the order of `items`. Columns that a lane's table lacks are null.

    `items`: what the run's items.parquet holds today. Raises UserError for lost, doubled or unknown rows, and for rows
    about another photo or instruction than the item's.
    """
    for cell in cells:
        yield _merge_cell(cell, schema, items)


def _merge_cell(cell: Cell, schema: pa.Schema, items: pa.Table) -> pa.Table:
    table = read_lanes(cell.paths, schema)
    order = _order(cell, table, items["item_id"].combine_chunks())
    merged = table.take(order)
    for name in (name for name in SHARED if name in schema.names):
        others = find_differences(merged[name], items[name])
        if len(others):
            first = f"item {merged['item_id'][others[0]]}, {cell.label}"
            raise UserError(_disagreement(len(others), name, first, cell.paths, order[others[0]]))
    return merged


def find_differences(found: pa.ChunkedArray, wanted: pa.ChunkedArray) -> np.ndarray:
    """Return the places at which two columns without nulls differ."""
    return np.flatnonzero(pc.fill_null(pc.not_equal(found, wanted), True).to_numpy())


def _disagreement(count: int, column: str, first: str, paths: Sequence[Path], row: int) -> str:
    return (
        f"The lanes' tables do not fit the items: {pluralize(count, 'row', 'has')} another `{column}` than the items "
        f"of this run ({first}, in {_find_table(paths, row)}, for example). {_MIXED}"
    )


def _find_table(paths: Sequence[Path], row: int) -> Path:
    """Return the table that this row of all of them together comes from."""
    ends = np.cumsum([tables.count_rows(path) for path in paths])
    return paths[int(np.searchsorted(ends, row, side="right"))]


def read_lanes(paths: Sequence[Path], schema: pa.Schema) -> pa.Table:
    """Return the tables of all lanes as one. Columns of `schema` that a lane's table lacks are null."""
    return pa.concat_tables(_conform(tables.read_arrow(path), schema) for path in paths)


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _order(cell: Cell, table: pa.Table, ids: pa.Array) -> np.ndarray:
    """Return the place of each item's row in `table`."""
    places = pc.index_in(table["item_id"], value_set=ids).to_numpy()  # NaN: no item of the run
    belongs = ~np.isnan(places)
    for column, value in cell.names.items():
        belongs &= pc.equal(table[column], value).to_numpy()
    counts = np.bincount(places[belongs].astype(np.int64), minlength=len(ids))
    found = {
        "doubled": ids.filter(pa.array(counts > 1)),
        "not of this run": pc.unique(table["item_id"].filter(pa.array(~belongs))),
        "lost": ids.filter(pa.array(counts == 0)),
    }
    for what, items in found.items():
        if len(items):
            raise UserError(_refusal(what, cell, items.to_pylist()))
    return np.argsort(places, kind="stable")


def _refusal(what: str, cell: Cell, items: Sequence[str]) -> str:
    first = "; ".join(f"item {item}, {cell.label}" for item in sorted(items)[:3])
    return f"The lanes' tables do not fit the items: {pluralize(len(items), 'row', 'is')} {what} ({first}). {_MIXED}"


def score_cells(
    run_dir: Path, editors: Sequence[str], judges: Sequence[str], categories: Sequence[str], lanes: int
) -> list[Cell]:
    """Return a cell for every editor with every judge, in the order of the report."""
    paths = RunPaths(run_dir)
    return [
        Cell(
            names={"editor": editor, "judge": judge},
            paths=[
                paths.lane_scores(editor, judge, category, lane) for category in categories for lane in range(lanes)
            ],
        )
        for editor in editors
        for judge in judges
    ]


def read_criteria(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the criteria that the scores tables have columns for, in order of first appearance."""
    columns = (column for path in paths for column in tables.read_columns(path))
    return tuple(criteria_among(columns))


_ASKED = ("editor", "control", "item_id")
"""Columns that name a control of the plan."""


def provenance_of(paths: Sequence[Path]) -> dict[str, Any]:
    """Collect the provenance of editors and judges from the lanes' tables."""
    together: dict[str, Any] = {"editors": {}, "judges": {}}
    for path in paths:
        source = tables.read_provenance(path)
        for made, kind in ((source.get("editor", {}), "editors"), (source.get("judge", {}), "judges")):
            for name, record in made.items():
                known = together[kind].get(name, {}).get("cudnn")  # a lane without work does not know it
                together[kind][name] = record | ({"cudnn": known} if known and not record.get("cudnn") else {})
    return together


def check_controls(asked: pa.Table, plan: pa.Table, paths: Sequence[Path]) -> None:
    """Raise UserError for a control about another photo or instruction than the plan's. `asked`: all rows of `paths`.

    Every control of the plan must have been asked; see `check_complete`.
    """
    cells = [pc.binary_join_element_wise(*(table[name] for name in _ASKED), "\x1f") for table in (asked, plan)]
    planned = plan.take(pc.index_in(cells[0], value_set=cells[1].combine_chunks()))
    swapped = pc.and_(pc.equal(asked["control"], str(Control.SWAPPED)), pc.is_valid(asked["edited_sha256"]))
    shown = pc.if_else(swapped, asked["edited_sha256"], asked["source_sha256"])
    for name in SHARED:
        others = find_differences(shown if name == "source_sha256" else asked[name], planned[name])
        if len(others):
            row = asked.slice(others[0], 1).to_pylist()[0]
            first = ", ".join(f"{column} {row[column]}" for column in ("control", "item_id", "editor", "judge"))
            raise UserError(_disagreement(len(others), name, first, paths, others[0]))
