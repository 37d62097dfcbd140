"""Prepare the items of a dataset: check every record, store every image unchanged, give every item an id.

The dataset is read twice: the first pass checks all records, the second stores the images. An error in the last record
therefore leaves nothing behind, although only one record is in memory at a time.
"""

import dataclasses
import hashlib
import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from editlane.core.errors import SourceUnreadable, UnknownName, UserError
from editlane.core.paths import RunPaths
from editlane.core.types import Item
from editlane.datasets.base64_text import decode_base64
from editlane.datasets.checking import check_records, is_file
from editlane.datasets.given_edits import EditedFolder
from editlane.datasets.item_ids import derive_id, digest, make_safe_name, make_unique, sanitise_id
from editlane.datasets.parsing import ParsedRecord, RawImage, Selection, Skipped, canonicalise, parse_records
from editlane.datasets.provenance import describe_items, log_items
from editlane.datasets.public_formats import FORMATS, find_annotation_files
from editlane.datasets.records import LANGUAGES
from editlane.images.files import MAX_BYTES, file_sha256, make_note, open_regular, sniff, write_atomically

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
    limit: int | None = None,
) -> tuple[list[Item], dict[str, Any]]:
    """Prepare a dataset's items and store their original images in `run_dir`/sources.

    With `edited_dir`, each item gets the edit found there under its id; with `limit`, only the first items of each
    category are prepared. Returns the items, sorted by category and id, and their provenance. Raises UserError before
    anything is written if the dataset or the settings are invalid.
    """
    if language not in LANGUAGES:
        raise UnknownName("language", language, LANGUAGES)
    if format not in FORMATS:
        raise UnknownName("dataset format", format, FORMATS)
    requested = check_categories(categories)
    selection = Selection(dataset=dataset, format=format, language=language, categories=requested, limit=limit)
    edits = EditedFolder(edited_dir) if edited_dir else None
    for _ in check_records(selection, Skipped(), edits):
        pass

    skipped = Skipped()
    items, references = _make_items(selection, edits, skipped, run_dir)
    items.sort(key=lambda item: (requested.index(item.category), item.item_id))  # independent of the dataset's order
    provenance = describe_items(selection, _identify_dataset(dataset, format), items, skipped)
    if references:
        provenance["unused_reference_images"] = references
    if format == "pairs" or edits:
        provenance["without_edit"] = sum(item.given_path is None for item in items)
    log_items(provenance)
    _warn_of_missing_edits(edits, provenance)
    return items, provenance


def _warn_of_missing_edits(edits: EditedFolder | None, provenance: dict[str, Any]) -> None:
    if edits:
        for gap in edits.describe_gaps():
            log.warning("dataset.edited_dir: %s", gap)
    elif provenance.get("without_edit"):
        log.warning("%d items have no edit in the dataset", provenance["without_edit"])


def _make_items(
    selection: Selection, edits: EditedFolder | None, skipped: Skipped, run_dir: Path
) -> tuple[list[Item], int]:
    """Make the items with unique ids. Also returns how many records have a reference image.

    Ids are unique among all records that could be items, so that they depend neither on the requested categories nor
    on the limit.
    """
    items, identities = list[Item](), list[str]()
    references = 0
    others = Counter[str]()
    for record in parse_records(selection, skipped, edits, others=True):
        if record.wanted:
            item = _make_item(record, partial(_store, run_dir=run_dir))
            items.append(item)
            identities.append(_hash_item(record, item))
            references += record.reference_image
        elif (base := _get_other_id(record, selection)) is not None:
            others[base] += 1
    ids = [item.item_id for item in items]
    other_ids, other_identities = _identify_others(selection, edits, Counter(ids), others)
    unique = make_unique(ids + other_ids, identities + other_identities)[: len(ids)]
    items = [dataclasses.replace(item, item_id=item_id) for item, item_id in zip(items, unique, strict=True)]
    return items, references


def _identify_others(
    selection: Selection, edits: EditedFolder | None, ids: Counter[str], others: Counter[str]
) -> tuple[list[str], list[str]]:
    """Return ids and identities of the records that become no items.

    Their images are read only where an id is there twice, which is rare.
    """
    shared = {base for base, times in others.items() if times + ids[base] > 1}
    other_ids = [base for base in others if base not in shared]
    identities = [digest(base) for base in other_ids]
    for record in parse_records(selection, Skipped(), edits, others=True) if shared else ():
        if not record.wanted and _get_other_id(record, selection) in shared:
            try:
                item = _make_item(record, _inspect)
            except UserError:  # its image cannot be read, so it never is an item
                continue
            other_ids.append(item.item_id)
            identities.append(_hash_item(record, item))
    return other_ids, identities


def _get_other_id(record: ParsedRecord, selection: Selection) -> str | None:
    """Return the id of a record that becomes no item. None if the dataset's author answers for its being unique."""
    if record.given_id:
        return sanitise_id(record.given_id) if selection.is_public else None
    sha256 = "" if record.name else hashlib.sha256(_read(record.image)).hexdigest()
    return derive_id(record.name, sha256, record.instruction, canonicalise(record.category))


def _hash_item(record: ParsedRecord, item: Item) -> str:
    """Return a hash of everything that is known about an item."""
    return digest(record.given_id, record.name, json.dumps(dataclasses.asdict(item), sort_keys=True))


def check_categories(categories: Sequence[str]) -> tuple[str, ...]:
    """Return the requested categories in NFC, without duplicates. Raises UserError if one cannot name a folder."""
    names = [unicodedata.normalize("NFC", name) for name in categories]
    for name in names:
        if make_safe_name(name) != name or set(name) & set("{}") or name.startswith("-"):
            raise UserError(
                f'The category {name!r} cannot name a folder. Avoid / \\ : * ? " < > | {{ }}, control characters, '
                "a dash at the start, a dot or a space at either end, and more than 120 bytes."
            )
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    path: str
    sha256: str
    size: tuple[int, int] | None


def _make_item(record: ParsedRecord, look_at: Callable[[RawImage], _Stored]) -> Item:
    """Make the item of a record, whose images `look_at` reads. The id is not unique yet."""
    source = look_at(record.image)
    given = None
    if record.edited and (not isinstance(record.edited, Path) or is_file(record.edited)):
        given = look_at(record.edited)
    width, height = source.size or (None, None)
    derived = derive_id(record.name, source.sha256, record.instruction, canonicalise(record.category))
    return Item(
        item_id=sanitise_id(record.given_id) if record.given_id else derived,
        category=record.category,
        instruction=record.instruction,
        language=record.language,
        source_path=source.path,
        source_sha256=source.sha256,
        width=width,
        height=height,
        cost=estimate_cost(source.size),
        description=record.description,
        rationale=record.rationale,
        tags=record.tags,
        difficulty=record.difficulty,
        given_path=given.path if given else None,
        given_sha256=given.sha256 if given else None,
    )


def estimate_cost(size: tuple[int, int] | None) -> float:
    """Estimate the relative work for an image of this size (width, height): 0.5 to 1.0, or 1.0 if unknown.

    Half is fixed (text, sampling overhead). The other half grows with the number of pixels up to one megapixel, because
    editors and judges scale larger images down to about that.
    """
    if size is None:
        return 1.0
    return round(0.5 + 0.5 * min(size[0] * size[1] / 1e6, 1.0), 4)


def _store(image: RawImage, run_dir: Path) -> _Stored:
    """Store an image's bytes unchanged, under the name of their hash. An intact existing file is not rewritten."""
    content = _read(image)
    stored = _describe(content)
    target = run_dir / stored.path
    if not (target.exists() and file_sha256(target) == stored.sha256):
        write_atomically(target, content)
    return stored


def _inspect(image: RawImage) -> _Stored:
    """Return what `_store` returns, but store nothing."""
    return _describe(_read(image))


def _describe(content: bytes) -> _Stored:
    sha256 = hashlib.sha256(content).hexdigest()
    suffix, size = sniff(content)
    return _Stored(path=RunPaths(Path()).source(sha256, suffix), sha256=sha256, size=size)


def _read(image: RawImage) -> bytes:
    """Return the bytes of an image, or a note in place of more than an image may have."""
    if not isinstance(image, Path):
        content = decode_base64(image) if isinstance(image, str) else image
        return content if len(content) <= MAX_BYTES else make_note(len(content))
    try:
        with open_regular(image) as file:
            return file.read()
    except SourceUnreadable as error:
        if error.kind == "too_large":
            return make_note(image.stat().st_size)
        raise UserError(f"Cannot read {image}: it {error}.") from error
    except OSError as error:
        raise UserError(f"Cannot read {error.filename}: {error.strerror}.") from error


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
