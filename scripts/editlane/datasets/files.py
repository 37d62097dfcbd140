"""Read the records of dataset files: JSONL, CSV, Parquet, Arrow, or one JSON list or object of any size.

A record is an unchanged dict, paired with its place for error messages, e.g. `record 3 (line 4)`.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from editlane.core.csv_files import LONGEST_LINE, CsvFile
from editlane.core.errors import UserError
from editlane.core.files import check_regular
from editlane.datasets.arrow_files import Records, read_column_names, read_rows
from editlane.datasets.json_files import read_json, read_jsonl

OWN_FORMATS = ("base64-json", "items", "pairs")


def read_records(path: Path, format: str, *, edited: bool = True) -> Records:
    """Read the records of a dataset in one of OWN_FORMATS, in order.

    Without `edited`, `pairs` need no column of that name. Raises UserError if the file is missing, empty or malformed.
    """
    suffix = path.suffix.lower()
    if format != "base64-json" and suffix not in (".csv", ".jsonl", ".parquet"):
        raise UserError(f"{path} ends in {path.suffix!r}; format {format!r} is read from .csv, .jsonl, .parquet.")
    check_file(path)
    if format == "base64-json" and suffix != ".parquet":
        return read_json(path, format)
    columns = read_column_names(path) if suffix == ".parquet" else []
    if format == "base64-json":
        return read_rows(path)
    required = ("category", "edited") if format == "pairs" and edited else ("category",)
    if suffix == ".csv":
        return _read_csv(path, required)
    if suffix == ".jsonl":
        return read_jsonl(path)
    _check_columns(path, columns, required)
    return read_rows(path)


def check_file(path: Path) -> None:
    """Raise UserError if the path is missing, a folder, no regular file, or empty."""
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name the dataset file in it.")
    check_regular(path)
    if not path.is_file():
        raise UserError(f"There is no dataset file {path}. Check its path, which begins at the working directory.")
    if path.stat().st_size == 0:
        raise UserError(f"The dataset file {path} is empty.")


def _check_columns(path: Path, columns: Iterable[str], required: Iterable[str]) -> None:
    columns = list(columns)
    missing = [name for name in required if name not in columns]
    if not {"image", "images"} & set(columns):
        missing.append("image")
    texts = {f"{name}{suffix}" for name in ("instruction", "turns") for suffix in ("", "_zh", "_en")}
    if not texts & set(columns):
        missing.append("instruction")
    if missing:
        raise UserError(f"{path} has no column {' and no column '.join(missing)}; it has: {', '.join(columns)}.")


def _read_csv(path: Path, required: Iterable[str]) -> Records:
    csv.field_size_limit(LONGEST_LINE)  # a cell may hold an image; the default limit is 128 KiB
    table = CsvFile(path)
    _check_columns(path, table.columns, required)
    yield from table.read_rows("record {number} (line {line})")
