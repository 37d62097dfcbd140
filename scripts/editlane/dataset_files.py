"""Datasets as they lie on disk: JSONL, CSV, Parquet, or one JSON list of any size, read record by record.

A record is a dict as the file has it, with the place that error messages name, e.g. `record 3 (line 4)`.
"""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ijson
import pyarrow as pa
import pyarrow.parquet as pq

from editlane.errors import UnknownName, UserError

Records = Iterator[tuple[str, dict[str, Any]]]

FORMATS = ("base64-json", "items", "pairs")

_CHUNK = 1 << 20
"""Bytes read at once. With ijson's default of 64 KiB, strings of several megabytes take ten times as long."""

_DEPTH = 50
_ROWS = 8  # of a Parquet file at once: they may hold images
_BROKEN_JSON = (ijson.JSONError, UnicodeDecodeError)  # yajl lets some bytes pass that Python then refuses
_BOM = b"\xef\xbb\xbf"


def read_records(path: Path, format: str) -> Records:
    """The records of a dataset in order. Raises UserError where the file is missing, empty, or broken."""
    if format not in FORMATS:
        raise UnknownName("dataset format", format, FORMATS)
    readers = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if format != "base64-json" and path.suffix.lower() not in readers:
        raise UserError(f"{path} ends in {path.suffix!r}; format {format!r} is read from {', '.join(readers)}.")
    if not path.is_file():
        raise UserError(f"There is no dataset file {path}. Set `dataset: path:` in the config.")
    if path.stat().st_size == 0:
        raise UserError(f"The dataset file {path} is empty.")
    if format == "base64-json":
        return _read_json_list(path)
    required = ("category", "image", "edited") if format == "pairs" else ("category", "image")
    return readers[path.suffix.lower()](path, required)


def _check_columns(path: Path, columns: Iterable[str], required: Iterable[str]) -> None:
    columns = list(columns)
    missing = [name for name in required if name not in columns]
    if not {"instruction", "instruction_zh", "instruction_en"} & set(columns):
        missing.append("instruction")
    if missing:
        raise UserError(f"{path} has no column {' and no column '.join(missing)}; it has: {', '.join(columns)}.")


def _read_jsonl(path: Path, _required: Iterable[str]) -> Records:
    """A missing key is looked at record by record, so no columns are checked here."""
    offset = number = 0
    with path.open("rb") as file:
        for line_number, line in enumerate(file, 1):
            start, offset = offset, offset + len(line)
            if line_number == 1 and line.startswith(_BOM):
                start, line = start + len(_BOM), line.removeprefix(_BOM)
            if not line.strip():
                continue
            number += 1
            where = f"record {number} (line {line_number})"
            yield where, _load_line(path, line, start, where)


def _load_line(path: Path, line: bytes, start: int, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode())
    except json.JSONDecodeError as error:
        at = start + len(error.doc[: error.pos].encode())
        raise UserError(_broken(path, at, f"{where}: {error.msg}")) from error
    except UnicodeDecodeError as error:
        raise UserError(_broken(path, start + error.start, f"{where}: not UTF-8")) from error
    except RecursionError as error:
        raise UserError(f"{path}, {where}: nested too deeply.") from error
    if not isinstance(record, dict):
        raise UserError(f"{path}, {where} is not an object with fields.")
    return record


def _read_csv(path: Path, required: Iterable[str]) -> Records:
    csv.field_size_limit(2**31 - 1)  # a cell may hold an image; the default ends at 128 KiB
    number = 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file, restkey="", strict=True)
            _check_columns(path, reader.fieldnames or (), required)
            for record in reader:
                if not any(record.values()):
                    continue
                number += 1
                where = f"record {number} (line {reader.line_num})"
                if record.pop("", None):
                    raise UserError(f"{path}, {where} has more cells than the header has names; is a quote missing?")
                yield where, record
        except csv.Error as error:
            raise UserError(f"{path} is broken CSV near line {reader.line_num}: {error}.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 ({error.reason}). Save it as UTF-8 and try again.") from error


def _read_parquet(path: Path, required: Iterable[str]) -> Records:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, file.schema_arrow.names, required)
            number = 0
            for batch in file.iter_batches(batch_size=_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield f"record {number}", record
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from error


def _read_json_list(path: Path) -> Records:
    """The objects of one JSON list, without ever holding more than one of them.

    `ijson.items` builds a path for every nesting level, so that 100 kB of "[" take 25 GB; hence the events and a limit.
    """
    number = depth = 0
    record = ijson.ObjectBuilder()
    with path.open("rb") as file:
        start = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
        file.seek(start)
        try:
            for event, value in ijson.basic_parse(file, buf_size=_CHUNK):
                depth -= event.startswith("end_")
                if depth == 0 and event not in ("start_array", "end_array"):
                    raise UserError(f"{path} is not a JSON list of records; format 'base64-json' needs one.")
                if depth == 1 and event == "start_map":
                    number, record = number + 1, ijson.ObjectBuilder()
                elif depth == 1 and event != "end_map":
                    raise UserError(f"{path}, record {number + 1} is not an object with fields.")
                if depth > 0:
                    record.event(event, value)
                if depth == 1 and event == "end_map":
                    yield f"record {number}", record.value
                depth += event.startswith("start_")
                if depth > _DEPTH:
                    raise UserError(f"{path}, record {number}: nested too deeply.")
        except _BROKEN_JSON as error:
            where = f"after record {number}" if depth == 1 else f"record {number}"
            raise UserError(_broken(path, _broken_at(path, start), where)) from error


def _broken_at(path: Path, start: int) -> int:
    """The byte of a file at which its JSON is found to be broken; the file's size where the JSON just stops.

    That is the first byte that cannot stand there, or the last of a string that cannot. The parser keeps no position,
    so the file is parsed again up to the piece that fails, in ever smaller pieces.
    """
    good, step = start, _CHUNK
    while True:
        events = ijson.sendable_list()
        parser = ijson.basic_parse_coro(events)
        with path.open("rb") as file:
            file.seek(start)
            try:
                while file.tell() < good:
                    parser.send(file.read(min(_CHUNK, good - file.tell())))
                    events.clear()
                while piece := file.read(step):
                    parser.send(piece)
                    good += len(piece)
                    events.clear()
            except _BROKEN_JSON:
                if step == 1:
                    return good
                step = max(1, step // 64)
            else:
                return good


def _broken(path: Path, at: int, where: str) -> str:
    with path.open("rb") as file:
        file.seek(max(0, at - 20))
        before, after = file.read(min(20, at)), file.read(20)
    seen = f"after {before.decode(errors='ignore')!r}"
    if not after:
        return f"{path} is broken JSON ({where}): it ends at byte {at}, {seen}."
    return f"{path} is broken JSON at byte {at} ({where}): {after.decode(errors='replace')!r} stands there, {seen}."
