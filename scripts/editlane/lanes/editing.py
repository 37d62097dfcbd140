"""Carry out the instructions of a lane with one editor.

Three things happen at once: the next source is decoded (reader thread), the model works on this one, and the last edit
is encoded, hashed, saved and recorded (writer thread).
"""

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from editlane.core.errors import ItemError, OutOfMemory, one_line
from editlane.core.schemas import EDIT_FIELDS
from editlane.core.types import EDITED, Edit, Editor, EditRequest, Item, Row
from editlane.images.files import file_sha256, save_png, write_atomically
from editlane.images.recorded import open_recorded
from editlane.images.unchanged import is_unchanged
from editlane.lanes.heartbeat import Heartbeat
from editlane.lanes.journal import content_key
from editlane.lanes.prefetch import prefetched

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditLane:
    """What is the same for all items of one editor in one lane."""

    editor: str
    identity: dict[str, Any]
    editor_key: str
    run_dir: Path
    seed: int

    def item_seed(self, item: Item) -> int:
        """0 .. 2**32 - 1, from the item's identity and the run's seed, never from its position."""
        digest = hashlib.sha256(f"{self.seed}\n{item.item_id}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def key(self, item: Item) -> str:
        """The journal key of this item's edit."""
        return content_key(
            editor=self.identity,
            source=item.source_sha256,
            given=item.given_sha256,
            instruction=item.instruction,
            seed=self.item_seed(item),
        )

    def open_source(self, item: Item) -> Image:
        """The source of this item. Raises SourceUnreadable."""
        return open_recorded(self.run_dir, item.source_path, item.source_sha256)

    def image_path(self, item: Item) -> str:
        """Where the edit of this item lies, relative to the run's folder."""
        return f"{self.editor}/images/{item.category}/{item.item_id}.png"

    def common(self, item: Item) -> Row:
        """The columns that every edit of this item has."""
        return {"editor": self.editor, "editor_key": self.editor_key, "seed": self.item_seed(item)}

    def failed(self, item: Item, error: ItemError) -> Row:
        """The columns of an item without an edit."""
        empty = (field.name for field in EDIT_FIELDS)
        reason = {"state": str(error.state), "error_kind": error.kind, "error": one_line(error)}
        return dict.fromkeys(empty) | self.common(item) | reason

    def kept(self, item: Item, done: dict[str, Row]) -> Row | None:
        """The finished row of this item, if the journal has one and its image is still what was recorded."""
        row = done.get(self.key(item))
        if row is None or row["edited_sha256"] is None:
            return row
        wanted, recorded = self.run_dir / self.image_path(item), self.run_dir / row["edited_path"]
        if not _holds(wanted, row["edited_sha256"]):
            if not _holds(recorded, row["edited_sha256"]):
                return None
            write_atomically(wanted, recorded.read_bytes())
        return row | {"edited_path": self.image_path(item)}


def _holds(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How the model ended on one item: with an edit or with an error."""

    outcome: Edit | ItemError
    seconds: float
    tiled_vae: bool


def edit_items(
    lane: EditLane,
    editor: Editor,
    items: Sequence[Item],
    *,
    device: str,
    check: Callable[[], None],
    heartbeat: Heartbeat,
    begin: Callable[[Item], None],
    died: Callable[[Item], bool],
    finished: Callable[[Item, Row], None],
) -> None:
    """Edit every item. `begin(item)` is called before the model sees it, `finished(item, row)` from the writer thread
    once the image is on the disk.

    Before an item on which a process `died` all others are saved, so that another death is its own and nobody else's.
    `check` is asked before each item and may raise Stopped. Only errors that concern more than one item leave here.
    """
    saving: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer:
        for item, source in prefetched(lane.open_source, items):
            check()
            with heartbeat.waiting("output"):
                while saving and died(item):
                    saving.popleft().result()
            begin(item)
            heartbeat.begin(item.item_id, item.category, suspect=died(item))
            with heartbeat.waiting("input"):
                wait([source])
            attempt, image = attempt_edit(lane, editor, item, source, heartbeat.step)
            saving.append(writer.submit(_save, lane, item, image, attempt, device, finished))
            with heartbeat.waiting("output"):
                while len(saving) > 2:
                    saving.popleft().result()
        with heartbeat.waiting("output"):
            for save in saving:
                save.result()


def attempt_edit(
    lane: EditLane, editor: Editor, item: Item, source: "Future[Image]", on_step: Callable[[int, int], None]
) -> tuple[Attempt, Image | None]:
    """One item on the device: out of memory is tried once more with a tiled VAE; other errors end the item."""
    try:
        image = source.result()
    except ItemError as error:
        return Attempt(outcome=error, seconds=0.0, tiled_vae=False), None
    started = time.monotonic()
    outcome: Edit | ItemError
    for tiled in (False, True):
        request = EditRequest(
            item=item,
            source=image,
            given=lane.run_dir / item.given_path if item.given_path else None,
            seed=lane.item_seed(item),
            on_step=on_step,
            tiled_vae=tiled,
        )
        try:
            outcome = editor.edit(request)
            break
        except OutOfMemory as error:
            outcome = error
            log.warning("%s/%s out of memory%s", item.category, item.item_id, "" if tiled else "; once more, tiled VAE")
        except ItemError as error:
            outcome = error
            break
    return Attempt(outcome=outcome, seconds=time.monotonic() - started, tiled_vae=tiled), image


def _save(
    lane: EditLane,
    item: Item,
    source: Image | None,
    attempt: Attempt,
    device: str,
    finished: Callable[[Item, Row], None],
) -> None:
    if isinstance(attempt.outcome, ItemError):
        row = lane.failed(item, attempt.outcome)
    else:
        row = lane.common(item) | _edited_columns(lane, item, source, attempt.outcome)
    row |= {
        "tiled_vae": attempt.tiled_vae,
        "edit_seconds": round(attempt.seconds, 3),
        "edit_device": device,
    }
    log.info("%s/%s %s %.2f s%s", item.category, item.item_id, row["state"], attempt.seconds, _reason(row))
    finished(item, row)


def _edited_columns(lane: EditLane, item: Item, source: Image | None, edit: Edit) -> Row:
    path = lane.image_path(item)
    requested = edit.requested_size or (None, None)
    return {
        "state": EDITED,
        "error_kind": None,
        "error": None,
        "edited_path": path,
        "edited_sha256": save_png(edit.image, lane.run_dir / path),
        "unchanged": _unchanged(item, source, edit.image),
        "requested_width": requested[0],
        "requested_height": requested[1],
        "edited_width": edit.image.width,
        "edited_height": edit.image.height,
    }


def _unchanged(item: Item, source: Image | None, edited: Image) -> bool | None:
    """None where the two cannot be compared: no reason to lose an edit."""
    if source is None:
        return None
    try:
        return is_unchanged(source, edited)
    except ValueError as error:
        log.warning("%s/%s cannot be compared with its source: %s", item.category, item.item_id, one_line(error))
        return None


def _reason(row: Row) -> str:
    return f" ({row['error_kind']}: {row['error']})" if row["error"] else ""
