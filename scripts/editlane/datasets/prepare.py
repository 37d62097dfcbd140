"""Prepare the items of a dataset: check every record, store every image unchanged, give every item an id.

The dataset is read several times: first to check all records, then to store the images. An error in the last record
therefore leaves nothing behind, although only one record is in memory at a time. It is read once more where records
that become no items share an id.
"""

import dataclasses
import hashlib
import json
import logging
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from editlane.core import schemas, tables
from editlane.core.errors import UnknownName, UserError
from editlane.core.paths import RunPaths
from editlane.core.printable import has_hidden_letters
from editlane.core.schemas import GivenRow
from editlane.core.text_width import pluralize
from editlane.core.types import Item
from editlane.datasets.checking import check_records
from editlane.datasets.given_edits import EditedFolders, open_folders
from editlane.datasets.item_ids import make_safe_name, name_samples
from editlane.datasets.making import Made, MadeItems, make_items
from editlane.datasets.parsing import Selection, Skipped
from editlane.datasets.provenance import describe_items, log_items
from editlane.datasets.public_formats import FORMATS, find_annotation_files
from editlane.datasets.records import LANGUAGES
from editlane.images.files import file_sha256

HASHED_BYTES = 100_000_000
"""The provenance holds the SHA-256 of dataset files up to this size, and only the size of larger ones."""

log = logging.getLogger(__name__)


def prepare_items(
    dataset: Path,
    *,
    format: str,
    language: str,
    categories: Sequence[str],
    run_dir: Path,
    edited_dir: Path | None = None,
    given: Mapping[str, Path] | None = None,
    limit: int | None = None,
    samples: int = 1,
) -> tuple[list[Item], dict[str, Any]]:
    """Prepare a dataset's items and store their original images in `run_dir`/sources.

    With `edited_dir`, each item gets the edit found there under its id. `given` names the folders of editors that have
    one for themselves; their edits become the table given.parquet in `run_dir`. With `limit`, only the first records of
    each category are prepared. Each turn of a record is an item. `samples` is how often each item comes, to be edited
    with as many seeds. Returns the items, sorted by category and id of the record, and their provenance. Raises
    UserError before anything is written if the dataset or the settings are invalid.
    """
    if language not in LANGUAGES:
        raise UnknownName("language", language, LANGUAGES)
    if format not in FORMATS:
        raise UnknownName("dataset format", format, FORMATS)
    names, apart = check_categories(categories), edited_dir is not None
    selection = Selection(
        dataset=dataset, format=format, language=language, categories=names, limit=limit, edits_apart=apart
    )
    folders = open_folders(edited_dir, given)
    for _ in check_records(selection, Skipped(), folders):
        pass

    skipped = Skipped()
    made = make_items(selection, folders, skipped, run_dir)
    items = [one.item for one in made.items]
    provenance = _describe(selection, made, skipped)
    log_items(provenance)
    for name, where in sorted(skipped.columns.items()):
        log.warning("%s: the column %s holds no list, so it is ignored", where, name)
    _warn_of_missing_edits(folders, provenance)
    if given:
        tables.write_table(RunPaths(run_dir).given, _list_given(made.items, given), schemas.GIVEN)
    if samples > 1:
        provenance["samples"] = samples
    return repeat_items(items, samples), provenance


def repeat_items(items: Sequence[Item], samples: int) -> list[Item]:
    """Let each item be followed by its further samples, up to `samples` in all.

    The seed of an edit derives from the item's id, so each sample has another one, and that of the first stays. A later
    turn follows the turn before of the same sample.
    """
    names = name_samples([item.item_id for item in items], samples)
    repeated = []
    for item in items:
        before = names[item.after] if item.after is not None else [None] * (samples - 1)
        further = zip(names[item.item_id], before, strict=True)
        repeated += [
            item,
            *(dataclasses.replace(item, item_id=name, sample_of=item.item_id, after=after) for name, after in further),
        ]
    return repeated


def _describe(selection: Selection, made: MadeItems, skipped: Skipped) -> dict[str, Any]:
    """Return where the items are from."""
    items = [one.item for one in made.items]
    dataset = _identify_dataset(selection.dataset, selection.format)
    provenance = describe_items(selection, dataset, items, made.records, skipped)
    if made.reference_images:
        provenance["unused_reference_images"] = made.reference_images
    if selection.format == "pairs" or selection.edits_apart:
        provenance["without_edit"] = sum(item.given_path is None for item in items)
    return provenance


def _warn_of_missing_edits(folders: EditedFolders, provenance: dict[str, Any]) -> None:
    for folder in folders.values():
        for gap in folder.describe_gaps():
            log.warning("%s: %s", folder.setting, gap)
    if None not in folders and provenance.get("without_edit"):
        log.warning("%s without an edit in the dataset", pluralize(provenance["without_edit"], "item"))


def _list_given(made: Sequence[Made], editors: Iterable[str]) -> Iterator[GivenRow]:
    for editor in editors:
        for one in made:
            edit = one.edits_of[editor]
            path, sha256 = (edit.path, edit.sha256) if edit else (None, None)
            yield {"editor": editor, "item_id": one.item.item_id, "given_path": path, "given_sha256": sha256}


def check_categories(categories: Sequence[str]) -> tuple[str, ...]:
    """Return the requested categories in NFC, without duplicates. Raises UserError if one cannot name a folder."""
    names = [unicodedata.normalize("NFC", name) for name in categories]
    for name in names:
        if make_safe_name(name) != name or set(name) & set("{}") or name.startswith("-") or has_hidden_letters(name):
            raise UserError(
                f'The category {name!r} cannot name a folder. Avoid / \\ : * ? " < > | {{ }}, characters that cannot '
                "be seen, a dash at the start, a dot or a space at either end, and more than 120 bytes."
            )
    return tuple(dict.fromkeys(names))


def _identify_dataset(dataset: Path, format: str) -> dict[str, str | int]:
    """Return the dataset's entry of the provenance: its name, and a hash or the size of its file or files."""
    files = find_annotation_files(dataset, format)
    if files == [dataset]:
        return {"file": dataset.name} | _identify_content(dataset)
    contents = [[file.relative_to(dataset).as_posix(), _identify_content(file)] for file in files]
    sha256 = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
    return {"folder": dataset.resolve().name, "files": len(files), "sha256": sha256}


def _identify_content(file: Path) -> dict[str, str | int]:
    size = file.stat().st_size
    return {"bytes": size} if size > HASHED_BYTES else {"sha256": file_sha256(file)}
