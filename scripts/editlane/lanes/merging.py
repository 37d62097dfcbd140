"""Merge the lanes' tables, one cell at a time, so that memory is bounded by one cell.

Lost or doubled rows are errors.
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


def merge(cells: Sequence[Cell], item_ids: Sequence[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield one table per cell, its rows in the order of `item_ids`. Columns that a lane's table lacks are null.

    Raises UserError for lost, doubled or unknown rows.
    """
    ids = pa.array(item_ids, pa.string())
    for cell in cells:
        yield _merge_cell(cell, schema, ids)


def _merge_cell(cell: Cell, schema: pa.Schema, ids: pa.Array) -> pa.Table:
    table = read_lanes(cell.paths, schema)
    return table.take(_order(cell, table, ids))


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
    return (
        f"The lanes' tables do not fit the items: {len(items)} rows are {what} ({first}). The lane files are not "
        "all of one run. Delete the run's shards, edits and scores tables and run the same command again; images and "
        "finished items are kept in the journal."
    )


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


def provenance_of(paths: Sequence[Path]) -> dict[str, Any]:
    """Collect the provenance of editors and judges from the lanes' tables."""
    together: dict[str, Any] = {"editors": {}, "judges": {}}
    for path in paths:
        source = tables.read_provenance(path)
        together["editors"] |= source.get("editor", {})
        together["judges"] |= source.get("judge", {})
    return together
