"""What a dataset's record says: its fields checked, its language chosen, its image found but not yet read."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from editlane.core.errors import UserError
from editlane.datasets.files import read_records
from editlane.datasets.given_edits import EditedFolder
from editlane.datasets.item_ids import given_id
from editlane.datasets.public_formats import PUBLIC_FORMATS, Found
from editlane.datasets.records import Record, shown

ENGLISH_CATEGORIES = {
    "physical": "物理",
    "environmental": "环境",
    "social": "社会",
    "cultural": "社会",
    "social/cultural": "社会",
    "causal": "因果",
    "referential": "指代",
}
"""The default categories by their English names; a name that is asked for as it stands is not translated."""

BASE64_JSON_FIELDS = {
    "category": "subset",
    "instruction": "edit_instruction",
    "description": "original_description",
    "rationale": "rationale_short",
    "image": "src_img_b64",
    "name": "original_image_path",
}
"""What `base64-json` calls the fields that have another name there; `_en` and `_zh` are put behind it."""

_OWN_NAMES: Mapping[str, Mapping[str, str]] = {"base64-json": BASE64_JSON_FIELDS}

_TAG_SEPARATORS = re.compile(r"[;,|；，、]")
_BASE64_LENGTH = 64
_PATH_LENGTH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One checked record of an asked category. An image is a path inside the dataset's folder, base64, or bytes."""

    where: str
    given_id: str | None
    name: str | None
    """The image's path as the dataset gives it; null for an image without one."""
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
class LeftOut:
    """How many records are no items."""

    categories: Counter[str] = field(default_factory=Counter)
    """By category, of those that were not asked for."""
    other_language: int = 0
    """Records of an item that has another one, in the language asked for."""


def read_drafts(
    dataset: Path,
    format: str,
    language: str,
    categories: tuple[str, ...],
    left_out: LeftOut,
    edits: EditedFolder | None = None,
) -> Iterator[Draft]:
    """The records of the asked categories, with their edits from the folder of edits; others are counted in `left_out`.

    Raises UserError at the first record with a mistake.
    """
    for found in _found(dataset, format, language, edits):
        names = PUBLIC_FORMATS[format].names if format in PUBLIC_FORMATS else _OWN_NAMES.get(format, {})
        own_id = found.fields.get(names.get("item_id", "item_id"))
        known = not own_id or shown(own_id) in found.where
        where = found.where if known else f"{found.where}, item_id {shown(own_id)}"
        record = Record(found.fields, names, f"{dataset}, {where}")
        native = record.required("category")
        category = _nfc(native) if format in PUBLIC_FORMATS else _category(native, categories)
        if category not in categories:
            left_out.categories[category] += 1
        elif found.other_language:
            left_out.other_language += 1
        else:
            yield _draft(record, found, where, (category, native), language, format, edits)


def _found(dataset: Path, format: str, language: str, edits: EditedFolder | None) -> Iterator[Found]:
    if format in PUBLIC_FORMATS:
        yield from PUBLIC_FORMATS[format].read(dataset, language)
    else:
        for where, fields in read_records(dataset, format, edited=edits is None):
            yield Found(file=dataset, where=where, fields=fields)


def _draft(
    record: Record,
    found: Found,
    where: str,
    categories: tuple[str, str],
    language: str,
    format: str,
    edits: EditedFolder | None,
) -> Draft:
    if found.sources != 1:
        raise UserError(
            f"{record.where} has {found.sources} source images ({record.name('image')}); an item has one. Leave "
            f"{categories[0]} out of `dataset: categories:`, or the record out of the file."
        )
    spoken = record.in_language("instruction", language)
    if spoken is None:
        field = record.name("instruction")
        raise UserError(f"{record.where} has no instruction ({field}, {field}_en or {field}_zh).")
    instruction, language_found = spoken
    folder = found.file.parent.resolve()
    image = record.image("image")
    if image is None:
        raise UserError(f"{record.where} has no {record.name('image')}.")
    source = _located(image, folder, record, format)
    name = record.label("name") if format == "base64-json" else str(image) if isinstance(source, Path) else None
    item_id = record.label("item_id")
    given = record.image("edited") if format == "pairs" else None
    edited = None if given is None else _located(given, folder, record, format)
    if edits and edited is None:
        edited = edits.find(_edit_names(record, found, item_id or _stem(name), categories), where)
    return Draft(
        where=where,
        given_id=item_id,
        name=name,
        category=categories[0],
        instruction=instruction,
        language=language_found,
        image=source,
        edited=edited,
        description=(record.in_language("description", language) or (None,))[0],
        rationale=(record.in_language("rationale", language) or (None,))[0],
        tags=_tags(record.fields.get("tags")),
        difficulty=record.label("difficulty"),
        reference_image=found.reference_image,
    )


def _located(image: str | bytes, folder: Path, record: Record, format: str) -> Path | str | bytes:
    if isinstance(image, bytes) or format == "base64-json" or _is_base64(image, folder):
        return image
    return _inside(folder, image, record)


def _edit_names(record: Record, found: Found, name: str | None, categories: tuple[str, str]) -> list[str]:
    """What an edit in the folder of edits may be called: the item's id (else its image), alone or in its category."""
    if name is None:
        raise UserError(
            f"{record.where} has neither an item_id nor a file name, so `dataset: edited_dir:` cannot name its edit. "
            "Give it an item_id."
        )
    names = dict.fromkeys((name, given_id(name)))
    inside = [f"{category}/{name}" for category in dict.fromkeys(categories) for name in (*names, *found.edit_names)]
    return [*names, *inside, *found.edit_names]


def _stem(name: str | None) -> str | None:
    """`b` of `a/b.png`."""
    return PureWindowsPath(name).stem if name else None


def _category(text: str, categories: tuple[str, ...]) -> str:
    category = _nfc(text)
    return category if category in categories else canonical(category)


def canonical(category: str) -> str:
    """A category's one name: a default category asked for in English is the same, and so are its items' ids."""
    return ENGLISH_CATEGORIES.get(category.lower(), category)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _is_base64(text: str, folder: Path) -> bool:
    """Whether an image field holds the image itself. A path has a dot in it, is short, or names a file."""
    if text.startswith("data:") or len(text) > _PATH_LENGTH:
        return True
    return len(text) >= _BASE64_LENGTH and "." not in text and not _is_file(folder, text)


def _is_file(folder: Path, text: str) -> bool:
    try:
        return (folder / text).is_file()
    except (OSError, ValueError):  # too long, or no path at all
        return False


def _inside(folder: Path, text: str, record: Record) -> Path:
    """The path of a file in the dataset's folder, links followed. Raises UserError where it leads out of it."""
    try:
        path = (folder / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{record.where}: {shown(text)} is not a usable path ({error}).") from error
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    if absolute or not path.is_relative_to(folder):
        raise UserError(
            f"{record.where}: the path {shown(text)} leads out of the folder of the dataset file. Put the image into "
            "that folder and give its path relative to it."
        )
    return path


def _tags(value: Any) -> tuple[str, ...]:
    """Tags from a list, from JSON text of a list (CSV has no lists), or from one text with separators."""
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
