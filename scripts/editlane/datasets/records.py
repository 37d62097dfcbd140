"""A dataset's record under our names: each field checked as it is read, each text in the language asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Number
from typing import Any

from editlane.core.errors import UserError

LANGUAGES = ("en", "zh")

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+")


@dataclass(frozen=True, slots=True)
class Record:
    """A record's fields by our names."""

    fields: dict[str, Any]
    names: Mapping[str, str]
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
            raise UserError(f"{self.where}: {self.name(field)} is {shown(value)}, not text.")
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

    def image(self, field: str) -> str | bytes | None:
        """A path or base64 as text, or the bytes, also from a struct of both as the `datasets` library stores it."""
        value = self.fields.get(self.name(field))
        if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
            value = value["bytes"] or value["path"]
            return value if isinstance(value, bytes) else Record({field: value}, {}, self.where).text(field)
        return value if isinstance(value, bytes) else self.text(field)

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


def language_of(text: str) -> str | None:
    """`zh` or `en` by the letters: one Han character counts as much as one Latin word. None where there is neither."""
    han, latin = len(_HAN.findall(text)), len(_LATIN_WORD.findall(text))
    return None if han == latin == 0 else "zh" if han > latin else "en"


def shown(value: Any) -> str:
    """A value as messages show it, 80 characters at most."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
