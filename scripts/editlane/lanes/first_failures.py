"""Notice a cause that hits every item at the beginning of a lane, instead of thousands of failed rows at its end."""

import re
from collections.abc import Collection

from editlane.core.errors import PassingError, UserError
from editlane.core.types import Row
from editlane.lanes.turns import FORMER_TURN

FIRST = 8
"""Items at the beginning of a lane that may all fail for the same reason."""

SHARED_KINDS = frozenset({"model", "transport", "cut"})
"""Kinds of failures whose cause may lie outside of the items: in the model, the device, a server, or the length that a
reply may have. Photos that are too
large for the device fail with oom or timeout, and may well come first: a lane must get past them."""


class FirstFailures:
    """The failures of a lane in which nothing has succeeded yet."""

    def __init__(self, kept: Collection[Row]) -> None:
        """Take the rows that earlier processes of the lane have finished."""
        self._reasons: set[str] = set()
        self._count = 0
        self._is_over = any(row["error_kind"] is None for row in kept)

    def add(self, rows: Collection[Row]) -> None:
        """Take the next rows. Raises UserError once the first FIRST that were tried all failed with the same words;
        PassingError if a server did not answer, because it may come back.

        A turn without an edit to begin with was not tried.
        """
        rows = [row for row in rows if row["error_kind"] != FORMER_TURN]
        if self._is_over or not rows:
            return
        self._count += len(rows)
        self._reasons |= {_get_shared_reason(row) for row in rows}
        self._is_over = len(self._reasons) > 1 or "" in self._reasons
        if not self._is_over and self._count >= FIRST:
            self._is_over = True  # the next rows may be saved before this error is seen, and would say more than FIRST
            last = rows[0]
            error = (
                f"the first {self._count} items that were tried all failed for the same reason, so the others would, "
                f"too: {last['error']}. Remove the cause and run the same command again; nothing is computed twice."
            )
            raise PassingError(error) if last["error_kind"] == "transport" else UserError(error)


def _get_shared_reason(row: Row) -> str:
    """Return why an item failed, without addresses; nothing if the cause is its own, or if it succeeded.

    Other numbers stay: they are sizes of the item, as in "input of 9000x7000 is too large".
    """
    if row["error_kind"] not in SHARED_KINDS:
        return ""
    return re.sub(r"0x[0-9a-fA-F]+", "", f"{row['error_kind']}: {row['error']}")
