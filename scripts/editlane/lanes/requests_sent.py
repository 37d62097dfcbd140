"""Count the requests of an editor or a judge to its server, over all lanes and processes of a run, and space them out.

Each lane appends a byte for each request, and one for each answer with an image, to a file of its own. Before a
request, the files of all lanes are read under a lock that lanes share, so that together they never send more than
allowed. Other machines' lanes share it where the file system has locks; elsewhere they may send some more.
"""

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.core.paths import EDIT, LaneId, list_counts, locate_count
from editlane.core.text_width import pluralize
from editlane.core.waiting import waiting
from editlane.lanes.watchdog import keep_alive

log = logging.getLogger(__name__)

_REQUEST, _IMAGE = b"r", b"i"
_LOOK_EVERY = 0.2
"""Seconds between two looks whether the lane is to stop."""
_LOOK_AGAIN = 10.0
"""Seconds after which the turn is computed anew, because the clock may have been set."""
_CLOCKS_DIFFER = 60.0
"""Seconds by which clocks of machines may differ. A last request that is further ahead was noted by a wrong clock."""


class Sent(NamedTuple):
    """What one lane has sent and got."""

    requests: int
    images: int
    """Answers with an image."""


class RequestCount:
    """The requests of one lane. Thread-safe."""

    def __init__(
        self,
        folder: Path,
        lane: LaneId,
        *,
        most: int | None,
        per_minute: float | None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Count in `folder`, which all lanes of the editor or the judge share. `check` is called while waiting and may
        raise."""
        make_folder(folder)
        self._folder, self._path = folder, locate_count(folder, lane)
        self._lane, self._most, self._per_minute, self._check = lane, most, per_minute, check
        self._threads = threading.Lock()

    def begin(self) -> None:
        """Wait until a request may be sent, and count it. Raises UserError if no more may be sent."""
        self._check()
        keep_alive()  # the attempt has its own deadline
        if self._most is None and self._per_minute is None:  # a judge may send hundreds in a second
            _append(self._path, _REQUEST)
            return
        while (left := self._count_or_wait()) > 0:
            with waiting():
                self._wait(min(left, _LOOK_AGAIN))

    def _wait(self, seconds: float) -> None:
        while seconds > 0:
            time.sleep(min(seconds, _LOOK_EVERY))
            seconds -= _LOOK_EVERY
            keep_alive()
            self._check()

    def _count_or_wait(self) -> float:
        """Count a request that may be sent now and return 0; else return the seconds until one may be."""
        with self._locked():
            self._raise_if_spent()
            left = self._take_turn()
            if left <= 0:
                _append(self._path, _REQUEST)
            return left

    def count_image(self) -> None:
        """Count an answer with an image."""
        _append(self._path, _IMAGE)

    def _raise_if_spent(self) -> None:
        if self._most is None:
            return
        sent = sum_up(self._folder)
        if sent.requests >= self._most:
            who, got = f"judge {self._lane.judge}", ""
            if self._lane.stage == EDIT:
                who, got = f"editor {self._lane.editor}", f" and got {pluralize(sent.images, 'image')}"
            raise UserError(  # short, because a row's error has 300 characters at most
                f"The {who} has sent {pluralize(sent.requests, 'request')} to its server{got}, tests of the server and "
                f"repeated ones included, and may send no more (`max_requests: {self._most}` in its `params`). Raise "
                "it and run the same command again: what is finished is kept, and no item has failed because of this."
            )

    def _take_turn(self) -> float:
        """Return 0 and note the time if the last request is long enough ago; else return the seconds until it is.

        Nothing is reserved: a turn of a lane that is stopped while it waits goes to another.
        """
        if self._per_minute is None:
            return 0.0
        path, now, last = self._folder / "last", time.time(), 0.0
        with suppress(OSError, ValueError):
            last = float(path.read_text(encoding="ascii"))
        left = last + 60 / self._per_minute - now if last < now + _CLOCKS_DIFFER else 0.0
        if left > 0:
            return left
        path.write_text(repr(now), encoding="ascii")
        return 0.0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._threads, lock_counts(self._folder):
            yield


@contextmanager
def lock_counts(folder: Path) -> Iterator[None]:
    """Hold the lock of the files in a folder of counts, as one of all threads, lanes and machines."""
    with (folder / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            log.info("%s: this file system has no locks; lanes of several machines may send more", folder)
        yield


def read_sent(folder: Path, stage: str) -> dict[int, Sent]:
    """Return what each lane of a stage has sent; empty if no server was asked."""
    return {lane: _read(path) for one, lane, path in list_counts(folder) if one == stage}


def sum_up(folder: Path) -> Sent:
    """Return what all lanes of all stages have sent together."""
    sent = [_read(path) for _, _, path in list_counts(folder)]
    return Sent(sum(one.requests for one in sent), sum(one.images for one in sent))


def _read(path: Path) -> Sent:
    content = path.read_bytes()
    return Sent(content.count(_REQUEST), content.count(_IMAGE))


def _append(path: Path, mark: bytes) -> None:
    """Append one byte, which cannot be torn, and wait for the disk: a count that is lost may cost money."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, mark)
        os.fsync(handle)
    finally:
        os.close(handle)
