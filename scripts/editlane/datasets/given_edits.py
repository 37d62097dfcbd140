"""Find existing edits in a folder by their names: those of the dataset (`edited_dir`), or of one editor (`dir`)."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath

from editlane.core.errors import UserError
from editlane.core.files import is_file
from editlane.core.text_width import agree, pluralize
from editlane.datasets.parsing import EarlierTurn, LeftOut, ParsedRecord
from editlane.images.decoding import SUFFIXES

_LISTED = 3
_DEEPEST = 8


class EditedFolder:
    """The images below a folder, by their path without suffix. Other files are ignored."""

    def __init__(self, folder: Path, setting: str = "dataset.edited_dir") -> None:
        """Index the folder, which `setting` of the config names. Raises UserError if it does not exist."""
        if not folder.is_dir():
            raise UserError(f"{setting} is {folder}, which is not a folder.")
        self._folder, self.setting = folder, setting
        self._files: defaultdict[str, list[Path]] = defaultdict(list)
        self._owners: dict[Path, str] = {}
        self._lacking: dict[str, str] = {}
        self._of_others: set[Path] = set()
        self._over_limit: set[Path] = set()
        self._closed: list[str] = []
        for path in sorted(self._walk(folder, ())):
            if _is_image(path) and is_file(path):
                self._files[_normalise(path.relative_to(folder).with_suffix("").as_posix())].append(path)

    def find(self, names: Iterable[str], where: str) -> Path | None:
        """Find the file with one of the names, for the item at `where`. An item may call this again.

        Raises UserError without a name, if two files match, or if the file already belongs to another item.
        """
        wanted = list(dict.fromkeys(map(_normalise, names)))
        if not wanted:
            raise UserError(
                f"{self.setting}: {where} has neither an item_id nor a file name, so its edit cannot be found. Give it "
                "an item_id."
            )
        found = self._match(wanted)
        if not found:
            self._lacking[where] = wanted[0]
            return None
        if len(found) > 1:
            shown = " and ".join(str(path.relative_to(self._folder)) for path in found[:2])
            raise UserError(f"{self.setting}: {shown} are both edits of {where}. Remove one of them.")
        owner = self._owners.setdefault(found[0], where)
        if owner != where:
            raise UserError(
                f"{self.setting}: {found[0].relative_to(self._folder)} would be the edit of two items: {owner}, "
                f"and {where}. Put the edits into a folder for each category, or give each record its own item_id."
            )
        return found[0]

    def find_for_other(self, names: Iterable[str], left_out: LeftOut) -> Path | None:
        """Find the file of a record that becomes no item, so that it does not count as a file of nobody."""
        found = self._match(list(dict.fromkeys(map(_normalise, names))))
        (self._over_limit if left_out is LeftOut.LIMIT else self._of_others).update(found)
        return found[0] if len(found) == 1 else None

    def _match(self, wanted: list[str]) -> list[Path]:
        """List the files of these names. If there are none, the names may hold a suffix: the file's own, or another."""
        paths = [PurePosixPath(name) for name in wanted]
        bare = {name: str(path.with_suffix("")) for name, path in zip(wanted, paths, strict=True) if _is_image(path)}
        plain = [path for name in wanted for path in self._files.get(name, ())]
        others = [(path, name) for name, stem in bare.items() for path in self._files.get(stem, ())]
        exact = [path for path, name in others if _normalise(path.relative_to(self._folder).as_posix()) == name]
        for found in (plain, exact, [path for path, _ in others]):
            if found:  # through links a file may be there twice
                return list({path.resolve(): path for path in reversed(found)}.values())[::-1]
        return []

    def check_used(self) -> None:
        """Raise UserError if no item has an edit in the folder. A trial may be of the only items that have none."""
        if not self._owners and not self._over_limit:
            there = ", ".join(sorted(self._files)[:_LISTED]) or "no image"
            raise UserError(
                f"{self.setting}: {self._folder} has no edit of any item. Looked for: "
                f"{_list_some(self._lacking.values())}; the folder has: {there} (names without suffix)."
            )

    def describe_gaps(self) -> list[str]:
        """Describe the items without an edit and the files without an item, after all items looked for theirs."""
        gaps = []
        if lacking := list(self._lacking.values()):
            total = len(lacking) + len(self._owners)
            have = agree(len(lacking), "has")
            gaps.append(f"{len(lacking):,} of {pluralize(total, 'item')} {have} no edit: {_list_some(lacking)}")
        if self._over_limit and not self._owners:
            have = f"{len(self._over_limit):,} {agree(len(self._over_limit), 'has')} an edit"
            gaps.append(f"of the items that `dataset.limit` leaves out, {have}; raise it")
        known = {path.resolve() for path in (*self._owners, *self._of_others, *self._over_limit)}
        files = [path for paths in self._files.values() for path in paths]
        if loose := [str(path.relative_to(self._folder)) for path in files if path.resolve() not in known]:
            belong = agree(len(loose), "belongs")
            gaps.append(f"{len(loose):,} of {pluralize(len(files), 'file')} {belong} to no item: {_list_some(loose)}")
        if self._closed:
            gaps.append(f"{pluralize(len(self._closed), 'folder')} may not be read: {_list_some(self._closed)}")
        return gaps

    def _walk(self, folder: Path, parents: tuple[tuple[int, int], ...]) -> Iterator[Path]:
        """Yield all files below, also through links to folders (results may lie on several disks), but in no circle.

        A folder below that may not be read, such as lost+found, is noted and left out.
        """
        try:
            status = folder.stat()
            here = (status.st_dev, status.st_ino)
            if here in parents or len(parents) > _DEEPEST:
                return
            with os.scandir(folder) as entries:
                found = sorted((entry.name, _is_folder(entry)) for entry in entries)
        except OSError as error:
            if parents and isinstance(error, PermissionError):
                self._closed.append(str(folder.relative_to(self._folder)))
                return
            raise UserError(f"{self.setting}: cannot read {folder}: {error.strerror}.") from error
        for name, is_folder in found:
            if is_folder:
                yield from self._walk(folder / name, (*parents, here))
            else:
                yield folder / name


EditedFolders = Mapping[str | None, EditedFolder]
"""The folders of edits by the editor that has one for itself. None: the dataset's, for all other editors."""


def open_folders(of_dataset: Path | None, of_editors: Mapping[str, Path] | None = None) -> EditedFolders:
    """Index the folders. Raises UserError if one does not exist."""
    folders: dict[str | None, EditedFolder] = {None: EditedFolder(of_dataset)} if of_dataset else {}
    named = (of_editors or {}).items()
    return folders | {name: EditedFolder(folder, f"editors.{name}.params.dir") for name, folder in named}


def find_edits(records: Iterable[ParsedRecord], folders: EditedFolders) -> Iterator[ParsedRecord]:
    """Yield the records with their edits. An edit that the dataset itself names goes before one of its folder.

    Raises UserError like `EditedFolder.find`.
    """
    of_editors = {name: folder for name, folder in folders.items() if name is not None}
    for record in records:
        earlier = tuple(_find_earlier(turn, record.left_out, folders) for turn in record.earlier)
        if record.edited is None and None in folders:
            found = _find_edit(record, record.left_out, folders[None])
            record = replace(record, edited=found, edit_is_found=True)
        edits_of = {name: _find_edit(record, record.left_out, folder) for name, folder in of_editors.items()}
        yield replace(record, edits_of=edits_of, earlier=earlier)


def _find_earlier(turn: EarlierTurn, left_out: LeftOut | None, folders: EditedFolders) -> EarlierTurn:
    found = {name: _find_edit(turn, left_out, folder) for name, folder in folders.items()}
    edits_of = {name: path for name, path in found.items() if name is not None}
    return replace(turn, edited=found.get(None), edits_of=edits_of)


def _find_edit(one: ParsedRecord | EarlierTurn, left_out: LeftOut | None, folder: EditedFolder) -> Path | None:
    if left_out:
        return folder.find_for_other(one.edit_names, left_out)
    return folder.find(one.edit_names, one.where)


def _is_image(path: PurePath) -> bool:
    return path.suffix.lower() in SUFFIXES


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be read
        return False


def _list_some(names: Iterable[str]) -> str:
    """List the first three names and the number of the others."""
    names = [name if name.isprintable() else repr(name) for name in names]
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else "")


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFC", text)
