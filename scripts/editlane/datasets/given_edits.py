"""Edits that were made elsewhere, found in a folder by their names (`dataset: edited_dir:`)."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from editlane.core.errors import UserError

SUFFIXES = frozenset({".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Other files in the folder are not looked at."""

_SHOWN = 3


class EditedFolder:
    """The images below a folder, by their path without suffix."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError where there is no such folder."""
        if not folder.is_dir():
            raise UserError(f"dataset.edited_dir is {folder}, which is not a folder.")
        self._folder = folder
        self._files: defaultdict[str, list[Path]] = defaultdict(list)
        self._owners: dict[Path, str] = {}
        self._looked_for: list[str] = []
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                self._files[_nfc(path.relative_to(folder).with_suffix("").as_posix())].append(path)

    def find(self, names: Iterable[str], where: str) -> Path | None:
        """The one file that has one of the names; `where` is the record that asks, once or again.

        Raises UserError where there are two files, or where another record has this file already.
        """
        wanted = list(dict.fromkeys(map(_nfc, names)))
        found = [path for name in wanted for path in self._files.get(name, ())]
        if len(self._looked_for) < _SHOWN:
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
        """Raises UserError where no record has an edit in the folder."""
        if not self._owners:
            there = ", ".join(sorted(self._files)[:_SHOWN]) or "no image"
            raise UserError(
                f"dataset.edited_dir: {self._folder} has no edit of any item. Looked for: "
                f"{', '.join(self._looked_for)}; there is: {there} (suffixes left out)."
            )


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
