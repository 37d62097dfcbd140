"""End a lane whose budget of requests is spent, after all that was answered is saved."""

from collections.abc import Collection

from editlane.core.errors import UserError
from editlane.core.types import Row

SPENT = "budget"
"""Kind of an item that was not asked about, because no request was left."""


def check_budget(rows: Collection[Row]) -> None:
    """Raise UserError if one of these rows is of an item for which no request was left."""
    spent = next((row for row in rows if row["error_kind"] == SPENT), None)
    if spent is not None:
        raise UserError(
            f"{spent['error']}. Finished items are kept, and the others are still to be done: run the same command "
            "again to spend as many requests once more, or raise `max_requests` in `params`."
        )
