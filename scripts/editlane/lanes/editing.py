"""Edit the items of a lane with one editor."""

import hashlib
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from PIL.Image import Image

from editlane.core import tables
from editlane.core.errors import CRASHED, EditFailed, ItemError, OutOfMemory, UserError, one_line
from editlane.core.paths import EDIT, LaneId, RunPaths
from editlane.core.schemas import EDIT_COLUMNS
from editlane.core.types import EDITED, ON_SERVER, Edit, Editor, EditRequest, Item, Row, RunsOn
from editlane.images.files import file_sha256, save_png, write_atomically
from editlane.images.recorded import open_recorded, open_references
from editlane.images.unchanged import RULE, is_unchanged
from editlane.lanes.identity import describe, identify, shorten_key
from editlane.lanes.journal import content_key
from editlane.lanes.served_model import open_server
from editlane.lanes.turns import edit_in_turns
from editlane.models.devices import device_label
from editlane.models.registry import find_adapter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditorSpec:
    """One editor of a run: the settings that its edits depend on, the same in every lane."""

    editor: str
    identity: dict[str, Any]
    editor_key: str
    run_dir: Path
    seed: int
    own_edits: bool = False
    """True if its params name a folder of edits, which prepare_items has searched."""

    @classmethod
    def of(cls, run_dir: Path, editor: str, seed: int, options: dict[str, Any]) -> Self:
        """Return the spec of an editor from its adapter, model, revision and params. Raises UserError."""
        parts = identify("editor", **options)
        own_edits = find_adapter("editor", options["adapter"]).PARAMS.find_edits_folder(options["params"]) is not None
        key = shorten_key(parts)
        return cls(editor=editor, identity=parts, editor_key=key, run_dir=run_dir, seed=seed, own_edits=own_edits)

    def describe(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the provenance of its edits, by the editor's name."""
        return {self.editor: describe(self.identity, **options) | {"key": self.editor_key, "seed": self.seed}}

    def give_edits(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items with the edits in this editor's own folder, or as they are if it has none.

        Raises UserError if the run's table of such edits lacks an item.
        """
        if not self.own_edits:
            return items
        path = RunPaths(self.run_dir).given
        rows = tables.read_given(path, self.editor)
        if lacking := [item.item_id for item in items if item.item_id not in rows]:
            raise UserError(
                f"{path} does not know the item {lacking[0]} of the editor {self.editor}, so it is not of this run's "
                "items. Delete it and run the same command again."
            )
        own = ((item, rows[item.item_id]) for item in items)
        return [replace(item, given_path=row["given_path"], given_sha256=row["given_sha256"]) for item, row in own]

    def give_edits_if_prepared(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the same, but no items if they were prepared before this editor got its folder."""
        try:
            return self.give_edits(items)
        except UserError:
            return []

    def item_seed(self, item: Item) -> int:
        """Return the seed of an item, 0 .. 2**32 - 1: from its id and the run's seed, never from its position."""
        digest = hashlib.sha256(f"{self.seed}\n{item.item_id}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def key(self, item: Item) -> str:
        """Return the journal key of this item's edit."""
        return content_key(
            editor=self.identity,
            source=item.source_sha256,
            given=item.given_sha256,
            instruction=item.instruction,
            seed=self.item_seed(item),
            **({"references": [one.sha256 for one in item.references]} if item.references else {}),
            **({"turns": item.turns} if item.turns else {}),
        )

    def image_path(self, item: Item) -> str:
        """Return where the edit of this item is kept, relative to the run's folder."""
        return RunPaths(self.run_dir).image(self.editor, item.category, item.item_id)

    def make_common_columns(self, item: Item) -> Row:
        """Return the columns that every edit of this item has."""
        return {"editor": self.editor, "editor_key": self.editor_key, "seed": self.item_seed(item)}

    def make_failed_columns(self, item: Item, error: ItemError) -> Row:
        """Return the columns of an item without an edit."""
        reason = {"state": str(error.state), "error_kind": error.kind, "error": one_line(error)}
        return dict.fromkeys(EDIT_COLUMNS) | self.make_common_columns(item) | reason

    def find_kept(self, item: Item, finished: Mapping[str, Row]) -> Row | None:
        """Return the finished row of this item if the journal has one and its image has not changed since."""
        row = finished.get(self.key(item))
        if row is None or row["edited_sha256"] is None:
            return row
        wanted, recorded = self.run_dir / self.image_path(item), self.run_dir / row["edited_path"]
        if not _has_sha256(wanted, row["edited_sha256"]):
            if not _has_sha256(recorded, row["edited_sha256"]):
                return None
            write_atomically(wanted, recorded.read_bytes())
        return self._renew_comparison(item, row | {"edited_path": self.image_path(item)})

    def _renew_comparison(self, item: Item, row: Row) -> Row:
        """Compare an edit anew if an older rule called it unchanged. What that called changed stays so; see RULE.

        The row stays as it is, without the number of today's rule, if an image cannot be read.
        """
        if not row["unchanged"] or row.get("unchanged_rule") == RULE:
            return row
        try:
            source = open_recorded(self.run_dir, item.source_path, item.source_sha256)
            edited = open_recorded(self.run_dir, row["edited_path"], row["edited_sha256"])
        except ItemError as error:
            log.warning("%s/%s cannot be compared anew: %s", item.category, item.item_id, one_line(error))
            return row
        return row | _compare(item, source, edited)


def _has_sha256(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The outcome of an editor's work on one item."""

    outcome: Edit | ItemError
    source: Image | None
    """None if it cannot be read."""
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
        self._keys = {item.item_id: spec.key(item) for item in items}
        self._build_editor = build_editor
        self._check = check
        self._editor: Editor
        self._on_request: Callable[[], None] = lambda: None
        self._on_image: Callable[[], None] = lambda: None
        self._device = ""

    def find_kept(self, finished: Mapping[str, Row]) -> dict[str, Row]:
        """Return the finished rows whose images are still what was recorded."""
        found = {key: self.spec.find_kept(item, finished) for key, item in self.wanted.items()}
        return {key: row for key, row in found.items() if row is not None}

    def get_editor_key(self, missing: Collection[str]) -> str | None:
        """Return the key of the editor's settings."""
        return self.spec.editor_key

    def count_items(self, key: str) -> int:
        """Return 1, because an item's id is part of its key."""
        return 1

    def make_crash_row(self, key: str) -> Row:
        """Return the row of an item on which one process after another died."""
        return self.spec.make_failed_columns(self.wanted[key], EditFailed(CRASHED, kind="crash"))

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
        """Return the missing items."""
        return [self.wanted[key] for key in missing]

    def get_keys(self, item: Item) -> Sequence[str]:
        """Return the journal key of an item."""
        return (self._keys[item.item_id],)

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
        if isinstance(images, ItemError):
            return Attempt(outcome=images, source=None)
        outcome = self._edit(item, images, on_step, tiled_vae=False)
        if not isinstance(outcome, OutOfMemory):
            return Attempt(outcome=outcome, source=images[0])
        log.warning("%s/%s out of memory; trying once more with a tiled VAE", item.category, item.item_id)
        outcome = self._edit(item, images, on_step, tiled_vae=True)
        return Attempt(outcome=outcome, source=images[0], tiled_vae=True)

    def _edit(
        self, item: Item, images: Sequence[Image], on_step: Callable[[int, int], None], *, tiled_vae: bool
    ) -> Edit | ItemError:
        request = EditRequest(
            item=item,
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
            return edit_in_turns(self._editor, request) if item.turns else self._editor.edit(request)
        except ItemError as error:
            return error

    def save(self, item: Item, attempt: Attempt, seconds: float) -> dict[str, Row]:
        """Encode, hash and save the edit, and return its row."""
        if isinstance(attempt.outcome, ItemError):
            row = self.spec.make_failed_columns(item, attempt.outcome)
        else:
            row = self.spec.make_common_columns(item) | self._edited_columns(item, attempt.source, attempt.outcome)
        row |= {"tiled_vae": attempt.tiled_vae, "edit_seconds": round(seconds, 3), "edit_device": self._device}
        reason = f" ({row['error_kind']}: {row['error']})" if row["error"] else ""
        log.info("%s/%s %s %.2f s%s", item.category, item.item_id, row["state"], seconds, reason)
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
            **_compare(item, source, edit.image),
            "prompt_truncated": edit.prompt_truncated,
            "seed_used": edit.seed_used,
            "fields_ignored": edit.fields_ignored,
            "requested_width": requested[0],
            "requested_height": requested[1],
            "edited_width": edit.image.width,
            "edited_height": edit.image.height,
        }


def _compare(item: Item, source: Image | None, edited: Image) -> Row:
    """Return the columns about the comparison. Two that cannot be compared are no reason to lose an edit."""
    unchanged = None
    if source is not None:
        try:
            unchanged = is_unchanged(source, edited)
        except ValueError as error:
            log.warning("%s/%s cannot be compared with its source: %s", item.category, item.item_id, one_line(error))
    return {"unchanged": unchanged, "unchanged_rule": RULE}
