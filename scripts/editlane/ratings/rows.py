"""Read the rows of a table of ratings or scores (.csv, .tsv, .parquet), with the columns under one name each."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from editlane.core.csv_files import CsvFile, check_columns_once
from editlane.core.errors import UserError
from editlane.core.files import check_regular

LARGEST = 1e9
"""Limit of a score's magnitude: far above any scale, and far below the overflow of a sum of squares."""

_ALIASES = {"item_id": "item", "editor": "system", "source_sha256": "source"}
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_NOTHING = ("", "nan", "na", "null", "none")


def read_rows(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place in the file, row), with the columns under our names."""
    check_regular(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _read_parquet(path, needed, optional)
    elif suffix in _DELIMITERS:
        yield from _read_csv(path, _DELIMITERS[suffix], needed, optional)
    else:
        raise UserError(f"{path} ends in {path.suffix!r}; give a file that ends in .csv, .tsv or .parquet.")


def _map_columns(path: Path, found: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, str]:
    """Map the file's column names to ours. A column's own name takes precedence over its alias."""
    check_columns_once(path, found)
    own = {name: _ALIASES.get(name, name) for name in found if _ALIASES.get(name) not in found}
    lacking = [name for name in needed if name not in own.values()]
    if lacking:
        raise UserError(
            f"{path} has no column {' and no column '.join(lacking)}; it has: {', '.join(found) or 'none'}."
        )
    return {name: ours for name, ours in own.items() if ours in (*needed, *optional)}


def _read_csv(
    path: Path, delimiter: str, needed: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    table = CsvFile(path, delimiter)
    columns = _map_columns(path, table.columns, needed, optional)
    for where, row in table.read_rows():
        yield where, {ours: row[name] for name, ours in columns.items()}


def _read_parquet(path: Path, needed: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        columns = _map_columns(path, pq.read_schema(path).names, needed, optional)
        table = pq.read_table(path, columns=list(columns), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from error
    for number, row in enumerate(table.to_pylist(), start=1):
        yield f"row {number}", {ours: row[name] for name, ours in columns.items()}


def read_name(path: Path, where: str, row: dict[str, Any], column: str) -> str:
    """Read a name in NFC, like all names in a run, because macOS decomposes the letters of file names."""
    text = "" if row[column] is None else unicodedata.normalize("NFC", str(row[column])).strip()
    if not text:
        raise UserError(f"{path}, {where}: {column} is empty.")
    return text


def read_number(path: Path, where: str, row: dict[str, Any]) -> float:
    """Read the score; NaN if the cell is empty."""
    text = str(row["score"]).strip()
    if text.lower() in _NOTHING:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = math.inf
    if not abs(number) <= LARGEST:
        raise UserError(
            f"{path}, {where}: score is {text!r}; give a number up to {LARGEST:g}, or leave the cell empty."
        )
    return number
