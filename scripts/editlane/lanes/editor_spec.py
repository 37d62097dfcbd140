"""The settings of an editor that its edits depend on, their keys, and what of its finished edits can be kept."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from PIL.Image import Image

from editlane.core import tables
from editlane.core.errors import ItemError, UserError, one_line
from editlane.core.paths import RunPaths
from editlane.core.schemas import EDIT_COLUMNS
from editlane.core.types import Item, Row, State
from editlane.images.files import file_sha256, write_atomically
from editlane.images.recorded import open_recorded
from editlane.images.unchanged import RULE, is_unchanged
from editlane.lanes.identity import describe, identify, shorten_key
from editlane.lanes.journal import content_key
from editlane.lanes.turns import make_former_error, open_former
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
    made_elsewhere: bool = False
    """True if it hands out files: a later turn then needs no edit of the turn before."""

    @classmethod
    def of(cls, run_dir: Path, editor: str, seed: int, options: dict[str, Any]) -> Self:
        """Return the spec of an editor from its adapter, model, revision and params. Raises UserError."""
        parts = identify("editor", **options)
        own_edits = find_adapter("editor", options["adapter"]).PARAMS.find_edits_folder(options["params"]) is not None
        return cls(
            editor=editor,
            identity=parts,
            editor_key=shorten_key(parts),
            run_dir=run_dir,
            seed=seed,
            own_edits=own_edits,
            made_elsewhere=options["adapter"] == "given",
        )

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

    def find_recorded(self, item: Item, finished: Mapping[str, Row], former: Row | None = None) -> Row | None:
        """Return the finished row of this item if the journal has one. `former`: that of the turn before; a row about
        another edit than that turn has now does not count."""
        row = finished.get(self.key(item))
        if row is not None and self._is_about_former(item, row, former):
            return row
        return self._fail_with_former(item, former)

    def _fail_with_former(self, item: Item, former: Row | None) -> Row | None:
        """Return the row of a turn that needs no try, because the turn before has failed for good; else None."""
        failed = former is not None and former["state"] in (State.EDIT_FAILED, State.EDIT_REFUSED)
        if self.made_elsewhere or not item.turns or not (failed or item.after is None):
            return None
        row = self.make_failed_columns(item, make_former_error(item, former))
        return row | {"tiled_vae": False, "edit_seconds": 0.0, "edit_device": former["edit_device"] if former else None}

    def _is_about_former(self, item: Item, row: Row, former: Row | None) -> bool:
        """Return whether a row is about what the turn before has now: this very edit, or none."""
        if item.after is None:
            return True
        return former is not None and bool(row.get("former_sha256") == former["edited_sha256"])

    def find_kept(self, item: Item, finished: Mapping[str, Row], former: Row | None = None) -> Row | None:
        """Return the same, but only if its image has not changed since."""
        row = self.find_recorded(item, finished, former)
        if row is None or row["edited_sha256"] is None:
            return row
        wanted, recorded = self.run_dir / self.image_path(item), self.run_dir / row["edited_path"]
        if not _has_sha256(wanted, row["edited_sha256"]):
            if not _has_sha256(recorded, row["edited_sha256"]):
                return None
            write_atomically(wanted, recorded.read_bytes())
        return self._renew_comparison(item, row | {"edited_path": self.image_path(item)}, former)

    def find_all_kept(self, items: Iterable[Item], finished: Mapping[str, Row]) -> dict[str, Row]:
        """Return the rows of `find_kept` by item id. `items`: with every turn those before it."""
        return self._find_in_order(items, lambda item, former: self.find_kept(item, finished, former))

    def find_all_recorded(self, items: Iterable[Item], finished: Mapping[str, Row]) -> dict[str, Row]:
        """Return the rows of `find_recorded` in the same way."""
        return self._find_in_order(items, lambda item, former: self.find_recorded(item, finished, former))

    def _find_in_order(self, items: Iterable[Item], find: Callable[[Item, Row | None], Row | None]) -> dict[str, Row]:
        """Return by item id the rows that `find` has for an item and the row of the turn before, first turns first.

        A file that is not given is in no journal, so a turn without one has an empty row here.
        """
        in_order = sorted(items, key=lambda item: item.turn)
        lacking = {item.item_id for item in in_order if self.made_elsewhere and item.given_path is None}
        nothing = dict.fromkeys(EDIT_COLUMNS)
        kept: dict[str, Row] = {}
        for item in in_order:
            former = None
            if item.after is not None:
                former = kept.get(item.after, nothing if item.after in lacking else None)
            if (row := find(item, former)) is not None:
                kept[item.item_id] = row
        return kept

    def _renew_comparison(self, item: Item, row: Row, former: Row | None) -> Row:
        """Compare an edit anew if an older rule called it unchanged. What that called changed stays so; see RULE.

        The row stays as it is, without the number of today's rule, if an image cannot be read.
        """
        if not row["unchanged"] or row.get("unchanged_rule") == RULE:
            return row
        try:
            if item.after is not None:
                source = open_former(self.run_dir, item, former)
            else:
                source = open_recorded(self.run_dir, item.source_path, item.source_sha256)
            edited = open_recorded(self.run_dir, row["edited_path"], row["edited_sha256"])
        except ItemError as error:
            log.warning("%s/%s cannot be compared anew: %s", item.category, item.item_id, one_line(error))
            return row
        return row | compare_with_source(item, source, edited)


def _has_sha256(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def compare_with_source(item: Item, source: Image | None, edited: Image) -> Row:
    """Return the columns about the comparison. Two that cannot be compared are no reason to lose an edit."""
    unchanged = None
    if source is not None:
        try:
            unchanged = is_unchanged(source, edited)
        except ValueError as error:
            log.warning("%s/%s cannot be compared with its source: %s", item.category, item.item_id, one_line(error))
    return {"unchanged": unchanged, "unchanged_rule": RULE}
