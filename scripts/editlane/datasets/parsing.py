"""Parse a dataset's records: check the fields, choose the language, locate the image without reading it."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path, PurePosixPath, PureWindowsPath

from editlane.core.errors import UserError, format_value
from editlane.core.files import is_file
from editlane.core.types import MOST_IMAGES
from editlane.datasets.edit_names import list_edit_names, name_edits_of_turn
from editlane.datasets.files import read_records
from editlane.datasets.public_formats import PUBLIC_FORMATS
from editlane.datasets.raw_records import RawRecord
from editlane.datasets.records import Record
from editlane.datasets.turns import list_beginnings, require_instruction

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

_BASE64_LENGTH = 64
_PATH_LENGTH = 4096


RawImage = Path | str | bytes
"""A path inside the dataset's folder, base64, or bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records of which dataset become items."""

    dataset: Path
    format: str
    language: str
    categories: tuple[str, ...]
    limit: int | None = None
    """Number of records of each category, the first ones of the dataset; None for all."""
    edits_apart: bool = False
    """True if the dataset's edits lie in a folder, so that `pairs` need no column of them."""

    @property
    def names(self) -> Mapping[str, str]:
        """Our names of the fields -> the dataset's."""
        return PUBLIC_FORMATS[self.format].names if self.is_public else _OWN_NAMES.get(self.format, {})

    @property
    def is_public(self) -> bool:
        """True for a public benchmark, whose records a user does not change."""
        return self.format in PUBLIC_FORMATS


class LeftOut(Enum):
    """Why a record becomes no item of this run."""

    CATEGORY = "its category was not requested"
    LANGUAGE = "its item has another record, in the requested language"
    LIMIT = "it is behind the last one that `limit` allows"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedRecord:
    """One checked record."""

    where: str
    left_out: LeftOut | None
    """None if it becomes an item."""
    given_id: str | None
    name: str | None
    """The image's path as written in the dataset; None if the image has no path."""
    category: str
    instruction: str
    language: str
    image: RawImage
    edited: RawImage | None
    edit_names: tuple[str, ...]
    """Names that its edit may have in a folder of edits."""
    description: str | None
    rationale: str | None
    tags: tuple[str, ...]
    difficulty: str | None
    reference_image: bool
    references: tuple[RawImage, ...] = ()
    """The images after the source."""
    reference_names: tuple[str | None, ...] = ()
    """Their paths as written in the dataset."""
    turns: tuple[str, ...] = ()
    """The instructions of a record of several turns."""
    is_chain: bool = False
    """True if each turn becomes an item; `edited`, `edits_of` and their names are then those of the last one."""
    earlier: "tuple[EarlierTurn, ...]" = ()
    """The edits of the other turns of a chain, in order."""
    edit_is_found: bool = False
    """True if the edit is from a folder of edits and not from the dataset."""
    edits_of: Mapping[str, Path | None] = field(default_factory=dict)
    """Editor -> the edit in the folder that this editor has for itself."""

    def list_instructions(self) -> list[str]:
        """Return the instructions of its items, in order."""
        return list_beginnings(self.turns, self.language) if self.is_chain else [self.instruction]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierTurn:
    """The edits that are given of a turn that another one follows."""

    where: str
    edit_names: tuple[str, ...]
    """As of a record, and so is the rest."""
    edited: Path | None = None
    edits_of: Mapping[str, Path | None] = field(default_factory=dict)


@dataclass(slots=True)
class Skipped:
    """What of a dataset is left out: counts of records that become no items, and columns."""

    categories: Counter[str] = field(default_factory=Counter)
    """Records of each category that was not requested."""
    other_language: int = 0
    """Records of items that have another record in the requested language."""
    over_limit: int = 0
    """Records of requested categories behind the last one that `limit` allows."""
    columns: dict[str, str] = field(default_factory=dict)
    """Columns called `images` or `turns` that hold no list -> the first record with one. They are ignored."""

    def total(self) -> int:
        """Return the number of all records."""
        return self.categories.total() + self.other_language + self.over_limit


def parse_records(selection: Selection, skipped: Skipped, *, others: bool = False) -> Iterator[ParsedRecord]:
    """Parse the records that become items.

    The rest is counted in `skipped`. With `others`, those are yielded, too, that would be items with other categories,
    in the other language or without the limit. Raises UserError at the first invalid record that becomes an item.
    """
    taken = Counter[str]()
    for raw in _read_raw(selection):
        own_id = raw.fields.get(selection.names.get("item_id", "item_id"))
        known = not own_id or format_value(own_id) in raw.where
        where = raw.where if known else f"{raw.where}, item_id {format_value(own_id)}"
        record = Record(raw.fields, selection.names, f"{selection.dataset}, {where}")
        native = record.require_text("category")
        category = _normalise(native) if selection.is_public else _match_category(native, selection.categories)
        if category not in selection.categories:
            skipped.categories[category] += 1
            left_out = LeftOut.LANGUAGE if raw.other_language else LeftOut.CATEGORY
        elif raw.other_language:
            skipped.other_language += 1
            left_out = LeftOut.LANGUAGE
        elif taken[category] == selection.limit:
            skipped.over_limit += 1
            left_out = LeftOut.LIMIT
        else:
            taken[category] += 1
            skipped.columns |= dict.fromkeys(record.list_ignored() - skipped.columns.keys(), record.where)
            yield _parse(record, raw, where, (category, native), selection)
            continue
        if others:
            with suppress(UserError):  # then it never could be an item; its mistakes concern nobody in this run
                parsed = _parse(record, raw, where, (category, native), selection)
                yield replace(parsed, left_out=left_out)


def _read_raw(selection: Selection) -> Iterator[RawRecord]:
    if selection.is_public:
        yield from PUBLIC_FORMATS[selection.format].read(selection.dataset, selection.language)
    else:
        for where, fields in read_records(selection.dataset, selection.format, edited=not selection.edits_apart):
            yield RawRecord(file=selection.dataset, where=where, fields=fields)


def _parse(
    record: Record, raw: RawRecord, where: str, categories: tuple[str, str], selection: Selection
) -> ParsedRecord:
    format, language = selection.format, selection.language
    instruction, language_found, turns = require_instruction(record, language)
    folder = (raw.root or raw.file.parent).resolve()
    is_base64 = format == "base64-json"
    images = _require_images(record, encoded=is_base64)
    located = [_locate(image, folder, record, format) for image in images]
    given = record.get_image("edited") if format == "pairs" else None
    given_id = record.get_label("item_id")
    is_chain = bool(turns) and format != "pairs"  # which has one edit for all turns
    written = [str(text) if isinstance(found, Path) else None for text, found in zip(images, located, strict=True)]
    name = record.get_label("name") if is_base64 else written[0]
    edit_names = list_edit_names(given_id or _stem(name), raw.edit_names, categories, format)
    of_turns = [name_edits_of_turn(edit_names, number) for number in range(1, len(turns) + 1)] if is_chain else []
    return ParsedRecord(
        where=where,
        left_out=None,
        given_id=given_id,
        name=name,
        category=categories[0],
        instruction=instruction,
        language=language_found,
        image=located[0],
        edited=None if given is None else _locate(given, folder, record, format),
        edit_names=(*edit_names, *(of_turns[-1] if of_turns else ())),
        description=(record.choose_language("description", language) or (None,))[0],
        rationale=(record.choose_language("rationale", language) or (None,))[0],
        tags=record.get_tags(),
        difficulty=record.get_label("difficulty"),
        reference_image=raw.reference_image,
        references=tuple(located[1:]),
        reference_names=tuple(written[1:]),
        turns=turns,
        is_chain=is_chain,
        earlier=tuple(
            EarlierTurn(where=f"{where}, turn {number}", edit_names=names)
            for number, names in enumerate(of_turns[:-1], 1)
        ),
    )


def _require_images(record: Record, *, encoded: bool) -> list[str | bytes]:
    images = record.list_images(encoded=encoded)
    if not images:
        raise UserError(f"{record.where} has no {record.own_name('image')}.")
    if len(images) > MOST_IMAGES:
        raise UserError(f"{record.where} has {len(images)} images; an item has at most {MOST_IMAGES}. Remove some.")
    return images


def _locate(image: str | bytes, folder: Path, record: Record, format: str) -> RawImage:
    if isinstance(image, bytes) or format == "base64-json" or _is_base64(image, folder):
        return image
    return _resolve_inside(folder, image, record)


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
    return len(text) >= _BASE64_LENGTH and "." not in text and not is_file(folder / text)


def _resolve_inside(folder: Path, text: str, record: Record) -> Path:
    """Resolve a path within the dataset's folder, following links. Raises UserError if it leads out of the folder."""
    try:
        path = (folder / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{record.where}: {format_value(text)} is not a usable path ({error}).") from error
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    if absolute:
        raise UserError(
            f"{record.where}: the path {format_value(text)} is absolute, so it leads out of the folder of the dataset "
            "file when that is moved. Put the image into that folder and give its path relative to it."
        )
    if not path.is_relative_to(folder):
        raise UserError(
            f"{record.where}: the path {format_value(text)} leads out of the folder of the dataset file. Put the image "
            "into that folder and give its path relative to it."
        )
    return path
