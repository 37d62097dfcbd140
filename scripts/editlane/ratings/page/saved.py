"""One rater's ratings in a CSV file, which may hold those of others, too."""

import csv
import errno
import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from editlane.core.errors import UserError
from editlane.ratings.page.tasks import Task
from editlane.ratings.tables import COLUMNS, Rating, read_ratings, write_ratings

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class SavedRatings:
    """The ratings of one rater. Each is on the disk when `save` returns; the file never holds two of one edit.

    The whole file is written anew each time (beside, fsync, rename), under a lock in a hidden file next to it, so that
    two people can rate into the same file at once.
    """

    def __init__(self, path: Path, rater: str) -> None:
        """Raises UserError where the file is there, but is not one that this class wrote."""
        self.path, self.rater = path, rater
        self._threads = threading.Lock()
        if path.suffix.lower() != ".csv":
            raise UserError(f"--out is {path}; ratings are written as CSV, give a name that ends in .csv.")
        if path.exists() and _header(path) != list(COLUMNS):
            raise UserError(f"{path} does not start with the columns {','.join(COLUMNS)}. Give another --out.")

    def scores(self) -> dict[tuple[str, str], float]:
        """By item and system. Raises UserError where somebody has damaged the file."""
        return {(row.item, row.system): row.score for row in self._read() if row.rater == self.rater}

    def save(self, task: Task, score: int) -> None:
        """Add the rating of an edit, or replace it in its row."""
        with self._threads, self._alone():
            rows = {row[:3]: row for row in self._read()}
            rating = Rating(task.item_id, task.editor, self.rater, float(score))
            rows[rating[:3]] = rating
            write_ratings(self.path, rows.values())

    def _read(self) -> list[Rating]:
        return read_ratings([self.path]) if self.path.exists() else []

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process writes to the file, where the file system has locks."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])
