"""Find existing edits in a folder by their names (`dataset: edited_dir:`)."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from editlane.core.errors import UserError

SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Other files in the folder are ignored."""

_LISTED = 3


class EditedFolder:
    """The images below a folder, by their path without suffix."""

    def __init__(self, folder: Path) -> None:
        """Index the folder. Raises UserError if it does not exist."""
        if not folder.is_dir():
            raise UserError(f"dataset.edited_dir is {folder}, which is not a folder.")
        self._folder = folder
        self._files: defaultdict[str, list[Path]] = defaultdict(list)
        self._owners: dict[Path, str] = {}
        self._looked_for: list[str] = []
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                self._files[_normalise(path.relative_to(folder).with_suffix("").as_posix())].append(path)

    def find(self, names: Iterable[str], where: str) -> Path | None:
        """Find the file with one of the names, for the record at `where`. A record may call this again.

        Raises UserError if two files match, or if the file already belongs to another record.
        """
        wanted = list(dict.fromkeys(map(_normalise, names)))
        found = [path for name in wanted for path in self._files.get(name, ())]
        if len(self._looked_for) < _LISTED:
            self._looked_for.append(wanted[0])
        if not found:
            return None
        if len(found) > 1:
            shown = " and ".join(str(path.relative_to(self._folder)) for path in found[:2])
            raise UserError(f"dataset.edited_dir: {shown} are both edits of {where}. Remove one of them.")
        owner = self._owners.setdefault(found[0], where)
        if owner != where:
            raise UserError(
                f"dataset.edited_dir: {found[0].relative_to(self._folder)} would be the edit of two items: {owner}, "
                f"and {where}. Put the edits into a folder for each category, or give each record its own item_id."
            )
        return found[0]

    def check_used(self) -> None:
        """Raise UserError if no record has an edit in the folder."""
        if not self._owners:
            there = ", ".join(sorted(self._files)[:_LISTED]) or "no image"
            raise UserError(
                f"dataset.edited_dir: {self._folder} has no edit of any item. Looked for: "
                f"{', '.join(self._looked_for)}; the folder has: {there} (names without suffix)."
            )


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFC", text)
