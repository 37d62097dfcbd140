"""The journal: an append-only record of finished items, keyed by content, so that nothing is computed twice.

A journal is a folder with one file of lines per writer: JSON, a tab, the CRC-32 of the JSON. A key covers all that a
result depends on, so old results are found again after a change of lanes, order or size of the dataset.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from zlib import crc32

from editlane.core.errors import TRANSIENT_KINDS
from editlane.core.files import make_folder, sync_folder
from editlane.core.text_width import pluralize
from editlane.core.types import Row

log = logging.getLogger(__name__)

DEATHS = 3
"""Deaths of processes on an item after which it fails with the kind `crash`, so that its lane goes on. The next run of
the lane retries it. A rule's `retries` must allow this many."""


def content_key(**parts: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `parts`."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The content of a journal."""

    rows: dict[str, Row]
    """The finished items, by key."""
    deaths: Counter[str]
    """Number of times that work on a key began and neither finished nor was given up, because the process died.
    A key with a row has some if its work began anew, because the row no longer counts."""
    begun: Counter[str] = field(default_factory=Counter)
    """Number of times that work on a key ever began, over all writers, without those that were taken back."""


def read_journal(folder: Path, wanted: Set[str] | None = None) -> Finished:
    """Read all writers' files, only the `wanted` keys if given. A later record of a key replaces an earlier one.

    A last line without its newline, cut off by a crash, is skipped. So is a line whose checksum is wrong.
    """
    return _read(sorted(folder.glob("*.jsonl")), wanted)


def _read(paths: Sequence[Path], wanted: Set[str] | None) -> Finished:
    found = Finished(rows={}, deaths=Counter())
    settled: dict[str, int] = {}
    names = None if wanted is None else frozenset(key.encode() for key in wanted)
    for path in paths:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n") or (names is not None and not _is_about(line, names)):
                    continue
                if not _apply(line, found, settled, wanted):
                    log.warning("journal: %s line %d is damaged; its item is done again", path, number)
    for key, count in found.begun.items():
        if count > settled.get(key, 0):
            found.deaths[key] = count - settled.get(key, 0)
    return found


def _apply(line: bytes, found: Finished, settled: dict[str, int], wanted: Set[str] | None) -> bool:
    """Add one line to `found`. Return False if the line is damaged.

    `settled`: how many times that work on a key began an outcome has settled. It is a number and no order of lines,
    because an item that moved to another lane has records in two files, and nothing says which came first.
    """
    text, _, checksum = line[:-1].partition(b"\t")
    if checksum != _checksum(text):
        return False
    match json.loads(text):
        case {"key": str(key), "row": dict(row)}:
            found.rows[key] = row
            settled[key] = max(found.begun[key], settled.get(key, 0))
        case {"begin": [*keys]}:
            found.begun.update(key for key in keys if wanted is None or key in wanted)
        case {"end": [*keys], "begun": [*counts]}:
            settled |= {key: max(count, settled.get(key, 0)) for key, count in zip(keys, counts, strict=True)}
        case {"end": [*keys]}:  # of an older version
            settled |= {key: max(found.begun[key], settled.get(key, 0)) for key in keys}
        case {"ended": _}:
            pass
        case _:
            return False
    return True


def _is_about(line: bytes, names: frozenset[bytes]) -> bool:
    """Return whether a record names one of these keys, from its bytes, because most records are other lanes'."""
    if line.startswith(b'{"key": "'):
        return line[9 : line.find(b'"', 9)] in names
    if line.startswith((b'{"begin": ["', b'{"end": ["')):
        return not names.isdisjoint(line[line.find(b"[") + 2 : line.rfind(b'"]')].split(b'", "'))
    return not line.startswith(b'{"ended": ')


def _checksum(text: bytes) -> bytes:
    return b"%08x" % crc32(text)


def encode_record(record: Mapping[str, Any]) -> bytes:
    """Return a record as a line of a journal."""
    text = json.dumps(record, ensure_ascii=False).encode()
    return text + b"\t" + _checksum(text) + b"\n"


class Journal:
    """A journal that is open for one writer. Its file is locked: a second writer waits until the first process ends.

    Records: `{"begin": [keys]}` before work starts, `{"key": ..., "row": {...}}` for a finished item, `{"end": [keys],
    "begun": [numbers]}` for items with a transient failure, with the number of times that work on each began so far.
    `take_back` turns a `begin` into an `ended`. What names the keys comes first, because readers skip records by it.
    `finished` holds only the `wanted` keys. The writer's own records count as the latest; other writers' files are read
    only if it lacks a wanted key. `check` is called while waiting for the lock and may raise.
    """

    def __init__(
        self, folder: Path, writer: str, wanted: Set[str] | None = None, check: Callable[[], None] = lambda: None
    ) -> None:
        make_folder(folder)
        path = folder / f"{writer}.jsonl"
        self._file = path.open("ab", buffering=0)
        self._threads = threading.Lock()
        self._at_work: dict[str, int] = {}  # key -> where its `begin` lies in the file
        _lock(self._file, path, check)
        _cut_torn_tail(path, self._file)
        sync_folder(folder)
        self.finished = _read([path], wanted)  # after the lock, so that an orphan's last record is seen
        if wanted is None or not wanted <= self.finished.rows.keys():
            others = set(folder.glob("*.jsonl")) - {path}
            self.finished = _read([*sorted(others), path], wanted)

    def begin(self, keys: Sequence[str]) -> None:
        """Record that work on these items begins. Does not wait for the disk: only this process's death matters."""
        with self._threads:
            offset = self._append([{"begin": list(keys)}], wait=False)
            self._at_work |= dict.fromkeys(keys, offset)
            self.finished.begun.update(keys)

    def finish(self, rows: Mapping[str, Row]) -> None:
        """Record finished items in one piece. Rows of a transient failure are not kept."""
        records: list[dict[str, Any]] = [
            {"key": key, "row": row} for key, row in rows.items() if row["error_kind"] not in TRANSIENT_KINDS
        ]
        given_up = [key for key, row in rows.items() if row["error_kind"] in TRANSIENT_KINDS]
        with self._threads:
            if given_up:
                records.append({"end": given_up, "begun": [self.finished.begun[key] for key in given_up]})
            self._append(records, wait=True)
            for key in rows:
                self._at_work.pop(key, None)

    def take_back(self, keys: Iterable[str]) -> None:
        """Take back that work on these items began, because the process ends in good order: only a death is a death.

        The records are overwritten where they lie, because on a full disk there is no room for others. A disk that
        cannot be written at all keeps them.
        """
        with self._threads:
            offsets = {offset for key in keys if (offset := self._at_work.pop(key, None)) is not None}
            if not offsets:
                return
            try:
                with Path(self._file.name).open("r+b") as file:
                    for offset in sorted(offsets):
                        self.finished.begun.subtract(_overwrite_begin(file, offset))
            except OSError as error:
                log.warning("journal: cannot take back what began (%s); it counts as a death", error.strerror)

    def _append(self, records: Sequence[Mapping[str, Any]], *, wait: bool) -> int:
        """Append records in one piece, and return where they begin. The caller holds the lock of the threads."""
        data = b"".join(map(encode_record, records))
        end = os.fstat(self._file.fileno()).st_size
        try:
            _write_all(self._file.fileno(), data)
            if wait:
                os.fsync(self._file.fileno())
        except OSError as error:  # a full disk takes half a line: leave none
            self._file.truncate(end)
            error.filename = error.filename or self._file.name
            raise
        return end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _overwrite_begin(file: IO[bytes], offset: int) -> list[str]:
    """Turn the `begin` at this place into an `ended`, which is as long, and return its keys; none if it is not there.

    It may not be where the file system has no locks and another process writes, too.
    """
    file.seek(offset)
    line = file.readline()
    if not line.startswith(b'{"begin": ['):
        return []
    record = json.loads(line.partition(b"\t")[0])
    file.seek(offset)
    file.write(encode_record({"ended": record["begin"]}))
    file.flush()
    return list(record["begin"])


def _lock(file: IO[bytes], path: Path, check: Callable[[], None]) -> None:
    try:
        if not _locked(file):
            log.info("journal: waiting for the process that still writes %s", path)
            while not _locked(file):
                check()
                time.sleep(0.2)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
        log.warning("journal: this file system has no locks; make sure that only one run uses %s", path.parent)


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _cut_torn_tail(path: Path, file: IO[bytes]) -> None:
    """Cut what follows the last newline, so that the next record is not glued to half a line."""
    size = path.stat().st_size
    with path.open("rb") as reader:
        end = size
        while end > 0:
            start = max(0, end - 65536)
            reader.seek(start)
            newline = reader.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
    if end < size:
        log.warning("journal: cut %s of an unfinished record off %s", pluralize(size - end, "byte"), path)
        file.truncate(end)
        os.fsync(file.fileno())
