"""Read the rows of Parquet and Arrow files: Arrow's stream format, and its file format (also called Feather)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from editlane.core.csv_files import check_columns_once
from editlane.core.errors import UserError, one_line

Records = Iterator[tuple[str, dict[str, Any]]]
"""(place in the file, fields)"""

_ROWS = 8  # rows in memory at once: they may hold images
_FILE_FORMAT = b"ARROW1"


def read_column_names(path: Path) -> list[str]:
    """Read the column names of a Parquet or Arrow file. Raises UserError if it is malformed or has one twice."""
    try:
        if path.suffix.lower() == ".parquet":
            names = list(pq.read_schema(path).names)
        else:
            with _open_arrow(path) as reader:
                names = list(reader.schema.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _make_unreadable_error(path, error) from error
    check_columns_once(path, names)
    return names


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Records:
    """Read the rows of a Parquet file, or of an Arrow file saved by the `datasets` library. Only `columns` are read.

    Only a few rows are in memory at once. Raises UserError if the file is malformed, or has a value that Python cannot
    hold.
    """
    number = 0
    try:
        read_batches = _read_parquet_batches if path.suffix.lower() == ".parquet" else _read_arrow_batches
        for batch in read_batches(path, columns):
            for record in _to_records(path, batch, number):
                number += 1
                yield f"record {number}", record
    except (pa.ArrowException, OSError) as error:
        raise _make_unreadable_error(path, error) from error


def _to_records(path: Path, batch: pa.RecordBatch, before: int) -> list[dict[str, Any]]:
    """Return the rows of a batch with `before` rows in front of it. Arrow checks neither its texts nor its dates."""
    try:
        records: list[dict[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError):
        for row in range(batch.num_rows):
            for name in batch.schema.names:
                try:
                    batch.column(name)[row].as_py()
                except (ValueError, OverflowError) as error:
                    reason = f"not UTF-8 ({error.reason})" if isinstance(error, UnicodeDecodeError) else one_line(error)
                    raise UserError(f"{path}, record {before + row + 1}: {name} cannot be read: {reason}.") from error
        raise
    return records


def _read_parquet_batches(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Read one row group at a time, because pyarrow otherwise keeps the groups already read in memory."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=columns)


def _read_arrow_batches(path: Path, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    with _open_arrow(path) as reader:
        batches = reader if isinstance(reader, pa.RecordBatchStreamReader) else _list_batches(reader)
        for whole in batches:
            batch = whole if columns is None else whole.select(list(columns))
            yield from (batch.slice(start, _ROWS) for start in range(0, batch.num_rows, _ROWS))


@contextmanager
def _open_arrow(path: Path) -> Iterator[pa.RecordBatchStreamReader | pa.RecordBatchFileReader]:
    """Open a file of the `datasets` library (a stream), or of pyarrow, pandas and polars (the file format)."""
    with pa.memory_map(str(path)) as file:
        is_file_format = file.read(len(_FILE_FORMAT)) == _FILE_FORMAT
        file.seek(0)
        with (pa.ipc.open_file if is_file_format else pa.ipc.open_stream)(file) as reader:
            yield reader


def _list_batches(reader: pa.RecordBatchFileReader) -> Iterator[pa.RecordBatch]:
    return (reader.get_batch(number) for number in range(reader.num_record_batches))


def _make_unreadable_error(path: Path, error: Exception) -> UserError:
    kind = "Parquet" if path.suffix.lower() == ".parquet" else "Arrow"
    return UserError(f"{path} cannot be read as {kind}: {' '.join(str(error).split())}")
