"""Use the journals of several editors as one."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from editlane.core.types import Row
from editlane.lanes.journal import Finished, Journal

MOST_AT_ONCE = 8
"""Journals that are written at the same time, at most."""


class JournalSet:
    """A judge's journals about the edits of several editors, open for one writer.

    Two editors may make the same edit of an item. Its score is then in both journals, so that each journal is complete
    without the other.
    """

    def __init__(self, wanted: Mapping[Path, Set[str]], writer: str, check: Callable[[], None] = lambda: None) -> None:
        """Open the journals in the folders of `wanted`, which has the keys wanted from each; see Journal."""
        with ExitStack() as stack:
            self._journals = [
                (stack.enter_context(Journal(folder, writer, keys, check)), keys) for folder, keys in wanted.items()
            ]
            self._threads = stack.enter_context(ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="journals"))
            self._open = stack.pop_all()
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
        self._record(
            [
                {key: rows[key] for key in (keys & rows.keys()) - one.finished.rows.keys()}
                for one, keys in self._journals
            ]
        )

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
        self._record([{key: row for key, row in rows.items() if key in wanted} for _, wanted in self._journals])

    def take_back(self, keys: Iterable[str]) -> None:
        """Take back that work on these items began; see Journal."""
        left = list(keys)
        for journal, _ in self._journals:
            journal.take_back(left)

    def _record(self, parts: Sequence[Mapping[str, Row]]) -> None:
        """Record the rows of each journal, at the same time, because each record waits for the disk."""
        pairs = [(journal, rows) for (journal, _), rows in zip(self._journals, parts, strict=True) if rows]
        list(self._threads.map(lambda pair: pair[0].finish(pair[1]), pairs))  # list() raises what a thread raised

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
