"""Read and write the Parquet tables; schemas.py has their columns."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from editlane.core.errors import UserError
from editlane.core.files import atomic_write, check_regular
from editlane.core.schemas import (
    ADDED,
    COSTS,
    COSTS_ADDED,
    EDITS,
    GIVEN,
    ITEMS,
    PLAN,
    REPEATING,
    CostRow,
    GivenRow,
    ItemRow,
    PlanRow,
    QuestionRow,
    ReferenceRow,
    column_type,
)
from editlane.core.types import Control, Item, Reference

Rows = Iterable[Mapping[str, Any]]

if TYPE_CHECKING:
    import pandas as pd


def write_table(path: Path, rows: Rows, schema: pa.Schema, *, provenance: dict[str, Any] | None = None) -> None:
    """Write all rows or nothing. `provenance` goes into the file's metadata as JSON."""
    write_parts(path, [from_rows(rows, schema).combine_chunks()], schema, provenance=provenance)


def from_rows(rows: Rows, schema: pa.Schema) -> pa.Table:
    """Return the rows as an Arrow table, built in parts because a million dicts need ten times its memory."""
    rest = iter(rows)
    parts = iter(lambda: list(islice(rest, 10_000)), [])
    return pa.Table.from_batches((pa.RecordBatch.from_pylist(part, schema=schema) for part in parts), schema=schema)


def write_parts(
    path: Path, parts: Iterable[pa.Table], schema: pa.Schema, *, provenance: dict[str, Any] | None = None
) -> int:
    """Write Arrow tables of this schema, one at a time, as `write_table` does. Return the number of rows."""
    metadata = {"editlane": json.dumps(provenance or {}, ensure_ascii=False, sort_keys=True)}
    count = 0
    with atomic_write(path) as file, pq.ParquetWriter(file, schema.with_metadata(metadata)) as writer:
        for part in parts:
            writer.write_table(part.replace_schema_metadata(metadata))
            count += len(part)
            del part  # before the next one is made
    return count


def read_arrow(path: Path, needed: Sequence[str] = (), where: pc.Expression | None = None) -> pa.Table:
    """Read a table, or its rows that match `where`. Needed columns that older versions did not write are null.

    Raises UserError if the file is missing or damaged, lacks a needed column, or holds something else in one.
    """
    empty = _check_columns(path, needed) if needed else {}
    table = _checked(path, lambda: pq.read_table(path, partitioning=None) if where is None else _filtered(path, where))
    for name, kind in empty.items():
        place, nulls = table.schema.get_field_index(name), pa.nulls(len(table), kind)
        table = table.append_column(name, nulls) if place < 0 else table.set_column(place, name, nulls)
    return table


def _check_columns(path: Path, needed: Sequence[str]) -> dict[str, pa.DataType]:
    """Raise UserError if a needed column is missing or holds something else. Return those to be filled with nulls.

    Older versions did not write these, or pandas wrote them, which knows no type of a column without values. It also
    widens numbers and packs texts.
    """
    schema = _schema(path)
    lacking = [name for name in needed if name not in schema.names]
    if names := ", ".join(name for name in lacking if name not in ADDED):
        raise UserError(f"The table {path} has no column {names}; it is not the table this step reads.")
    empty = {name: ADDED[name] for name in lacking}
    for name in (name for name in needed if name not in lacking):
        found, wanted = schema.field(name).type, column_type(name)
        if pa.types.is_null(found):
            empty[name] = wanted
        elif not _holds(found, wanted):
            raise UserError(
                f"The column {name} of the table {path} holds {found}, not {wanted}. Something else wrote or changed "
                "it; give the table as the run wrote it."
            )
    return empty


def _holds(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_struct(wanted):
        return bool(found == wanted)
    if pa.types.is_list(wanted):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and (pa.types.is_null(found.value_type) or _holds(found.value_type, wanted.value_type))
    return any(any(test(found) for test in kind) and any(test(wanted) for test in kind) for kind in _KINDS)


_KINDS: tuple[tuple[Callable[[pa.DataType], bool], ...], ...] = (
    (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    (pa.types.is_integer, pa.types.is_floating),
    (pa.types.is_boolean,),
)
"""Types that stand for one another."""


def _filtered(path: Path, where: pc.Expression) -> pa.Table:
    """Filter in parts, because `read_table` with a filter decodes the whole table first."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        parts = [batch.filter(where) for batch in file.iter_batches(batch_size=20_000)]
        return pa.Table.from_batches(parts, schema=file.schema_arrow)


def _schema(path: Path) -> pa.Schema:
    return _checked(path, lambda: pq.read_schema(path))


def _checked(path: Path, read: Callable[[], Any]) -> Any:
    try:
        if path.is_dir():  # Arrow would read all tables in there
            raise UserError(f"{path} is a folder, not a table. Give the path of a Parquet file.")
        check_regular(path)
        return read()
    except FileNotFoundError as error:
        raise UserError(f"There is no table {path}. Run the step that writes it first.") from error
    except PermissionError as error:
        raise UserError(f"Cannot read the table {path}: {error.strerror}. Check its rights.") from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"Cannot read the table {path}: {reason}. If a disk or a copy damaged it, delete the file and run the same "
            "command again; finished items are kept in the journal."
        ) from error


def read_rows(path: Path, needed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read the rows of a table. Raises UserError like `read_arrow`."""
    rows: list[dict[str, Any]] = read_arrow(path, needed).to_pylist()
    return rows


def read_costs(path: Path) -> list[CostRow]:
    """Read a costs table, also one of an older version. Raises UserError like `read_arrow`."""
    rows = read_rows(path, [name for name in COSTS.names if name not in COSTS_ADDED])
    return [cast(CostRow, dict.fromkeys(COSTS_ADDED) | row) for row in rows]


def read_frame(path: Path, needed: Sequence[str]) -> "pd.DataFrame":
    """Read the needed columns of a table as a data frame. Repeated texts are categories.

    Raises UserError like `read_arrow`.
    """
    import pandas as pd

    table = read_arrow(path, needed).select(needed)
    repeating = [name for name in REPEATING if name in table.column_names]
    frame: pd.DataFrame = table.to_pandas(categories=repeating, types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
    return frame


def read_columns(path: Path) -> list[str]:
    """Return the column names of a table, in order."""
    return list(_schema(path).names)


def read_column(path: Path, name: str) -> list[Any]:
    """Read one column of a table. Raises UserError like `read_arrow`."""
    values: list[Any] = _checked(path, lambda: pq.read_table(path, columns=[name], partitioning=None))[name].to_pylist()
    return values


def count_rows(path: Path) -> int:
    """Return the number of rows of a table. Raises UserError like `read_arrow`."""
    rows: int = _checked(path, lambda: pq.read_metadata(path)).num_rows
    return rows


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance that a table was written with. Raises UserError like `read_arrow`, and if it is damaged."""
    try:
        provenance = json.loads((_schema(path).metadata or {}).get(b"editlane", b"{}"))
    except (ValueError, RecursionError):
        provenance = None
    if not isinstance(provenance, dict):
        raise UserError(
            f"The table {path} does not tell what it was made from: its metadata `editlane` is no JSON object. "
            "Something else wrote or changed it; give the table as the run wrote it."
        )
    return provenance


def read_items(path: Path) -> list[Item]:
    """Read the items of `items.parquet`, of a shard, or of the item columns of an edits table."""
    return [to_item(cast(ItemRow, row)) for row in read_rows(path, ITEMS.names)]


def read_given(path: Path, editor: str) -> dict[str, GivenRow]:
    """Read the edits that one editor has for itself, by item. Raises UserError like `read_arrow`."""
    rows: list[GivenRow] = read_arrow(path, GIVEN.names, pc.field("editor") == editor).to_pylist()
    return {row["item_id"]: row for row in rows}


def read_edits(path: Path, editor: str) -> list[QuestionRow]:
    """Read an edits table. Raises UserError like `read_arrow`, and if it has edits by another editor."""
    rows = [cast(QuestionRow, row) for row in read_rows(path, EDITS.names)]
    others = {row["editor"] for row in rows} - {editor}
    if others:
        raise UserError(f"{path} has edits by {', '.join(sorted(others))}, not by {editor!r}, as the command says.")
    return rows


def read_plan(path: Path, editor: str, item_ids: Iterable[str]) -> list[PlanRow]:
    """Read the planned controls of these items by one editor, and its canaries. Raises UserError like `read_arrow`."""
    of_these = pc.field("item_id").isin(pa.array(item_ids, pa.string())) | (pc.field("control") == str(Control.CANARY))
    rows: list[PlanRow] = read_arrow(path, PLAN.names, (pc.field("editor") == editor) & of_these).to_pylist()
    return rows


def to_item(row: ItemRow) -> Item:
    """Return the item of a row that has the item columns."""
    columns: Mapping[str, Any] = row
    lists = {"tags": tuple(row["tags"]), "references": to_references(row["references"])}
    lists["turns"] = tuple(row["turns"] or ())
    return Item(**{name: columns[name] for name in ITEMS.names} | lists)


def to_references(rows: Sequence[ReferenceRow] | None) -> tuple[Reference, ...]:
    """Return the further images of a row."""
    return tuple(Reference(**one) for one in rows or ())


def item_row(item: Item) -> ItemRow:
    """Return the item columns of a row."""
    lists = {"tags": list(item.tags), "references": [asdict(one) for one in item.references] or None}
    lists["turns"] = list(item.turns) or None
    return cast(ItemRow, {name: getattr(item, name) for name in ITEMS.names} | lists)
