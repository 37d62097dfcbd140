"""Notice a cause that hits every item at the beginning of a lane, instead of thousands of failed rows at its end."""

import re
from collections.abc import Collection

from editlane.core.errors import TRANSIENT_KINDS, UserError
from editlane.core.types import Row

FIRST = 8
"""Items at the beginning of a lane that may all fail for the same reason."""

SHARED_KINDS = TRANSIENT_KINDS - {"missing", "changed", "crash"}
"""Kinds of failures whose cause may lie outside of the items: in the model, the device or a server."""


class FirstFailures:
    """The failures of a lane in which nothing has succeeded yet."""

    def __init__(self, kept: Collection[Row]) -> None:
        """Take the rows that earlier processes of the lane have finished."""
        self._reasons: set[str] = set()
        self._count = 0
        self._is_over = any(row["error_kind"] is None for row in kept)

    def add(self, rows: Collection[Row]) -> None:
        """Take the next rows. Raises UserError once the first FIRST items all failed with the same words."""
        if self._is_over:
            return
        self._count += len(rows)
        self._reasons |= {_strip_numbers(row) for row in rows}
        self._is_over = len(self._reasons) > 1 or "" in self._reasons
        if not self._is_over and self._count >= FIRST:
            reason = next(iter(rows))["error"]
            raise UserError(
                f"the first {self._count} items of this lane all failed for the same reason, so the others would, too: "
                f"{reason}. Remove the cause and run the same command again; nothing is computed twice."
            )


def _strip_numbers(row: Row) -> str:
    """Return why an item failed, without sizes and addresses; nothing if the cause is its own, or if it succeeded."""
    return re.sub(r"\d+", "", f"{row['error_kind']}: {row['error']}") if row["error_kind"] in SHARED_KINDS else ""
