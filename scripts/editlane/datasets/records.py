"""Read the fields of a dataset's record under our names. Each field is checked as it is read."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Number
from pathlib import PurePosixPath
from typing import Any

from editlane.core.errors import UserError, format_value
from editlane.images.decoding import SUFFIXES

LANGUAGES = ("en", "zh")

_TAG_SEPARATORS = re.compile(r"[;,|；，、]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+")


@dataclass(frozen=True, slots=True)
class Record:
    """A record's fields, looked up by our names."""

    fields: dict[str, Any]
    names: Mapping[str, str]
    where: str

    def own_name(self, field: str) -> str:
        """Return the name that the dataset uses for one of our fields."""
        stem, _, language = field.rpartition("_")
        if language in LANGUAGES:
            return f"{self.names.get(stem, stem)}_{language}"
        return self.names.get(field, field)

    def get_text(self, field: str) -> str | None:
        """Return the field's text, or None if it is absent, null or blank. Raises UserError for any other type."""
        value = self.fields.get(self.own_name(field))
        if value is None or value != value:  # NaN is how data frames write null
            return None
        if not isinstance(value, str):
            raise UserError(f"{self.where}: {self.own_name(field)} is {format_value(value)}, not text.")
        self._check_unicode(field, value)
        return value if value.strip() else None

    def _check_unicode(self, field: str, text: str) -> None:
        """Raise UserError for half a surrogate pair, which no table can hold."""
        try:
            text.isascii() or text.encode()  # an image as base64 is not copied
        except UnicodeEncodeError as error:
            raise UserError(
                f"{self.where}: {self.own_name(field)} has a character that is not valid Unicode ({error.reason})."
            ) from error

    def get_tags(self) -> tuple[str, ...]:
        """Return the tags from a list, a list as JSON text (CSV has no lists), or one text with separators."""
        value = self.fields.get("tags")
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                value = value.strip("[] ")
        if isinstance(value, str):
            value = _TAG_SEPARATORS.split(value)
        if not isinstance(value, list | tuple):
            return ()
        tags = tuple(tag for tag in (str(entry).strip() for entry in value if entry is not None) if tag)
        self._check_unicode("tags", "".join(tags))
        return tags

    def get_label(self, field: str) -> str | None:
        """Return the field like `get_text`, but format a number as text."""
        value = self.fields.get(self.own_name(field))
        if isinstance(value, Number) and not isinstance(value, bool) and value == value:
            return str(value)
        return self.get_text(field)

    def require_text(self, field: str) -> str:
        """Return the field's text. Raises UserError if it is absent, null or blank."""
        if (text := self.get_text(field)) is None:
            raise UserError(f"{self.where} has no {self.own_name(field)}.")
        return text

    def get_image(self, field: str) -> str | bytes | None:
        """Return a path or base64 as text, or bytes. Accepts the struct of bytes and path of the `datasets` library."""
        value = self.fields.get(self.own_name(field))
        if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
            value = value["bytes"] or (value["bytes"] if value["path"] is None else value["path"])
            return value if isinstance(value, bytes) else Record({field: value}, {}, self.where).get_text(field)
        return value if isinstance(value, bytes) else self.get_text(field)

    def list_images(self, *, encoded: bool) -> list[str | bytes]:
        """Return the images of `images`, or the one of `image`: the source first. Empty without one.

        `images` is a list, a list as JSON text, or names with | between them (CSV has no lists). `encoded`: see
        `get_encoded_image`. Raises UserError if both fields have images, if an entry of the list is empty, or if the
        list is and there is no `image`. Beside `image`, a column `images` without a list is another thing of the
        dataset (see `list_ignored`).
        """
        image = self.get_encoded_image("image") if encoded else self.get_image("image")
        listed = self._split_images(beside=image is not None)
        if not listed:
            if image is None:
                self._refuse_empty_list("image", "images")
            return [] if image is None else [image]
        names = f"{self.own_name('image')} and {self.own_name('images')}"
        if image is not None:
            raise UserError(f"{self.where} has {names}. Give one of them: `images` begins with the source.")
        entries = [Record({"image": entry}, {}, self.where) for entry in listed]
        found = [entry.get_encoded_image("image") if encoded else entry.get_image("image") for entry in entries]
        for number, one in enumerate(found, 1):
            if one is None:
                raise UserError(
                    f"{self.where}: image {number} of {self.own_name('images')} is empty. Write its path there, or "
                    "remove the entry."
                )
        return [one for one in found if one is not None]

    def _refuse_empty_list(self, single: str, *fields: str) -> None:
        """Raise UserError if one of these fields is a list without an entry; `single` is the field of a single one."""
        for name in map(self.own_name, fields):
            if _parse_list(self.fields.get(name)) == []:
                raise UserError(
                    f"{self.where} has no {self.own_name(single)}, and {name} is an empty list. Fill the list, or give "
                    f"one `{self.own_name(single)}`."
                )

    def _split_images(self, *, beside: bool) -> list[Any]:
        value = _parse_list(self.fields.get(self.own_name("images")))
        if isinstance(value, str) and (not beside or _names_images(value)):
            return [part.strip() for part in value.split("|")]
        if value is None or isinstance(value, list):
            return value or []
        if beside:
            return []
        raise UserError(
            f"{self.where}: {self.own_name('images')} is {format_value(value)}, not a list of images. Write paths in "
            "brackets, the source first."
        )

    def list_ignored(self) -> set[str]:
        """List columns called like our lists that hold none, beside the field that each would stand for.

        Many a dataset has an `image` and the number of its `images`, or an `instruction` and the number of its `turns`.
        """
        ignored = set()
        if self.fields.get(self.own_name("image")) and not self._split_images(beside=True):
            ignored.add("images")
        if self.choose_language("instruction", LANGUAGES[0]) and not self.choose_turns(LANGUAGES[0], beside=True):
            ignored |= {"turns", *(f"turns_{name}" for name in LANGUAGES)}
        names = {self.own_name(field) for field in ignored}
        return {name for name in names if _parse_list(self.fields.get(name)) not in (None, [])}

    def choose_turns(self, language: str, *, beside: bool) -> tuple[tuple[str, ...], str] | None:
        """Return (texts, language) of `turns`, in the requested language if available; None if there are none.

        `turns_en`, `turns_zh` and `turns` are lists, or lists as JSON text. The letters of `turns` tell its language.
        `beside` an instruction, a value that is no list is another thing of the dataset; else that and an empty list
        raise UserError.
        """
        listed = {name: self._get_texts(f"turns_{name}", beside) for name in LANGUAGES}
        if bare := self._get_texts("turns", beside):
            detected = detect_language("\n".join(bare)) or language
            listed[detected] = listed[detected] or bare
        if not beside and not any(listed.values()):
            self._refuse_empty_list("instruction", "turns", *(f"turns_{name}" for name in LANGUAGES))
        return next(((texts, name) for name in (language, *LANGUAGES) if (texts := listed[name])), None)

    def _get_texts(self, field: str, beside: bool) -> tuple[str, ...]:
        value = _parse_list(self.fields.get(self.own_name(field)))
        if value is None or (beside and not isinstance(value, list)):
            return ()
        if not isinstance(value, list):
            raise UserError(
                f"{self.where}: {self.own_name(field)} is {format_value(value)}, not a list of texts. Write one text "
                "for each turn, in brackets."
            )
        texts = [
            Record({field: entry}, {}, f"{self.where}, turn {number}").get_text(field)
            for number, entry in enumerate(value, 1)
        ]
        for number, text in enumerate(texts, 1):
            if text is None:
                raise UserError(
                    f"{self.where}: turn {number} of {self.own_name(field)} is empty. Write its text there, or remove "
                    "the entry."
                )
        return tuple(text for text in texts if text is not None)

    def get_encoded_image(self, field: str) -> str | bytes | None:
        """Return like `get_image` an image that is never a path: text without a letter is an image without a byte."""
        value = self.fields.get(self.own_name(field))
        return b"" if isinstance(value, str) and not value.strip() else self.get_image(field)

    def choose_language(self, field: str, language: str) -> tuple[str, str] | None:
        """Return (text, language) of a field, in the requested language if available.

        A field name without a language suffix stands for the language that its letters suggest. If that language has
        its own field, it stands for the other one.
        """
        texts = {name: self.get_text(f"{field}_{name}") for name in LANGUAGES}
        if bare := self.get_text(field):
            unset = [name for name in LANGUAGES if not texts[name]]
            detected = detect_language(bare) or language
            if bare not in texts.values() and detected not in unset and unset:
                detected = unset[0]
            texts[detected] = texts[detected] or bare
        return next(((text, name) for name in (language, *LANGUAGES) if (text := texts[name])), None)


def _parse_list(value: Any) -> Any:
    """Return a list, also one of JSON text, as a list, null and blank text as None, and all else as it is."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str) and value.lstrip().startswith("["):  # so may a file's name
        with suppress(ValueError, RecursionError):
            found = json.loads(value)
            return found if isinstance(found, list) else value
    return value


def _names_images(text: str) -> bool:
    return "|" in text or PurePosixPath(text).suffix.lower() in SUFFIXES


def detect_language(text: str) -> str | None:
    """Detect `zh` or `en` by the letters. A Han character counts as much as a Latin word. None without either."""
    han, latin = len(_HAN.findall(text)), len(_LATIN_WORD.findall(text))
    return None if han == latin == 0 else "zh" if han > latin else "en"
