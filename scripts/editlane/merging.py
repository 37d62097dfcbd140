"""The scores of all lanes in one table, with nothing lost and nothing doubled."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editlane import tables
from editlane.errors import UserError
from editlane.journal import Row
from editlane.types import Item

Cell = tuple[str, str, str]
"""(item_id, editor, judge): one row of the scores table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """All rows in the order of the report."""

    rows: list[Row]
    criteria: tuple[str, ...]
    provenance: dict[str, Any]


def merge(paths: Sequence[Path], items: Sequence[Item], editors: Sequence[str], judges: Sequence[str]) -> Merged:
    """Read and check the scores tables. Raises UserError for lost, doubled or unknown rows."""
    rows = [row for path in paths for row in tables.read_rows(path)]
    expected = {(item.item_id, editor, judge) for item in items for editor in editors for judge in judges}
    found = Counter((row["item_id"], row["editor"], row["judge"]) for row in rows)
    doubled = {cell for cell, count in found.items() if count > 1}
    lost, unknown = expected - found.keys(), found.keys() - expected
    for what, cells in (("doubled", doubled), ("not of this run", unknown), ("lost", lost)):
        if cells:
            raise UserError(_refusal(what, sorted(cells)))
    order = {item.item_id: position for position, item in enumerate(items)}
    rows.sort(key=lambda row: (editors.index(row["editor"]), judges.index(row["judge"]), order[row["item_id"]]))
    return Merged(rows=rows, criteria=_criteria(paths), provenance=_provenance(paths))


def _refusal(what: str, cells: Sequence[Cell]) -> str:
    first = "; ".join(f"item {item}, editor {editor}, judge {judge}" for item, editor, judge in cells[:3])
    return (
        f"The lanes' scores do not fit the items: {len(cells)} rows are {what} ({first}). The lane files are not "
        "all of one run. Delete the run's shards, edits and scores tables and run the same command again; images and "
        "finished items are kept in the journal."
    )


def _criteria(paths: Sequence[Path]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for path in paths:
        for column in tables.read_columns(path):
            if column.startswith("mode_"):
                names[column.removeprefix("mode_")] = None
    return tuple(names)


def _provenance(paths: Sequence[Path]) -> dict[str, Any]:
    together: dict[str, Any] = {"editors": {}, "judges": {}}
    for path in paths:
        source = tables.read_provenance(path)
        together["editors"] |= source.get("editor", {})
        together["judges"] |= source.get("judge", {})
    return together
