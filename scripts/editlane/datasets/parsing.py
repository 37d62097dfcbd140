"""Parse a dataset's records: check the fields, choose the language, locate the image without reading it."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from editlane.core.errors import UserError, format_value
from editlane.datasets.files import read_records
from editlane.datasets.given_edits import EditedFolder
from editlane.datasets.item_ids import sanitise_id
from editlane.datasets.public_formats import PUBLIC_FORMATS, RawRecord
from editlane.datasets.records import Record

ENGLISH_CATEGORIES = {
    "physical": "物理",
    "environmental": "环境",
    "social": "社会",
    "cultural": "社会",
    "social/cultural": "社会",
    "causal": "因果",
    "referential": "指代",
}
"""English names of the default categories. A name that is itself a requested category is not translated."""

BASE64_JSON_FIELDS = {
    "category": "subset",
    "instruction": "edit_instruction",
    "description": "original_description",
    "rationale": "rationale_short",
    "image": "src_img_b64",
    "name": "original_image_path",
}
"""Field names of `base64-json` that differ from ours. `_en` and `_zh` are appended to them."""

_OWN_NAMES: Mapping[str, Mapping[str, str]] = {"base64-json": BASE64_JSON_FIELDS}

_TAG_SEPARATORS = re.compile(r"[;,|；，、]")
_BASE64_LENGTH = 64
_PATH_LENGTH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRecord:
    """One checked record of a requested category. An image is a path inside the dataset's folder, base64, or bytes."""

    where: str
    given_id: str | None
    name: str | None
    """The image's path as written in the dataset; None if the image has no path."""
    category: str
    instruction: str
    language: str
    image: Path | str | bytes
    edited: Path | str | bytes | None
    description: str | None
    rationale: str | None
    tags: tuple[str, ...]
    difficulty: str | None
    reference_image: bool


@dataclass(slots=True)
class Skipped:
    """Counts of records that become no items."""

    categories: Counter[str] = field(default_factory=Counter)
    """Records of each category that was not requested."""
    other_language: int = 0
    """Records of items that have another record in the requested language."""


def parse_records(
    dataset: Path,
    format: str,
    language: str,
    categories: tuple[str, ...],
    skipped: Skipped,
    edits: EditedFolder | None = None,
) -> Iterator[ParsedRecord]:
    """Parse the records of the requested categories and find their edits in the folder of edits.

    Other records are counted in `skipped`. Raises UserError at the first invalid record.
    """
    for raw in _read_raw(dataset, format, language, edits):
        names = PUBLIC_FORMATS[format].names if format in PUBLIC_FORMATS else _OWN_NAMES.get(format, {})
        own_id = raw.fields.get(names.get("item_id", "item_id"))
        known = not own_id or format_value(own_id) in raw.where
        where = raw.where if known else f"{raw.where}, item_id {format_value(own_id)}"
        record = Record(raw.fields, names, f"{dataset}, {where}")
        native = record.require_text("category")
        category = _normalise(native) if format in PUBLIC_FORMATS else _match_category(native, categories)
        if category not in categories:
            skipped.categories[category] += 1
        elif raw.other_language:
            skipped.other_language += 1
        else:
            yield _parse(record, raw, where, (category, native), language, format, edits)


def _read_raw(dataset: Path, format: str, language: str, edits: EditedFolder | None) -> Iterator[RawRecord]:
    if format in PUBLIC_FORMATS:
        yield from PUBLIC_FORMATS[format].read(dataset, language)
    else:
        for where, fields in read_records(dataset, format, edited=edits is None):
            yield RawRecord(file=dataset, where=where, fields=fields)


def _parse(
    record: Record,
    raw: RawRecord,
    where: str,
    categories: tuple[str, str],
    language: str,
    format: str,
    edits: EditedFolder | None,
) -> ParsedRecord:
    _check_one_source(record, raw, categories[0])
    instruction, language_found = _require_instruction(record, language)
    folder = raw.file.parent.resolve()
    image = record.get_image("image")
    if image is None:
        raise UserError(f"{record.where} has no {record.own_name('image')}.")
    source = _locate(image, folder, record, format)
    name = record.get_label("name") if format == "base64-json" else str(image) if isinstance(source, Path) else None
    item_id = record.get_label("item_id")
    given = record.get_image("edited") if format == "pairs" else None
    edited = None if given is None else _locate(given, folder, record, format)
    if edits and edited is None:
        edited = edits.find(_list_edit_names(record, raw, item_id or _stem(name), categories), where)
    return ParsedRecord(
        where=where,
        given_id=item_id,
        name=name,
        category=categories[0],
        instruction=instruction,
        language=language_found,
        image=source,
        edited=edited,
        description=(record.choose_language("description", language) or (None,))[0],
        rationale=(record.choose_language("rationale", language) or (None,))[0],
        tags=_parse_tags(record.fields.get("tags")),
        difficulty=record.get_label("difficulty"),
        reference_image=raw.reference_image,
    )


def _check_one_source(record: Record, raw: RawRecord, category: str) -> None:
    if raw.sources != 1:
        raise UserError(
            f"{record.where} has {raw.sources} source images ({record.own_name('image')}); an item has one. Remove "
            f"{category} from `dataset: categories:`, or the record from the file."
        )


def _require_instruction(record: Record, language: str) -> tuple[str, str]:
    chosen = record.choose_language("instruction", language)
    if chosen is None:
        field = record.own_name("instruction")
        raise UserError(f"{record.where} has no instruction ({field}, {field}_en or {field}_zh).")
    return chosen


def _locate(image: str | bytes, folder: Path, record: Record, format: str) -> Path | str | bytes:
    if isinstance(image, bytes) or format == "base64-json" or _is_base64(image, folder):
        return image
    return _resolve_inside(folder, image, record)


def _list_edit_names(record: Record, raw: RawRecord, name: str | None, categories: tuple[str, str]) -> list[str]:
    """List the names that an edit in the folder of edits may have.

    They are the item's id, or else its image's stem, alone or in a folder of its category.
    """
    if name is None:
        raise UserError(
            f"{record.where} has neither an item_id nor a file name, so its edit cannot be found in "
            "`dataset: edited_dir:`. Give it an item_id."
        )
    names = dict.fromkeys((name, sanitise_id(name)))
    inside = [f"{category}/{name}" for category in dict.fromkeys(categories) for name in (*names, *raw.edit_names)]
    return [*names, *inside, *raw.edit_names]


def _stem(name: str | None) -> str | None:
    """Return `b` for `a/b.png`."""
    return PureWindowsPath(name).stem if name else None


def _match_category(text: str, categories: tuple[str, ...]) -> str:
    category = _normalise(text)
    return category if category in categories else canonicalise(category)


def canonicalise(category: str) -> str:
    """Translate the English name of a default category, so that its items' ids do not depend on the language."""
    return ENGLISH_CATEGORIES.get(category.lower(), category)


def _normalise(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _is_base64(text: str, folder: Path) -> bool:
    """Return whether an image field holds the image itself. A path contains a dot, is short, or names a file."""
    if text.startswith("data:") or len(text) > _PATH_LENGTH:
        return True
    return len(text) >= _BASE64_LENGTH and "." not in text and not _is_file(folder, text)


def _is_file(folder: Path, text: str) -> bool:
    try:
        return (folder / text).is_file()
    except (OSError, ValueError):  # too long, or not a valid path
        return False


def _resolve_inside(folder: Path, text: str, record: Record) -> Path:
    """Resolve a path within the dataset's folder, following links. Raises UserError if it leads out of the folder."""
    try:
        path = (folder / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{record.where}: {format_value(text)} is not a usable path ({error}).") from error
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    if absolute or not path.is_relative_to(folder):
        raise UserError(
            f"{record.where}: the path {format_value(text)} leads out of the folder of the dataset file. Put the image "
            "into that folder and give its path relative to it."
        )
    return path


def _parse_tags(value: Any) -> tuple[str, ...]:
    """Parse tags from a list, from a list as JSON text (CSV has no lists), or from one text with separators."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            value = value.strip("[] ")
    if isinstance(value, str):
        value = _TAG_SEPARATORS.split(value)
    if not isinstance(value, list | tuple):
        return ()
    return tuple(tag for tag in (str(entry).strip() for entry in value if entry is not None) if tag)
