"""A later turn of a chain: it edits the edit of the turn before, which the same lane has made."""

from pathlib import Path

from PIL.Image import Image

from editlane.core.errors import EditFailed, SourceUnreadable
from editlane.core.types import Item, Row
from editlane.images.recorded import open_recorded

FORMER_TURN = "former_turn"
"""The kind of a turn that was not edited, because the turn before has no edit."""


def make_former_error(item: Item, former: Row | None) -> EditFailed:
    """Return the error of a turn whose former turn, of this row, has no edit. None: that turn is no item."""
    if former is not None and former["error_kind"] == FORMER_TURN:  # which names the first turn without an edit
        return EditFailed(former["error"], kind=FORMER_TURN)
    why = "the dataset has that of the last turn only" if former is None else former["error"]
    return EditFailed(f"turn {len(item.turns) - 1} has no edit: {why}", kind=FORMER_TURN)


def open_former(run_dir: Path, item: Item, former: Row | None) -> Image:
    """Open the edit of the turn before, RGB. `former`: its row.

    Raises EditFailed of the kind `former_turn` if it has none, and of `missing` or `changed` if its file is not what
    was recorded any more.
    """
    if former is None or former["edited_sha256"] is None:
        raise make_former_error(item, former)
    try:
        return open_recorded(run_dir, former["edited_path"], former["edited_sha256"])
    except SourceUnreadable as error:
        raise EditFailed(f"the edit of turn {len(item.turns) - 1} cannot be used: {error}", kind=error.kind) from error
