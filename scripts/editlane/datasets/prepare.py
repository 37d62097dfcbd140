"""From a dataset to items: every record checked, every image stored as it came, every item named.

The dataset is read twice: first every record is checked, then the images are stored. So a mistake in the last record
leaves nothing behind, and one record at a time is in memory.
"""

import binascii
import dataclasses
import hashlib
import json
import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editlane.core.errors import UnknownName, UserError
from editlane.core.types import Item
from editlane.datasets.drafts import Draft, LeftOut, canonical, read_drafts
from editlane.datasets.given_edits import EditedFolder
from editlane.datasets.item_ids import digest, given_id, made_id, safe_name, unique_ids
from editlane.datasets.public_formats import FORMATS, PUBLIC_FORMATS, annotation_files
from editlane.datasets.records import LANGUAGES
from editlane.images.files import file_sha256, sniff, write_atomically

HASHED_BYTES = 100_000_000
"""A dataset file up to this size is named in the provenance by its SHA-256, a larger one by its size."""

_SHOWN = 5

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
    """The items of a dataset by category and id, and where they are from; original images go to `run_dir`/sources.

    With `edited_dir` each item has the edit that lies there under its id. Raises UserError, before anything is
    written, for whatever the user can mend in the dataset or in the settings.
    """
    if language not in LANGUAGES:
        raise UnknownName("language", language, LANGUAGES)
    if format not in FORMATS:
        raise UnknownName("dataset format", format, FORMATS)
    asked = check_categories(categories)
    edits = EditedFolder(edited_dir) if edited_dir else None
    check_dataset(dataset, format, language, asked, edits)

    left_out = LeftOut()
    items, ids, identities = [], [], []
    references = 0
    for draft in read_drafts(dataset, format, language, asked, left_out, edits):
        item = _item(draft, run_dir)
        items.append(item)
        ids.append(item.item_id)
        identities.append(digest(draft.given_id, draft.name, json.dumps(dataclasses.asdict(item), sort_keys=True)))
        references += draft.reference_image
    unique = unique_ids(ids, identities)
    items = [dataclasses.replace(item, item_id=item_id) for item, item_id in zip(items, unique, strict=True)]
    items.sort(key=lambda item: (asked.index(item.category), item.item_id))  # the dataset's order does not matter
    provenance = {
        "dataset": _identity(dataset, format),
        "format": format,
        "language": language,
        "records": len(items) + left_out.categories.total() + left_out.other_language,
        "items": {name: sum(item.category == name for item in items) for name in asked},
        "fallback_language": sum(item.language != language for item in items),
        "skipped": dict(sorted(left_out.categories.items())),
    }
    if left_out.other_language:
        provenance["other_language"] = left_out.other_language
    if references:
        provenance["unused_reference_images"] = references
    if format == "pairs" or edits:
        provenance["without_edit"] = sum(item.given_path is None for item in items)
    _log(provenance)
    return items, provenance


def _log(provenance: dict[str, Any]) -> None:
    log.info("%d records; items: %s", provenance["records"], _counts(provenance["items"]))
    if provenance["skipped"]:
        log.info("left out, because their category was not asked for: %s", _counts(provenance["skipped"]))
    if provenance.get("other_language"):
        log.info("%d records are in the language that was not asked for", provenance["other_language"])
    if provenance.get("unused_reference_images"):
        count = provenance["unused_reference_images"]
        log.info("%d items have a reference image; it is not used, judges see the source and the edit", count)
    if provenance["fallback_language"]:
        count, language = provenance["fallback_language"], provenance["language"]
        log.info("%d items have no instruction in %r; the one in the other language is used", count, language)
    if provenance.get("without_edit"):
        log.info("%d items come without an edit", provenance["without_edit"])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def check_categories(categories: Sequence[str]) -> tuple[str, ...]:
    """The asked categories, NFC, each once. Raises UserError for one that cannot name a folder."""
    names = [unicodedata.normalize("NFC", name) for name in categories]
    for name in names:
        if safe_name(name) != name or set(name) & set("{}") or name.startswith("-"):
            raise UserError(
                f'The category {name!r} cannot name a folder. Leave out / \\ : * ? " < > | {{ }}, control characters, '
                "a dash in front, a dot or a space at either end; 120 bytes are the limit."
            )
    return tuple(dict.fromkeys(names))


def check_dataset(
    dataset: Path, format: str, language: str, categories: tuple[str, ...], edits: EditedFolder | None = None
) -> None:
    """Read the whole dataset once. Raises UserError for anything that would end `prepare_items` half way."""
    for _ in checked_drafts(dataset, format, language, categories, LeftOut(), edits):
        pass


def checked_drafts(
    dataset: Path,
    format: str,
    language: str,
    categories: tuple[str, ...],
    left_out: LeftOut,
    edits: EditedFolder | None = None,
) -> Iterator[Draft]:
    """The records as `read_drafts` gives them. Raises UserError like `check_dataset`: some of it after the last one."""
    places: dict[str, str] = {}
    missing: list[str] = []
    empty = True
    for draft in read_drafts(dataset, format, language, categories, left_out, edits):
        empty = False
        if draft.given_id and format not in PUBLIC_FORMATS:  # a published key that comes twice cannot be mended
            other = places.setdefault(unicodedata.normalize("NFC", draft.given_id), draft.where)
            if other != draft.where:
                raise UserError(f"{dataset}: the same item_id twice: {other}, and {draft.where}. Give each its own.")
        if isinstance(draft.image, Path) and not _is_file(draft.image):
            missing.append(f"{draft.name} ({draft.where})")
        yield draft
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise UserError(
            f"{len(missing)} image file(s) of {dataset} are not there: {shown}. Paths are relative to the folder of "
            "the dataset file."
        )
    if empty:
        others = ", ".join(sorted(left_out.categories))
        found = f"{dataset} has only: {others}" if others else f"{dataset} has no records"
        raise UserError(f"No items are left. The categories asked for are {', '.join(categories)}; {found}.")
    if edits:
        edits.check_used()


def _item(draft: Draft, run_dir: Path) -> Item:
    """Store the images of a draft. The item's id is not yet made unique."""
    source = _store(draft.image, run_dir)
    given = None
    if draft.edited and (not isinstance(draft.edited, Path) or _is_file(draft.edited)):
        given = _store(draft.edited, run_dir)
    width, height = source.size or (None, None)
    made = made_id(draft.name, source.sha256, draft.instruction, canonical(draft.category))
    return Item(
        item_id=given_id(draft.given_id) if draft.given_id else made,
        category=draft.category,
        instruction=draft.instruction,
        language=draft.language,
        source_path=source.path,
        source_sha256=source.sha256,
        width=width,
        height=height,
        cost=cost(source.size),
        description=draft.description,
        rationale=draft.rationale,
        tags=draft.tags,
        difficulty=draft.difficulty,
        given_path=given.path if given else None,
        given_sha256=given.sha256 if given else None,
    )


def cost(size: tuple[int, int] | None) -> float:
    """The estimated work for an image of this size, 0.5 to 1.0; 1.0 where the size is unknown.

    Half is fixed (text, sampling overhead); the other half grows with the pixels up to one megapixel, because editors
    and judges scale larger images down to about that.
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
    """Put an image's bytes, as they came, under the name of their hash. Nothing is written where they lie already."""
    try:
        content = image.read_bytes() if isinstance(image, Path) else _decoded(image)
    except OSError as error:
        raise UserError(f"Cannot read {error.filename}: {error.strerror}.") from error
    sha256 = hashlib.sha256(content).hexdigest()
    suffix, size = sniff(content)
    path = f"sources/{sha256[:2]}/{sha256}.{suffix}"
    target = run_dir / path
    if not (target.exists() and file_sha256(target) == sha256):
        write_atomically(target, content)
    return _Stored(path=path, sha256=sha256, size=size)


def _decoded(image: str | bytes) -> bytes:
    return decode_base64(image) if isinstance(image, str) else image


def decode_base64(text: str) -> bytes:
    """The bytes of base64 text or of a data URI; the text's own bytes where it is neither.

    Line breaks, the URL-safe alphabet and missing padding are accepted. Text that cannot be decoded is kept, so that
    its item ends as `source_unreadable` with something to look at.
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


def _identity(dataset: Path, format: str) -> dict[str, str | int]:
    """What the provenance says about the dataset: its name, and a hash or the size of its file or files."""
    files = annotation_files(dataset, format)
    if files == [dataset]:
        return {"file": dataset.name} | _content(dataset)
    contents = [[file.relative_to(dataset).as_posix(), _content(file)] for file in files]
    sha256 = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
    return {"folder": dataset.resolve().name, "files": len(files), "sha256": sha256}


def _content(file: Path) -> dict[str, str | int]:
    size = file.stat().st_size
    return {"bytes": size} if size > HASHED_BYTES else {"sha256": file_sha256(file)}
