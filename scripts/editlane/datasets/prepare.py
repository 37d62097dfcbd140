"""Prepare the items of a dataset: check every record, store every image unchanged, give every item an id.

The dataset is read twice: the first pass checks all records, the second stores the images. An error in the last record
therefore leaves nothing behind, although only one record is in memory at a time.
"""

import binascii
import dataclasses
import hashlib
import json
import logging
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editlane.core.errors import UnknownName, UserError
from editlane.core.paths import RunPaths
from editlane.core.types import Item
from editlane.datasets.given_edits import EditedFolder
from editlane.datasets.item_ids import derive_id, digest, make_safe_name, make_unique, sanitise_id
from editlane.datasets.parsing import ParsedRecord, Skipped, canonicalise, parse_records
from editlane.datasets.public_formats import FORMATS, PUBLIC_FORMATS, find_annotation_files
from editlane.datasets.records import LANGUAGES
from editlane.images.files import file_sha256, sniff, write_atomically

HASHED_BYTES = 100_000_000
"""The provenance holds the SHA-256 of dataset files up to this size, and only the size of larger ones."""

_LISTED = 5

log = logging.getLogger(__name__)


def prepare_items(
    dataset: Path,
    *,
    format: str,
    language: str,
    categories: Sequence[str],
    run_dir: Path,
    edited_dir: Path | None = None,
) -> tuple[list[Item], dict[str, Any]]:
    """Prepare a dataset's items and store their original images in `run_dir`/sources.

    With `edited_dir`, each item gets the edit found there under its id. Returns the items, sorted by category and id,
    and their provenance. Raises UserError before anything is written if the dataset or the settings are invalid.
    """
    if language not in LANGUAGES:
        raise UnknownName("language", language, LANGUAGES)
    if format not in FORMATS:
        raise UnknownName("dataset format", format, FORMATS)
    requested = check_categories(categories)
    edits = EditedFolder(edited_dir) if edited_dir else None
    check_dataset(dataset, format, language, requested, edits)

    skipped = Skipped()
    records = parse_records(dataset, format, language, requested, skipped, edits)
    items, references = _make_items(records, run_dir)
    items.sort(key=lambda item: (requested.index(item.category), item.item_id))  # independent of the dataset's order
    provenance: dict[str, Any] = {"dataset": _identify(dataset, format), "format": format, "language": language}
    provenance |= _count_items(items, requested, language, skipped)
    if references:
        provenance["unused_reference_images"] = references
    if format == "pairs" or edits:
        provenance["without_edit"] = sum(item.given_path is None for item in items)
    _log(provenance)
    return items, provenance


def _make_items(records: Iterable[ParsedRecord], run_dir: Path) -> tuple[list[Item], int]:
    """Make the items with unique ids. Also returns how many records have a reference image."""
    items, ids, identities = [], [], []
    references = 0
    for record in records:
        item = _make_item(record, run_dir)
        items.append(item)
        ids.append(item.item_id)
        identities.append(digest(record.given_id, record.name, json.dumps(dataclasses.asdict(item), sort_keys=True)))
        references += record.reference_image
    unique = make_unique(ids, identities)
    items = [dataclasses.replace(item, item_id=item_id) for item, item_id in zip(items, unique, strict=True)]
    return items, references


def _count_items(items: list[Item], categories: tuple[str, ...], language: str, skipped: Skipped) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "records": len(items) + skipped.categories.total() + skipped.other_language,
        "items": {name: sum(item.category == name for item in items) for name in categories},
        "fallback_language": sum(item.language != language for item in items),
        "skipped": dict(sorted(skipped.categories.items())),
    }
    return counts | ({"other_language": skipped.other_language} if skipped.other_language else {})


def _log(provenance: dict[str, Any]) -> None:
    log.info("%d records; items: %s", provenance["records"], _format_counts(provenance["items"]))
    if provenance["skipped"]:
        log.info("skipped, because their category was not requested: %s", _format_counts(provenance["skipped"]))
    if provenance.get("other_language"):
        log.info("skipped %d records in the language that was not requested", provenance["other_language"])
    if provenance.get("unused_reference_images"):
        count = provenance["unused_reference_images"]
        log.info("%d items have a reference image; it is not used, judges see the source and the edit", count)
    if provenance["fallback_language"]:
        count, language = provenance["fallback_language"], provenance["language"]
        log.info("%d items have no instruction in %r; the one in the other language is used", count, language)
    if provenance.get("without_edit"):
        log.info("%d items have no edit in the dataset", provenance["without_edit"])


def _format_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


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


def check_dataset(
    dataset: Path, format: str, language: str, categories: tuple[str, ...], edits: EditedFolder | None = None
) -> None:
    """Read the whole dataset once. Raises UserError for every error that would stop `prepare_items` half way."""
    for _ in check_records(dataset, format, language, categories, Skipped(), edits):
        pass


def check_records(
    dataset: Path,
    format: str,
    language: str,
    categories: tuple[str, ...],
    skipped: Skipped,
    edits: EditedFolder | None = None,
) -> Iterator[ParsedRecord]:
    """Yield the records of `parse_records` and check them against each other.

    Raises UserError like `check_dataset`; some errors are raised only after the last record.
    """
    places: dict[str, str] = {}
    missing: list[str] = []
    empty = True
    for record in parse_records(dataset, format, language, categories, skipped, edits):
        empty = False
        if record.given_id and format not in PUBLIC_FORMATS:  # users cannot fix a duplicate key of a published dataset
            other = places.setdefault(unicodedata.normalize("NFC", record.given_id), record.where)
            if other != record.where:
                raise UserError(f"{dataset}: the same item_id twice: {other}, and {record.where}. Give each its own.")
        if isinstance(record.image, Path) and not _is_file(record.image):
            missing.append(f"{record.name} ({record.where})")
        yield record
    if missing:
        listed = ", ".join(missing[:_LISTED]) + (", ..." if len(missing) > _LISTED else "")
        raise UserError(
            f"{len(missing)} image file(s) of {dataset} are missing: {listed}. Paths are relative to the folder of the "
            "dataset file."
        )
    if empty:
        others = ", ".join(sorted(skipped.categories))
        found = f"{dataset} has only: {others}" if others else f"{dataset} has no records"
        raise UserError(f"No items are left. The requested categories are {', '.join(categories)}; {found}.")
    if edits:
        edits.check_used()


def _make_item(record: ParsedRecord, run_dir: Path) -> Item:
    """Store the images of a record and make its item. The id is not unique yet."""
    source = _store(record.image, run_dir)
    given = None
    if record.edited and (not isinstance(record.edited, Path) or _is_file(record.edited)):
        given = _store(record.edited, run_dir)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    path: str
    sha256: str
    size: tuple[int, int] | None


def _store(image: Path | str | bytes, run_dir: Path) -> _Stored:
    """Store an image's bytes unchanged, under the name of their hash. An intact existing file is not rewritten."""
    try:
        content = image.read_bytes() if isinstance(image, Path) else _decode(image)
    except OSError as error:
        raise UserError(f"Cannot read {error.filename}: {error.strerror}.") from error
    sha256 = hashlib.sha256(content).hexdigest()
    suffix, size = sniff(content)
    paths = RunPaths(run_dir)
    path = paths.source(sha256, suffix)
    target = paths / path
    if not (target.exists() and file_sha256(target) == sha256):
        write_atomically(target, content)
    return _Stored(path=path, sha256=sha256, size=size)


def _decode(image: str | bytes) -> bytes:
    return decode_base64(image) if isinstance(image, str) else image


def decode_base64(text: str) -> bytes:
    """Decode base64 text or a data URI. Returns the text's own bytes if it is neither.

    Line breaks, the URL-safe alphabet and missing padding are accepted. Text that cannot be decoded is kept, so that
    its item becomes `source_unreadable` and the stored file shows why.
    """
    head, comma, payload = text.partition(",") if text.startswith("data:") else ("", "", text)
    if comma and not head.endswith(";base64"):
        return text.encode()
    try:
        content = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError:
        content = _decode_leniently(payload)
    return content or text.encode()


def _decode_leniently(payload: str) -> bytes:
    payload = "".join(payload.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return binascii.a2b_base64(payload + "=" * (-len(payload) % 4), strict_mode=True)
    except ValueError:
        return b""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long for the file system
        return False


def _identify(dataset: Path, format: str) -> dict[str, str | int]:
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
