"""Edit the items of a lane with one editor."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL.Image import Image

from editlane.core.errors import CRASHED, EditFailed, ItemError, OutOfMemory
from editlane.core.paths import EDIT, LaneId, RunPaths
from editlane.core.types import EDITED, ON_SERVER, Edit, Editor, EditRequest, Item, Row, RunsOn
from editlane.images.files import save_png
from editlane.images.recorded import open_recorded, open_references
from editlane.lanes.editor_spec import EditorSpec, compare_with_source
from editlane.lanes.served_model import open_server
from editlane.lanes.turns import open_former
from editlane.models.devices import device_label

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The outcome of an editor's work on one item."""

    outcome: Edit | ItemError
    source: Image | None
    """What was edited: the source, or the edit of the turn before. None if there is none."""
    former_sha256: str | None
    """The edit of the turn before."""
    tiled_vae: bool = False


class EditWork:
    """Edit items one at a time, or several at once where a server has the model; see `runner.Work`."""

    ahead = 2
    at_once = 1
    warms_up = True

    def __init__(
        self,
        spec: EditorSpec,
        lane: int,
        items: Sequence[Item],
        build_editor: Callable[[], Editor],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the items of a lane. `check` raises Stopped if the lane is to stop; waits for a server call it."""
        self.spec, self.paths = spec, RunPaths(spec.run_dir)
        self.lane = LaneId(EDIT, spec.editor, None, lane)
        self.judge_key: str | None = None
        self.wanted = {spec.key(item): item for item in items}
        self._items = {item.item_id: item for item in items}
        self._keys = {item.item_id: spec.key(item) for item in items}
        self._rows: dict[str, Row] = {}  # by item id, for the turn after it
        self._build_editor = build_editor
        self._check = check
        self._editor: Editor
        self._on_request: Callable[[], None] = lambda: None
        self._on_image: Callable[[], None] = lambda: None
        self._device = ""

    def find_kept(self, finished: Mapping[str, Row]) -> dict[str, Row]:
        """Return the finished rows whose images are still what was recorded."""
        self._rows = self.spec.find_all_kept(self.wanted.values(), finished)
        return {key: self._rows[item.item_id] for key, item in self.wanted.items() if item.item_id in self._rows}

    def get_editor_key(self, missing: Collection[str]) -> str | None:
        """Return the key of the editor's settings."""
        return self.spec.editor_key

    def count_items(self, key: str) -> int:
        """Return 1, because an item's id is part of its key."""
        return 1

    def make_crash_row(self, key: str) -> Row:
        """Return the row of an item on which one process after another died."""
        item = self.wanted[key]
        self._rows[item.item_id] = self.spec.make_failed_columns(item, EditFailed(CRASHED, kind="crash"))
        return self._rows[item.item_id]

    def load_model(self) -> str:
        """Load the editor and return its device."""
        self._editor = self._build_editor()
        self._device = device = device_label(self._editor)
        if self._editor.RUNS_ON == RunsOn.SERVER:
            self._open_server(self._editor)
        return device

    def _open_server(self, editor: Any) -> None:
        """Count the requests to the editor's server, and ask it about several items at once from now on."""
        count = open_server(editor, self.paths, self.lane, self.spec.editor_key, self._check)
        self._on_request, self._on_image = count.begin, count.count_image
        self._device = ON_SERVER
        self.at_once, self.warms_up = editor.params.concurrency, False  # it has made test edits
        self.ahead = max(1, self.at_once - 1)

    def cut_units(self, missing: Collection[str], deaths: Mapping[str, int]) -> list[Item]:
        """Return the missing items: all first turns, then all second ones, so that few wait for the turn before."""
        return sorted((self.wanted[key] for key in missing), key=lambda item: item.turn)

    def get_keys(self, item: Item) -> Sequence[str]:
        """Return the journal key of an item."""
        return (self._keys[item.item_id],)

    def list_needed(self, item: Item) -> Sequence[str]:
        """Return the journal keys of all turns before this one, the latest first."""
        needed = []
        while item.after is not None:
            item = self._items[item.after]
            needed.append(self._keys[item.item_id])
        return needed

    def get_name(self, item: Item) -> tuple[str, str]:
        """Return the item's id and its category."""
        return item.item_id, item.category

    def read(self, item: Item) -> list[Image] | ItemError:
        """Decode the source of an item and its further images."""
        try:
            source = open_recorded(self.spec.run_dir, item.source_path, item.source_sha256)
            return [source, *open_references(self.spec.run_dir, item.references)]
        except ItemError as error:
            return error

    def compute(self, item: Item, images: list[Image] | ItemError, on_step: Callable[[int, int], None]) -> Attempt:
        """Edit one item. After running out of memory it is tried once more, with a tiled VAE."""
        former = self._rows[item.after] if item.after is not None else None
        former_sha256 = former["edited_sha256"] if former else None
        if isinstance(images, ItemError):
            return Attempt(outcome=images, source=None, former_sha256=former_sha256)
        source = self._find_source(item, images[0], former)
        if isinstance(source, EditFailed) and not self.spec.made_elsewhere:
            return Attempt(outcome=source, source=None, former_sha256=former_sha256)
        shown = None if isinstance(source, EditFailed) else source
        given = [images[0] if shown is None else shown, *images[1:]]
        outcome, tiled_vae = self._edit(item, given, on_step, tiled_vae=False), False
        if isinstance(outcome, OutOfMemory):
            log.warning("%s/%s out of memory; trying once more with a tiled VAE", item.category, item.item_id)
            outcome, tiled_vae = self._edit(item, given, on_step, tiled_vae=True), True
        return Attempt(outcome=outcome, source=shown, former_sha256=former_sha256, tiled_vae=tiled_vae)

    def _find_source(self, item: Item, photo: Image, former: Row | None) -> Image | EditFailed:
        """Return what is edited: the photo, or the edit of the turn before. `former`: the row of that turn."""
        if item.after is None and (self.spec.made_elsewhere or not item.turns):
            return photo
        try:
            return open_former(self.spec.run_dir, item, former)
        except EditFailed as error:
            return error

    def _edit(
        self, item: Item, images: Sequence[Image], on_step: Callable[[int, int], None], *, tiled_vae: bool
    ) -> Edit | ItemError:
        request = EditRequest(
            item=replace(item, instruction=item.turns[-1]) if item.turns else item,
            source=images[0],
            references=tuple(images[1:]),
            given=self.spec.run_dir / item.given_path if item.given_path else None,
            seed=self.spec.item_seed(item),
            on_step=on_step,
            tiled_vae=tiled_vae,
            on_request=self._on_request,
            on_image=self._on_image,
        )
        try:
            return self._editor.edit(request)
        except ItemError as error:
            return error

    def save(self, item: Item, attempt: Attempt, seconds: float) -> dict[str, Row]:
        """Encode, hash and save the edit, and return its row."""
        if isinstance(attempt.outcome, ItemError):
            row = self.spec.make_failed_columns(item, attempt.outcome)
        else:
            row = self.spec.make_common_columns(item) | self._edited_columns(item, attempt.source, attempt.outcome)
        row |= {"former_sha256": attempt.former_sha256, "tiled_vae": attempt.tiled_vae}
        row |= {"edit_seconds": round(seconds, 3), "edit_device": self._device}
        reason = f" ({row['error_kind']}: {row['error']})" if row["error"] else ""
        log.info("%s/%s %s %.2f s%s", item.category, item.item_id, row["state"], seconds, reason)
        self._rows[item.item_id] = row
        return {self._keys[item.item_id]: row}

    def _edited_columns(self, item: Item, source: Image | None, edit: Edit) -> Row:
        path = self.spec.image_path(item)
        requested = edit.requested_size or (None, None)
        return {
            "state": EDITED,
            "error_kind": None,
            "error": None,
            "edited_path": path,
            "edited_sha256": save_png(edit.image, self.spec.run_dir / path),
            **compare_with_source(item, source, edit.image),
            "prompt_truncated": edit.prompt_truncated,
            "seed_used": edit.seed_used,
            "fields_ignored": edit.fields_ignored,
            "requested_width": requested[0],
            "requested_height": requested[1],
            "edited_width": edit.image.width,
            "edited_height": edit.image.height,
        }
