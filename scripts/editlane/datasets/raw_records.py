"""Find and read the files of public benchmarks; public_formats.py knows their names for an item's fields."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError
from editlane.datasets.arrow_files import Records
from editlane.datasets.files import check_file

_CACHE = re.compile(r"\..*|(cache-[0-9a-f]+(_\d+_of_\d+)?|tmp[a-z0-9_]{8})\.arrow")
"""Hidden files, and those that the `datasets` library writes beside a dataset: its records again, or a part of them."""

_DEEPEST = 3
"""Folders between the one that is named and the files: a download has data/, the cache NAME/VERSION/HASH/."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """A record as stored in its file."""

    file: Path
    """Image paths in the record are relative to its folder, or to `root`."""
    where: str
    """The record's place in the dataset, for messages."""
    fields: dict[str, Any]
    edit_names: tuple[str, ...] = ()
    """Names of the edit used by the benchmark's own scorer: paths in the folder of edits, without suffix."""
    root: Path | None = None
    """The folder that image paths begin at, if it is another than the file's."""
    reference_image: bool = False
    """True if the record has an image of a correct edit. It is not used: a judge sees the source and the edit."""
    other_language: bool = False
    """True if the item has another record, in the requested language."""


class NothingFound(UserError):
    """A folder without a file of the format that was looked for."""


def find_files(path: Path, patterns: Sequence[str], format: str) -> list[Path]:
    """Find the files with the records: the path itself, or those of `patterns` in the folder or in one below it.

    Raises NothingFound if there are none, and UserError if several folders have some, or if a file is empty.
    """
    files = _find_in_folder(path, patterns, format) if path.is_dir() and patterns else [path]
    for file in files:
        check_file(file)
    return files


def _find_in_folder(path: Path, patterns: Sequence[str], format: str) -> list[Path]:
    for depth in range(_DEEPEST + 1):
        folders = sorted(path.glob("/".join("*" * depth))) if depth else [path]
        folders = [folder for folder in folders if _is_shown(folder, path)]
        found = {folder: files for folder in folders if folder.is_dir() and (files := _match(folder, patterns))}
        if len(found) > 1:
            names = ", ".join(str(folder) for folder in list(found)[:5])
            raise UserError(f"{path} has several folders with a dataset: {names}. Name one of them.")
        for files in found.values():
            return files
    raise NothingFound(f"The folder {path} has no {' and no '.join(patterns)}; format {format!r} reads those.")


def _is_shown(folder: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in folder.relative_to(root).parts)


def _match(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """List the files of the first pattern that has some, without the copies that the `datasets` library caches."""
    for pattern in patterns:
        found = [path for path in sorted(folder.glob(pattern)) if not _CACHE.fullmatch(path.name)]
        if found:
            return found
    return []


def read_files(
    path: Path, patterns: Sequence[str], format: str, read: Callable[[Path], Records]
) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Yield the file, the place and the fields of each record of the files that `find_files` finds."""
    for file in find_files(path, patterns, format):
        prefix = "" if file == path else f"{file.relative_to(path).as_posix()}, "
        for where, fields in read(file):
            yield file, prefix + where, fields


def require_label(path: Path, where: str, fields: Mapping[str, Any], name: str) -> str:
    """Return a field that is text or a whole number as text. Raises UserError otherwise."""
    value = fields.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    if value is None or value == "":
        raise UserError(f"{path}, {where} has no {name}.")
    raise UserError(f"{path}, {where}: {name} is {str(value)[:80]!r}, not text and not a whole number.")


def spread_images(fields: dict[str, Any], name: str) -> None:
    """Replace a list of one image in a field by its element, and move a list of several to `images`."""
    value = fields.get(name)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) == 1:
            fields[name] = value[0]
        else:
            fields["images"] = fields.pop(name)
