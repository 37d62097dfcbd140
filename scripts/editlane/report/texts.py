"""Load the report's own words, in English or Chinese. Names and instructions are data and are not translated."""

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
    """The texts of one language. Call it with a key such as `page.title` and the values of the placeholders."""

    language: str
    entries: Mapping[str, str]
    """Dotted key -> text."""

    def __call__(self, key: str, /, **values: object) -> str:
        """Return the text under `key`; with a number `n`, under `key.one` or `key.other`. Raises KeyError."""
        if key not in self.entries:
            key += ".one" if values.get("n") == 1 else ".other"
        return self.entries[key].format(**values)

    def join(self, words: Iterable[str]) -> str:
        """Join words with the language's comma."""
        return self("page.comma").join(words)


@cache
def load_texts(language: str) -> Texts:
    """Load the texts of one of LANGUAGES."""
    files = (f"{language}.yaml", f"runs.{language}.yaml", f"arena.{language}.yaml")
    texts = [yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in files]
    return Texts(language, dict(pair for one in texts for pair in _flatten(one)))


def _flatten(texts: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, entry in texts.items():
        if isinstance(entry, str):
            yield path + key, entry
        else:
            yield from _flatten(entry, f"{path}{key}.")
