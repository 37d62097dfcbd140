"""Write a journal of bounded size: segments in the format of a run's journal, of which the oldest makes room."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Thread

from editlane.core.errors import one_line
from editlane.core.files import make_folder
from editlane.core.types import Row
from editlane.lanes.journal import encode_record

log = logging.getLogger(__name__)

SEGMENTS = 8
"""Files of a full journal."""

RETRY_SECONDS = 5.0
"""Time until the next attempt after the disk took nothing."""

CLOSE_SECONDS = 5.0
"""Time for the last rows at the end of the server."""

MAX_WAITING = 10_000
"""Scores that wait for such a disk; older ones are only in memory then."""


class SegmentWriter:
    """Writes rows in a thread of its own, so that a slow disk delays no answer."""

    def __init__(self, folder: Path, max_bytes: int, on_error: Callable[[], None]) -> None:
        make_folder(folder)
        self._folder, self._max_bytes, self._on_error = folder, max_bytes, on_error
        self._segment_bytes = max(1, max_bytes // SEGMENTS)
        self._rows: Queue[bytes | None] = Queue(MAX_WAITING)
        self._waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        self._path = self._next_path()  # always a new one: the last line of the former may be torn
        self._thread = Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def write(self, key: str, row: Row) -> None:
        """Write a row soon. If the disk hangs for long, rows are only in memory."""
        try:
            self._rows.put_nowait(encode_record({"key": key, "row": row}))
        except Full:
            self._on_error()

    def close(self) -> None:
        """Write what waits and end the thread, unless the disk hangs."""
        with suppress(Full):
            self._rows.put(None, timeout=CLOSE_SECONDS)
            self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        retry_at, is_open = 0.0, True
        while is_open:
            is_open = self._collect(None if not self._waiting else max(0.0, retry_at - time.monotonic()))
            if not self._waiting or (is_open and time.monotonic() < retry_at):
                continue
            try:
                self._append(b"".join(self._waiting))
                self._waiting.clear()
            except OSError as error:
                if time.monotonic() > retry_at + RETRY_SECONDS:
                    log.warning("the journal %s takes no scores (%s); answers go on", self._path, one_line(error))
                retry_at = time.monotonic() + RETRY_SECONDS
                self._on_error()

    def _collect(self, timeout: float | None) -> bool:
        """Wait for rows and take all that are there. Return False once the journal is closed."""
        try:
            row = self._rows.get(timeout=timeout)
            while row is not None:
                self._waiting.append(row)
                row = self._rows.get_nowait()
            return False
        except Empty:
            return True

    def _append(self, content: bytes) -> None:
        """Append to the newest segment, all or nothing. Raises OSError."""
        make_folder(self._folder)  # somebody may have moved it away
        with self._path.open("ab", buffering=0) as file:
            end = os.fstat(file.fileno()).st_size
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise
        if end + len(content) >= self._segment_bytes:
            self._path = self._next_path()
            with suppress(OSError):  # the rows are written; the next segment tries again
                self._make_room()

    def _make_room(self) -> None:
        """Delete the oldest segments until one more fits."""
        sizes = {path: path.stat().st_size for path in self._segments()}
        for path in list(sizes):
            if sum(sizes.values()) + self._segment_bytes <= self._max_bytes:
                return
            path.unlink()
            del sizes[path]

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob("*.jsonl"))

    def _next_path(self) -> Path:
        used = [int(path.stem) for path in self._segments() if path.stem.isdecimal()]
        return self._folder / f"{max(used, default=0) + 1:08}.jsonl"
