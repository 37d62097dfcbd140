"""What a dataset's record says: its fields checked, its language chosen, its image found but not yet read."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Number
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from editlane.dataset_files import read_records
from editlane.errors import UserError

LANGUAGES = ("en", "zh")

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

_TAG_SEPARATORS = re.compile(r"[;,|；，、]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_BASE64_LENGTH = 64
_PATH_LENGTH = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One checked record of an asked category. An image is a path inside the dataset's folder, or base64 text."""

    where: str
    given_id: str | None
    name: str | None
    """The image's path as the dataset gives it; null for an image without one."""
    category: str
    instruction: str
    language: str
    image: Path | str
    edited: Path | str | None
    description: str | None
    rationale: str | None
    tags: tuple[str, ...]
    difficulty: str | None


@dataclass(frozen=True, slots=True)
class _Record:
    """A record's fields by our names."""

    fields: dict[str, Any]
    names: dict[str, str]
    where: str

    def name(self, field: str) -> str:
        stem, _, language = field.rpartition("_")
        if language in LANGUAGES:
            return f"{self.names.get(stem, stem)}_{language}"
        return self.names.get(field, field)

    def text(self, field: str) -> str | None:
        """The field's text; None where it is absent, null or blank. Raises UserError where it is something else."""
        value = self.fields.get(self.name(field))
        if value is None or value != value:  # NaN is how data frames write null
            return None
        if not isinstance(value, str):
            raise UserError(f"{self.where}: {self.name(field)} is {_shown(value)}, not text.")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{self.where}: {self.name(field)} holds half a character ({error.reason}).") from error
        return value if value.strip() else None

    def label(self, field: str) -> str | None:
        """As `text`, with a number as its digits."""
        value = self.fields.get(self.name(field))
        if isinstance(value, Number) and not isinstance(value, bool) and value == value:
            return str(value)
        return self.text(field)

    def required(self, field: str) -> str:
        if (text := self.text(field)) is None:
            raise UserError(f"{self.where} has no {self.name(field)}.")
        return text

    def in_language(self, field: str, language: str) -> tuple[str, str] | None:
        """(text, language) of a field, in the asked language if it is there. A field without a language in its name
        is in the one that no other field has, else in that of its letters.
        """
        texts = {name: self.text(f"{field}_{name}") for name in LANGUAGES}
        if bare := self.text(field):
            open_ones = [name for name in LANGUAGES if not texts[name]]
            spoken = language_of(bare) or language
            if bare not in texts.values() and spoken not in open_ones and open_ones:
                spoken = open_ones[0]
            texts[spoken] = texts[spoken] or bare
        return next(((text, name) for name in (language, *LANGUAGES) if (text := texts[name])), None)


def read_drafts(
    dataset: Path, format: str, language: str, categories: tuple[str, ...], skipped: Counter[str]
) -> Iterator[Draft]:
    """The records of the asked categories; the others are counted in `skipped`.

    Raises UserError at the first record with a mistake.
    """
    names = BASE64_JSON_FIELDS if format == "base64-json" else {}
    folder = dataset.parent.resolve()
    for place, fields in read_records(dataset, format):
        where = f"{place}, item_id {_shown(fields['item_id'])}" if fields.get("item_id") else place
        record = _Record(fields, names, f"{dataset}, {where}")
        category = _category(record.required("category"), categories)
        if category not in categories:
            skipped[category] += 1
            continue
        yield _draft(record, where, category, language, folder, format)


def _draft(record: _Record, where: str, category: str, language: str, folder: Path, format: str) -> Draft:
    spoken = record.in_language("instruction", language)
    if spoken is None:
        name = record.name("instruction")
        raise UserError(f"{record.where} has no instruction ({name}, {name}_en or {name}_zh).")
    instruction, language_found = spoken
    image = record.required("image")
    source = image if format == "base64-json" or _is_base64(image, folder) else _inside(folder, image, record)
    edited = record.text("edited") if format == "pairs" else None
    return Draft(
        where=where,
        given_id=record.label("item_id"),
        name=record.label("name") if format == "base64-json" else image if isinstance(source, Path) else None,
        category=category,
        instruction=instruction,
        language=language_found,
        image=source,
        edited=edited if edited is None or _is_base64(edited, folder) else _inside(folder, edited, record),
        description=(record.in_language("description", language) or (None,))[0],
        rationale=(record.in_language("rationale", language) or (None,))[0],
        tags=_tags(record.fields.get("tags")),
        difficulty=record.label("difficulty"),
    )


def _category(text: str, categories: tuple[str, ...]) -> str:
    category = unicodedata.normalize("NFC", text).strip()
    return category if category in categories else ENGLISH_CATEGORIES.get(category.lower(), category)


def language_of(text: str) -> str | None:
    """`zh` or `en` by the letters: one Han character counts as much as one Latin word. None where there is neither."""
    han, latin = len(_HAN.findall(text)), len(_LATIN_WORD.findall(text))
    return None if han == latin == 0 else "zh" if han > latin else "en"


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


def _inside(folder: Path, text: str, record: _Record) -> Path:
    """The path of a file in the dataset's folder, links followed. Raises UserError where it leads out of it."""
    try:
        path = (folder / text).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{record.where}: {_shown(text)} is not a usable path ({error}).") from error
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    if absolute or not path.is_relative_to(folder):
        raise UserError(
            f"{record.where}: the path {_shown(text)} leads out of the folder of the dataset file. Put the image into "
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


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
