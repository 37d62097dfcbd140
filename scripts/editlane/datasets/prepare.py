"""Prepare the items of a dataset: check every record, store every image unchanged, give every item an id.

The dataset is read several times: first to check all records, then to store the images. An error in the last record
therefore leaves nothing behind, although only one record is in memory at a time. It is read once more where records
that become no items share an id.
"""

import dataclasses
import hashlib
import json
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from editlane.core import schemas, tables
from editlane.core.errors import UnknownName, UserError
from editlane.core.files import is_file
from editlane.core.paths import RunPaths
from editlane.core.printable import has_hidden_letters
from editlane.core.schemas import GivenRow
from editlane.core.text_width import pluralize
from editlane.core.types import Item, Reference
from editlane.datasets.checking import check_records
from editlane.datasets.given_edits import EditedFolders, find_edits, open_folders
from editlane.datasets.item_ids import derive_id, digest, make_safe_name, make_unique, name_samples, sanitise_id
from editlane.datasets.parsing import LeftOut, ParsedRecord, RawImage, Selection, Skipped, canonicalise, parse_records
from editlane.datasets.provenance import describe_items, log_items
from editlane.datasets.public_formats import FORMATS, find_annotation_files
from editlane.datasets.records import LANGUAGES
from editlane.datasets.storing import Stored, inspect, read_image, store
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
    one for themselves; their edits become the table given.parquet in `run_dir`. With `limit`, only the first items of
    each category are prepared. `samples` is how often each item comes, to be edited with as many seeds. Returns the
    items, sorted by category and id, and their provenance. Raises UserError before anything is written if the dataset
    or the settings are invalid.
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
    made, references = _make_items(selection, folders, skipped, run_dir)
    made.sort(key=lambda one: (names.index(one.item.category), one.item.item_id))  # independent of the dataset's order
    items = [one.item for one in made]
    provenance = _describe(selection, items, skipped, references)
    log_items(provenance)
    for name, where in sorted(skipped.columns.items()):
        log.warning("%s: the column %s holds no list, so it is ignored", where, name)
    _warn_of_missing_edits(folders, provenance)
    if given:
        tables.write_table(RunPaths(run_dir).given, _list_given(made, given), schemas.GIVEN)
    if samples > 1:
        provenance["samples"] = samples
    return repeat_items(items, samples), provenance


def repeat_items(items: Sequence[Item], samples: int) -> list[Item]:
    """Let each item be followed by its further samples, up to `samples` in all.

    The seed of an edit derives from the item's id, so each sample has another one, and that of the first stays.
    """
    names = name_samples([item.item_id for item in items], samples)
    return [
        one
        for item in items
        for one in (
            item,
            *(dataclasses.replace(item, item_id=name, sample_of=item.item_id) for name in names[item.item_id]),
        )
    ]


def _describe(selection: Selection, items: Sequence[Item], skipped: Skipped, references: int) -> dict[str, Any]:
    """Return where the items are from. `references`: the records with a reference image."""
    provenance = describe_items(selection, _identify_dataset(selection.dataset, selection.format), items, skipped)
    if references:
        provenance["unused_reference_images"] = references
    if selection.format == "pairs" or selection.edits_apart:
        provenance["without_edit"] = sum(item.given_path is None for item in items)
    return provenance


def _warn_of_missing_edits(folders: EditedFolders, provenance: dict[str, Any]) -> None:
    for folder in folders.values():
        for gap in folder.describe_gaps():
            log.warning("%s: %s", folder.setting, gap)
    if None not in folders and provenance.get("without_edit"):
        log.warning("%s without an edit in the dataset", pluralize(provenance["without_edit"], "item"))


@dataclass(frozen=True, slots=True)
class _Made:
    """An item, and what is stored of the edits that editors have for themselves."""

    item: Item
    edits_of: Mapping[str, Stored | None]


def _list_given(made: Sequence[_Made], editors: Iterable[str]) -> Iterator[GivenRow]:
    for editor in editors:
        for one in made:
            edit = one.edits_of[editor]
            path, sha256 = (edit.path, edit.sha256) if edit else (None, None)
            yield {"editor": editor, "item_id": one.item.item_id, "given_path": path, "given_sha256": sha256}


def _make_items(
    selection: Selection, folders: EditedFolders, skipped: Skipped, run_dir: Path
) -> tuple[list[_Made], int]:
    """Make the items with unique ids. Also returns how many records have a reference image.

    Ids are unique among all records that could be items, so that they depend neither on the requested categories nor
    on the limit.
    """
    made, identities = list[_Made](), list[str]()
    references = 0
    others = Counter[str]()
    keep = partial(store, run_dir=run_dir)
    for record in find_edits(parse_records(selection, skipped, others=True), folders):
        if record.left_out is None:
            item = _make_item(record, keep)
            made.append(_Made(item, {name: _look_at_edit(edit, keep) for name, edit in record.edits_of.items()}))
            identities.append(_hash_item(record, item))
            references += record.reference_image
        elif record.left_out is not LeftOut.LANGUAGE and (base := _get_other_id(record, selection)) is not None:
            others[base] += 1
    ids = [one.item.item_id for one in made]
    other_ids, other_identities = _identify_others(selection, Counter(ids), others)
    unique = make_unique(ids + other_ids, identities + other_identities)[: len(ids)]
    named = zip(made, unique, strict=True)
    return [_Made(dataclasses.replace(one.item, item_id=item_id), one.edits_of) for one, item_id in named], references


def _identify_others(selection: Selection, ids: Counter[str], others: Counter[str]) -> tuple[list[str], list[str]]:
    """Return ids and identities of the records that become no items.

    Their images are read only where an id is there twice, which is rare. A record whose image no run can read never is
    an item, so it takes no id.
    """
    shared = {base for base, times in others.items() if times + ids[base] > 1}
    other_ids = [base for base in others if base not in shared]
    identities = [digest(base) for base in other_ids]
    for record in parse_records(selection, Skipped(), others=True) if shared else ():
        if record.left_out in (None, LeftOut.LANGUAGE) or _get_other_id(record, selection) not in shared:
            continue
        if all(map(_may_be_read, (record.image, *record.references))):
            item = _make_item(record, inspect)
            other_ids.append(item.item_id)
            identities.append(_hash_item(record, item))
    return other_ids, identities


def _may_be_read(image: RawImage) -> bool:
    return not isinstance(image, Path) or (is_file(image) and os.access(image, os.R_OK))


def _get_other_id(record: ParsedRecord, selection: Selection) -> str | None:
    """Return the id of a record that becomes no item. None if the dataset's author answers for its being unique."""
    if record.given_id:
        return sanitise_id(record.given_id) if selection.is_public else None
    sha256 = "" if record.name else hashlib.sha256(read_image(record.image)).hexdigest()
    others = zip(record.reference_names, record.references, strict=True)
    references = [name or hashlib.sha256(read_image(image)).hexdigest() for name, image in others]
    return derive_id(record.name, sha256, record.instruction, canonicalise(record.category), references)


def _hash_item(record: ParsedRecord, item: Item) -> str:
    """Return a hash of everything that the dataset says about an item; a folder of edits is no part of it."""
    known = dataclasses.asdict(item)
    del known["sample_of"]  # which is new, and must not change the ids of older runs
    for name in ("references", "turns"):
        if not known[name]:
            del known[name]
    if record.edit_is_found:
        known |= {"given_path": None, "given_sha256": None}
    return digest(record.given_id, record.name, json.dumps(known, sort_keys=True))


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


def _make_item(record: ParsedRecord, look_at: Callable[[RawImage], Stored]) -> Item:
    """Make the item of a record, whose images `look_at` reads. The id is not unique yet."""
    source = look_at(record.image)
    references = [look_at(image) for image in record.references]
    given = _look_at_edit(record.edited, look_at)
    width, height = source.size or (None, None)
    named = [name or one.sha256 for name, one in zip(record.reference_names, references, strict=True)]
    derived = derive_id(record.name, source.sha256, record.instruction, canonicalise(record.category), named)
    return Item(
        item_id=sanitise_id(record.given_id) if record.given_id else derived,
        category=record.category,
        instruction=record.instruction,
        language=record.language,
        source_path=source.path,
        source_sha256=source.sha256,
        width=width,
        height=height,
        cost=estimate_cost(source.size, [one.size for one in references]) * max(1, len(record.turns)),
        description=record.description,
        rationale=record.rationale,
        tags=record.tags,
        difficulty=record.difficulty,
        given_path=given.path if given else None,
        given_sha256=given.sha256 if given else None,
        references=tuple(_make_reference(one) for one in references),
        turns=record.turns,
    )


def _make_reference(stored: Stored) -> Reference:
    width, height = stored.size or (None, None)
    return Reference(path=stored.path, sha256=stored.sha256, width=width, height=height)


def _look_at_edit(edit: RawImage | None, look_at: Callable[[RawImage], Stored]) -> Stored | None:
    return look_at(edit) if edit and (not isinstance(edit, Path) or is_file(edit)) else None


def estimate_cost(size: tuple[int, int] | None, references: Sequence[tuple[int, int] | None] = ()) -> float:
    """Estimate the relative work for an image of this size (width, height): 0.5 to 1.0, or 1.0 if unknown.

    Half is fixed (text, sampling overhead). The other half grows with the number of pixels up to one megapixel, because
    editors and judges scale larger images down to about that. Each of the `references` adds as much by its pixels.
    """
    sizes = (size, *references)
    return round(0.5 + sum(0.5 if one is None else 0.5 * min(one[0] * one[1] / 1e6, 1.0) for one in sizes), 4)


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
