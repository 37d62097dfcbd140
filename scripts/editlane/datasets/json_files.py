"""Read the records of JSON and JSONL files, one at a time: a file, and a record's text, may be large.

An object with a key twice is refused, because Python and ijson would silently keep the last value.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import ijson

from editlane.core.errors import UserError, format_value
from editlane.datasets.arrow_files import Records

_CHUNK = 1 << 20
"""Bytes read at once. With ijson's default of 64 KiB, strings of several megabytes take ten times as long."""

LONGEST_RECORD = 300_000_000
"""Bytes of a record in a JSON file. Its text is there four times while it is parsed: up to 1.3 GB."""

_DEPTH = 50
_NOT_JSON = re.compile(rb"NaN|-?Infinity")
_BROKEN_JSON = (ijson.JSONError, UnicodeDecodeError)  # yajl accepts some bytes that Python cannot decode
_BOM = b"\xef\xbb\xbf"


def read_jsonl(path: Path) -> Records:
    """Read JSONL. Each record may have other keys, so missing ones are reported later, per record.

    Raises UserError if a line is malformed.
    """
    offset = number = 0
    with path.open("rb") as file:
        for line_number, line in enumerate(iter(partial(file.readline, LONGEST_RECORD + 1), b""), 1):
            if len(line) > LONGEST_RECORD:
                raise _make_length_error(path, number + 1)
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
        record = json.loads(line.decode(), object_pairs_hook=_make_object)
    except _KeyTwiceError as error:
        raise _make_key_error(path, where, error) from error
    except json.JSONDecodeError as error:
        at = start + len(error.doc[: error.pos].encode())
        raise UserError(_describe_broken(path, at, f"{where}: {error.msg}")) from error
    except UnicodeDecodeError as error:
        raise UserError(_describe_broken(path, start + error.start, f"{where}: not UTF-8")) from error
    except RecursionError as error:
        raise UserError(f"{path}, {where}: nested too deeply.") from error
    except ValueError as error:
        raise _make_number_error(path, where) from error
    if not isinstance(record, dict):
        raise UserError(f"{path}, {where} is not an object with fields.")
    return record


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make the dict of a JSON object. Raises _KeyTwiceError."""
    found = dict(pairs)
    if len(found) < len(pairs):
        once = _FilledOnce()
        for key, value in pairs:
            once[key] = value
    return found


def read_json(path: Path, format: str, *, keyed: bool = False) -> Records:
    """Read the objects of one JSON list, one at a time.

    With `keyed`, read one JSON object of objects; each record gets its key as the field `key`. Two records may have the
    same key. Raises UserError if the file is malformed.
    """
    with path.open("rb") as file:
        start = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
        file.seek(start)
        place = _Place()
        try:
            yield from _build_records(_BoundedReader(file), path, "object" if keyed else "list", format, place)
        except _KeyTwiceError as error:
            where = f"{place} (line {_find_line(path, start, keyed=keyed)})"
            raise _make_key_error(path, where, error) from error
        except _BROKEN_JSON as error:
            where = f"after record {place.number}" if place.depth == 1 else f"record {place.number}"
            raise UserError(_describe_broken(path, _find_broken_byte(path, start), where)) from error
        except _TooLongError as error:
            raise _make_length_error(path, place.number + (place.depth < 2)) from error
        except (ValueError, SystemError) as error:  # ijson may leave the ValueError for the next call to stumble over
            raise _make_number_error(path, f"a record after record {place.number}") from error


@dataclass(slots=True)
class _Place:
    """How far a JSON file is read."""

    number: int = 0
    """Number of records whose beginning was read."""
    depth: int = 0
    """Lists and objects that are open."""
    key: str | None = None
    """Key of the record, in an object of records."""

    def __str__(self) -> str:
        return _format_place(self.number, self.key)


def _build_records(file: "_BoundedReader", path: Path, kind: str, format: str, place: _Place) -> Records:
    """Build the records of one list or object (`kind`) from the parser's events. Keeps `place` up to date.

    `ijson.items` builds a path for every nesting level, so that 100 kB of "[" take 25 GB; this has a limit.
    """
    record = ijson.ObjectBuilder(_FilledOnce)
    first = "start_map" if kind == "object" else "start_array"
    for event, value in ijson.basic_parse(file, buf_size=_CHUNK):
        place.depth -= event.startswith("end_")
        if place.depth == 0 and event != first and not event.startswith("end_"):
            raise UserError(f"{path} is not a JSON {kind} of records; format {format!r} needs one.")
        if place.depth == 1 and event == "map_key":
            place.key = value
            continue
        if place.depth == 1 and event == "start_map":
            place.number, record = place.number + 1, ijson.ObjectBuilder(_FilledOnce)
        elif place.depth == 1 and event != "end_map":
            raise UserError(f"{path}, {_format_place(place.number + 1, place.key)} is not an object with fields.")
        if place.depth > 0:
            record.event(event, value)
        if place.depth == 1 and event == "end_map":
            file.since = 0
            yield str(place), dict(record.value) | ({"key": place.key} if kind == "object" else {})
        place.depth += event.startswith("start_")
        if place.depth > _DEPTH:
            raise UserError(f"{path}, {place}: nested too deeply.")


class _KeyTwiceError(Exception):
    """An object has this key twice."""


class _FilledOnce(dict[str, Any]):
    """The fields of an object that is being read. Raises _KeyTwiceError for a key that it has already."""

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self:
            raise _KeyTwiceError(key)
        super().__setitem__(key, value)


def _find_line(path: Path, start: int, *, keyed: bool) -> int:
    """Return the line of the first key that an object has twice, by reading the file again, line by line."""
    with path.open("rb") as file:
        file.seek(start)
        lines = _LineReader(file)
        with suppress(_KeyTwiceError):
            for _ in _build_records(_BoundedReader(lines), path, "object" if keyed else "list", "", _Place()):
                pass
        return lines.number


class _LineReader:
    """A file that gives a line, or the part of a long one, each time it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._last = b""
        self.number = 1
        """The line of what was given last, from 1."""

    def read(self, size: int) -> bytes:
        """Return like the file's `read`."""
        self.number += self._last.endswith(b"\n")
        self._last = self._file.readline(size)
        return self._last


class _TooLongError(Exception):
    pass


class _BoundedReader:
    """A file that refuses to be read further when no record has ended for LONGEST_RECORD bytes."""

    def __init__(self, file: "IO[bytes] | _LineReader") -> None:
        self._file = file
        self.since = 0
        """Bytes read since the end of a record."""

    def read(self, size: int) -> bytes:
        """Return like the file's `read`. Raises _TooLongError."""
        piece = self._file.read(size)
        self.since += len(piece)
        if self.since > LONGEST_RECORD + _CHUNK:
            raise _TooLongError
        return piece


def _make_length_error(path: Path, number: int) -> UserError:
    text = f"{path}, record {number} is longer than {LONGEST_RECORD:,} bytes"
    return UserError(f"{text}. Is a quote or a line break missing? An image of that size belongs into a file.")


def _make_key_error(path: Path, where: str, key: _KeyTwiceError) -> UserError:
    return UserError(f"{path}, {where} has the key {format_value(str(key))} twice. Keep one.")


def _make_number_error(path: Path, where: str) -> UserError:
    """Return the error for a number that Python refuses to read, because that takes it too long."""
    return UserError(f"{path}, {where} has a number of more than 4,300 digits. Write it in quotes.")


def _format_place(number: int, key: str | None) -> str:
    return f"record {number}" if key is None else f"record {number} ({key!r})"


def _find_broken_byte(path: Path, start: int) -> int:
    """Find the byte of a file at which its JSON is malformed, or the file's size if the JSON is truncated.

    It is the first invalid byte, or the last byte of an invalid string. The parser reports no position, so the file is
    parsed again up to the block that fails, in ever smaller blocks.
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


def _describe_broken(path: Path, at: int, where: str) -> str:
    with path.open("rb") as file:
        file.seek(max(0, at - 20))
        before, after = file.read(min(20, at)), file.read(20)
    seen = f"after {before.decode(errors='ignore')!r}"
    if not after:
        return f"{path} is broken JSON ({where}): it ends at byte {at}, {seen}."
    reason = f"{after.decode(errors='replace')!r} stands there, {seen}"
    if _NOT_JSON.search(before[-9:] + after[:9]):
        reason += "; NaN and Infinity are not JSON, write null for an empty value"
    return f"{path} is broken JSON at byte {at} ({where}): {reason}."
