"""Use the journals of several editors as one."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from editlane.core.types import Row
from editlane.lanes.journal import Finished, Journal


class JournalSet:
    """A judge's journals about the edits of several editors, open for one writer.

    Two editors may make the same edit of an item. Its score is then in both journals, so that each journal is complete
    without the other.
    """

    def __init__(self, wanted: Mapping[Path, Set[str]], writer: str, check: Callable[[], None] = lambda: None) -> None:
        """Open the journals in the folders of `wanted`, which has the keys wanted from each; see Journal."""
        self._open = ExitStack()
        self._journals = [
            (self._open.enter_context(Journal(folder, writer, keys, check)), keys) for folder, keys in wanted.items()
        ]
        rows: dict[str, Row] = {}
        deaths: Counter[str] = Counter()
        for journal, _ in self._journals:
            rows |= journal.finished.rows
            deaths += journal.finished.deaths
        for key in rows:
            del deaths[key]
        self.finished = Finished(rows=rows, deaths=deaths)
        self.kept = {folder: one.finished.rows for folder, (one, _) in zip(wanted, self._journals, strict=True)}
        """The finished rows of each journal alone. Two journals may hold different rows of a key, from a judge whose
        replies or rounding vary."""
        for journal, keys in self._journals:
            _record(journal, {key: rows[key] for key in keys - journal.finished.rows.keys() if key in rows})

    def begin(self, keys: Sequence[str]) -> None:
        """Record that work on these items begins, each in the first journal that wants it."""
        left = set(keys)
        for journal, wanted in self._journals:
            mine = [key for key in keys if key in left and key in wanted]
            left.difference_update(mine)
            if mine:
                journal.begin(mine)

    def finish(self, rows: Mapping[str, Row]) -> None:
        """Record finished items in every journal that wants them."""
        for journal, wanted in self._journals:
            _record(journal, {key: row for key, row in rows.items() if key in wanted})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def _record(journal: Journal, rows: Mapping[str, Row]) -> None:
    """Record these rows, if there are any, because each record waits for the disk."""
    if rows:
        journal.finish(rows)
