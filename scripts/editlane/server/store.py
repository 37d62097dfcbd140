"""The scores that the server knows, in memory: its own of this start and of earlier ones, and those of runs."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from editlane.core.errors import TRANSIENT_KINDS, UserError
from editlane.core.paths import SCORE, RunEntry
from editlane.core.types import Row
from editlane.lanes.journal import read_journal
from editlane.server.segments import SegmentWriter

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict).decode


class ScoreStore:
    """Rows by their journal keys. The rows of runs stay; of the server's own, the oldest make room."""

    def __init__(self, folder: Path, max_bytes: int, runs: Iterable[Path], on_error: Callable[[], None]) -> None:
        """Read the server's journal in `folder` and those of `runs`. Raises UserError if a run has none.

        `on_error` is called, in another thread, when the disk does not take a score.
        """
        self._max_bytes, self._bytes = max_bytes, 0
        self._own: OrderedDict[str, bytes] = OrderedDict()
        self._lent = {key: row for run in runs for key, row in _read_run(run)}
        for key, row in read_journal(folder).rows.items():
            self._remember(key, _encode(row))
        self._writer = SegmentWriter(folder, max_bytes, on_error)

    def __len__(self) -> int:
        return len(self._own) + len(self._lent)

    def __contains__(self, key: str) -> bool:
        return key in self._own or key in self._lent

    def find(self, key: str) -> Row | None:
        """Return the row of this key, if it is known."""
        content = self._own.get(key) or self._lent.get(key)
        return None if content is None else _decode(content)

    def keep(self, key: str, row: Row) -> bool:
        """Keep a row if it is lasting. Return whether it is kept."""
        if not is_lasting(row):
            return False
        self._remember(key, _encode(row))
        self._writer.write(key, row)
        return True

    def list_rows(self) -> Iterable[Row]:
        """Return the server's own rows, the oldest first."""
        return map(_decode, self._own.values())

    def close(self) -> None:
        """Wait until all is on the disk, or the disk takes nothing."""
        self._writer.close()

    def _remember(self, key: str, content: bytes) -> None:
        self._bytes += len(content) - len(self._own.pop(key, b""))
        self._own[key] = content
        while self._bytes > self._max_bytes:
            _, oldest = self._own.popitem(last=False)
            self._bytes -= len(oldest)


def is_lasting(row: Row) -> bool:
    """Return whether the same edit would get this row again. What the limits refuse, another config may take."""
    return row["error_kind"] not in TRANSIENT_KINDS | {"decode", "too_large"}


def _read_run(run: Path) -> Iterable[tuple[str, bytes]]:
    journals = sorted((run / RunEntry.JOURNAL / SCORE).glob("*/*"))
    if not journals:
        raise UserError(f"{run} has no scores in its journal. Name results/<run> of a run that was judged.")
    for folder in journals:
        for key, row in read_journal(folder).rows.items():
            if is_lasting(row):
                yield key, _encode(row)
