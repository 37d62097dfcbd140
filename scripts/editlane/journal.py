"""The journal: an append-only record of finished items, keyed by content. The reason why nothing is computed twice.

A journal is a folder with one JSON-lines file per writer. A record is `{"key": ..., "row": {...}}`; the key names all
that the result depends on, so a change of lanes, order or size of the dataset finds every old result again.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

log = logging.getLogger(__name__)

Row = dict[str, Any]


def content_key(**parts: Any) -> str:
    """sha256 (hex) over the canonical JSON of `parts`."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_journal(folder: Path) -> dict[str, Row]:
    """All finished items of a journal, by key; a later record of a key replaces an earlier one.

    A last line without its newline was cut off by a crash and is left out, as is a line that is not a record.
    """
    found: dict[str, Row] = {}
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                record = _record(line)
                if record is not None:
                    found[record["key"]] = record["row"]
                elif line.endswith(b"\n"):
                    log.warning("journal: %s line %d is damaged; its item is done again", path, number)
    return found


def _record(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if isinstance(record, dict) and isinstance(record.get("key"), str) and isinstance(record.get("row"), dict):
        return record
    return None


class JournalWriter:
    """Appends to one file of a journal. The file is locked: a second writer waits until the first process ends."""

    def __init__(self, folder: Path, writer: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{writer}.jsonl"
        self._file = self.path.open("ab")
        _lock(self._file, self.path)
        _cut_torn_tail(self.path, self._file)
        _sync_folder(folder)

    def append(self, rows: Mapping[str, Row]) -> None:
        """Write the rows in one piece and wait for the disk."""
        lines = (json.dumps({"key": key, "row": row}, ensure_ascii=False) + "\n" for key, row in rows.items())
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("journal: waiting for the process that still writes %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
            raise
        log.warning("journal: this file system has no locks; make sure that only one run uses %s", path.parent)


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
        log.warning("journal: cut %d bytes of an unfinished record off %s", size - end, path)
        file.truncate(end)
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def opened(folder: Path, writer: str) -> Iterator[tuple[dict[str, Row], JournalWriter]]:
    """What the journal holds, and a writer. The lock comes first, so that an orphan's last record is seen."""
    with JournalWriter(folder, writer) as journal:
        yield read_journal(folder), journal
