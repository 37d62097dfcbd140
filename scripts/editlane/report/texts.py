"""The report's own words, in English and in Chinese. Names and instructions are data and stay as they are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = ("en", "zh")
FOLDER = Path(__file__).parent / "texts"


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """The texts of one language; call it with a key such as `page.title` and the text's placeholders."""

    language: str
    entries: Mapping[str, str]
    """By dotted key."""

    def __call__(self, key: str, /, **values: object) -> str:
        """The text under `key`, or, for a number `n`, the one under `key.one` or `key.other`. Raises KeyError."""
        if key not in self.entries:
            key += ".one" if values.get("n") == 1 else ".other"
        return self.entries[key].format(**values)

    def join(self, words: Iterable[str]) -> str:
        """An enumeration."""
        return self("page.comma").join(words)


@cache
def load_texts(language: str) -> Texts:
    """The texts of one of LANGUAGES."""
    with (FOLDER / f"{language}.yaml").open(encoding="utf-8") as file:
        return Texts(language, dict(_flatten(yaml.safe_load(file))))


def _flatten(texts: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, entry in texts.items():
        if isinstance(entry, str):
            yield path + key, entry
        else:
            yield from _flatten(entry, f"{path}{key}.")
