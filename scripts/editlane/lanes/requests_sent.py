"""Count the requests of an editor to its server, over all lanes and processes of a run, and space them out.

Each lane appends a byte for each request, and one for each answer with an image, to a file of its own. Before a
request, the files of all lanes are read under a lock that lanes share, so that together they never send more than
allowed. Other machines' lanes share it where the file system has locks; elsewhere they may send some more.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.core.paths import list_counts, locate_count
from editlane.core.text_width import pluralize
from editlane.lanes.folder_lock import lock_folder

_REQUEST, _IMAGE = b"r", b"i"
_LOOK_EVERY = 0.2
"""Seconds between two looks whether the lane is to stop."""
_FARTHEST_TURN = 3600.0
"""Seconds that a turn may lie ahead: a later one was written by a clock that is wrong."""


class Sent(NamedTuple):
    """What one lane has sent and got."""

    requests: int
    images: int
    """Answers with an image."""


class RequestCount:
    """The requests of one lane of an editor. Thread-safe."""

    def __init__(
        self,
        folder: Path,
        lane: int,
        *,
        editor: str,
        most: int | None,
        per_minute: float | None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Count in `folder`, which all lanes of the editor share. `check` is called while waiting and may raise."""
        make_folder(folder)
        self._folder, self._path = folder, locate_count(folder, lane)
        self._editor, self._most, self._per_minute, self._check = editor, most, per_minute, check
        self._threads = threading.Lock()

    def begin(self) -> None:
        """Wait until a request may be sent, and count it. Raises UserError if no more may be sent."""
        self._check()
        with self._locked():
            self._raise_if_spent()
            turn = self._take_turn()
        while (left := turn - time.time()) > 0:
            time.sleep(min(left, _LOOK_EVERY))
            self._check()
        with self._locked():
            self._raise_if_spent()
            _append(self._path, _REQUEST)

    def count_image(self) -> None:
        """Count an answer with an image."""
        _append(self._path, _IMAGE)

    def _raise_if_spent(self) -> None:
        if self._most is None:
            return
        sent = sum_up(self._folder)
        if sent.requests >= self._most:
            raise UserError(
                f"The editor {self._editor} has sent {pluralize(sent.requests, 'request')} to its server in this run, "
                f"with {pluralize(sent.images, 'image')} in the answers, and may send no more (`max_requests: "
                f"{self._most}` in its `params`). Requests that test the server and repeated ones count, too. Raise "
                "max_requests and run the same command again: every finished edit is kept, and no item has failed "
                "because of this."
            )

    def _take_turn(self) -> float:
        """Return the Unix time from which on this request may be sent. The next one's is a pause later."""
        now = time.time()
        if self._per_minute is None:
            return now
        path = self._folder / "turn"
        turn = now
        with suppress(OSError, ValueError):
            turn = float(path.read_text(encoding="ascii"))
        turn = max(now, turn) if turn < now + _FARTHEST_TURN else now
        path.write_text(repr(turn + 60 / self._per_minute), encoding="ascii")
        return turn

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads, lock_folder(self._folder):
            yield


def read_sent(folder: Path) -> dict[int, Sent]:
    """Return what each lane has sent; empty if the editor asks no server."""
    found = {}
    for lane, path in list_counts(folder):
        content = path.read_bytes()
        found[lane] = Sent(content.count(_REQUEST), content.count(_IMAGE))
    return found


def sum_up(folder: Path) -> Sent:
    """Return what all lanes have sent together."""
    lanes = read_sent(folder).values()
    return Sent(sum(one.requests for one in lanes), sum(one.images for one in lanes))


def _append(path: Path, mark: bytes) -> None:
    """Append one byte, which cannot be torn, and wait for the disk: a count that is lost may cost money."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, mark)
        os.fsync(handle)
    finally:
        os.close(handle)
