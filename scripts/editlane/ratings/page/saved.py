"""Save one rater's ratings to a CSV file that may also hold those of others."""

import csv
import errno
import fcntl
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from editlane.core.errors import UserError
from editlane.core.locks import open_lock
from editlane.ratings.page.tasks import Task
from editlane.ratings.tables import COLUMNS, SUBJECT_COLUMNS, Rating, read_ratings, write_ratings

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
        check_columns(path, COLUMNS, SUBJECT_COLUMNS)

    def find_scores(self, tasks: Sequence[Task]) -> list[float | None]:
        """Return this rater's score of each task; None if there is none of this edit.

        A rating of an older version, which does not tell its edit, counts for the edit of its name. Raises UserError
        if the file is damaged.
        """
        own = self._find_own()
        found = ((task, own.get((task.item_id, task.editor), ())) for task in tasks)
        return [next((row.score for row in rows if _is_of(row, task)), None) for task, rows in found]

    def find_outdated(self, tasks: Sequence[Task]) -> list[Rating]:
        """List this rater's ratings of another edit, source or instruction than the task of their name has now."""
        own = self._find_own()
        found = ((task, own.get((task.item_id, task.editor), ())) for task in tasks)
        return [row for task, rows in found for row in rows if not _is_of(row, task)]

    def count_unmarked(self) -> int:
        """Count this rater's ratings that do not tell what they are of."""
        return sum(row.subject is None for rows in self._find_own().values() for row in rows)

    def save(self, task: Task, score: int) -> None:
        """Add the rating of an edit, or replace it in its row. Ratings of earlier edits of that name stay."""
        rating = Rating(task.item_id, task.editor, self.rater, float(score), task.subject)
        with self._threads, lock_file(self.path):
            rows = self._read()
            same = [place for place, row in enumerate(rows) if row[:3] == rating[:3] and _is_of(row, task)]
            place = same[0] if same else len(rows)
            rows[place : place + 1] = [rating]
            write_ratings(self.path, rows)

    def _find_own(self) -> dict[tuple[str, str], list[Rating]]:
        own = defaultdict(list)
        for row in self._read():
            if row.rater == self.rater:
                own[row.item, row.system].append(row)
        return own

    def _read(self) -> list[Rating]:
        return read_ratings([self.path]) if self.path.exists() else []


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Keep other processes from writing to the file, if the file system supports locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with os.fdopen(open_lock(str(lock), otherwise="give another --out", mode=None), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


def _is_of(rating: Rating, task: Task) -> bool:
    return rating.subject in (None, task.subject)


def check_columns(path: Path, columns: Sequence[str], optional: Sequence[str]) -> None:
    """Raise UserError unless the file is a CSV file that can be written: a new one, or one with just these columns."""
    if path.suffix.lower() != ".csv":
        raise UserError(f"--out is {path}; ratings are written as CSV, so give a name that ends in .csv.")
    if path.exists() and _read_header(path) not in ([*columns, *optional], [*columns]):
        raise UserError(f"{path} does not start with the columns {','.join(columns)}. Give another --out.")


def _read_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file), [])
