"""Save one rater's ratings to a CSV file that may also hold those of others."""

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
    """The ratings of one rater. `save` returns after the rating is on the disk. The file never has two of one edit.

    Each save rewrites the whole file atomically, under a lock in a hidden file beside it, so that two people can rate
    into the same file at once.
    """

    def __init__(self, path: Path, rater: str) -> None:
        """Open the file. Raises UserError if it exists and has other columns."""
        self.path, self.rater = path, rater
        self._threads = threading.Lock()
        if path.suffix.lower() != ".csv":
            raise UserError(f"--out is {path}; ratings are written as CSV, so give a name that ends in .csv.")
        if path.exists() and _read_header(path) != list(COLUMNS):
            raise UserError(f"{path} does not start with the columns {','.join(COLUMNS)}. Give another --out.")

    def read_scores(self) -> dict[tuple[str, str], float]:
        """Read this rater's scores by (item, system). Raises UserError if the file is damaged."""
        return {(row.item, row.system): row.score for row in self._read() if row.rater == self.rater}

    def save(self, task: Task, score: int) -> None:
        """Add the rating of an edit, or replace it in its row."""
        with self._threads, self._lock():
            rows = {row[:3]: row for row in self._read()}
            rating = Rating(task.item_id, task.editor, self.rater, float(score))
            rows[rating[:3]] = rating
            write_ratings(self.path, rows.values())

    def _read(self) -> list[Rating]:
        return read_ratings([self.path]) if self.path.exists() else []

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes from writing to the file, if the file system supports locks."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
            yield


def _read_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])
