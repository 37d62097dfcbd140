"""Hide a server's key in what the server sends back: whole or in parts, plain or encoded.

A server may echo its request anywhere, and a proxy may wrap the echo in percent signs, JSON, HTML or base64.
"""

import base64
import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

SHORTEST_KEY = 4
"""Characters of a key that is hidden. A shorter one, such as `x` for a server that asks for any, is in every text."""
_PART = 8
"""Characters of the key in a row that give it away."""
_LONGEST_TEXT = 100_000
"""Characters that are kept of a text in a reply, because undoing escapes takes memory."""
_MASK = "***"

_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[^ux]|&#?\w{1,8};")
_SPACE = re.compile("[\\s\\x00-\\x1f\\u200b-\\u200f\\u2060\\ufeff]+")
"""What may stand between the letters of the key."""
_LAYERS = 3
"""Encodings on top of each other that are undone."""

_HALF = re.compile("[\ud800-\udfff]")

Letters = list[tuple[str, int, int]]
"""Letters with their places in the text: its begin and its end there."""


class KeyMask:
    """Hides one key; None hides nothing."""

    def __init__(self, key: str | None) -> None:
        needles = list(_spell(key)) if key and len(key) >= SHORTEST_KEY else []
        parts = {_lower(part) for needle in needles for part in _cut(needle)}
        self._parts = re.compile("|".join(map(re.escape, sorted(parts, key=len, reverse=True)))) if parts else None
        self._shortest = min(map(len, parts), default=0)

    def hide(self, text: str) -> str:
        """Return the text with every part of the key replaced by `***`."""
        if self._parts is None or len(text) < self._shortest:
            return text
        if not any(map(self._parts.search, (_lower(text), _lower(_SPACE.sub("", text))))) and not _ESCAPE.search(text):
            return text  # as nearly always
        letters = [(letter, place, place + 1) for place, letter in enumerate(text)]
        found = set(self._find(letters))
        letters = [letter for letter in letters if not _SPACE.match(letter[0])]
        found.update(self._find(letters))
        for _ in range(_LAYERS):
            decoded = _decode(letters)
            if len(decoded) == len(letters):
                break
            letters = decoded
            found.update(self._find(letters))
        return _replace(text, found) if found else text

    def clean(self, value: Any) -> Any:
        """Return parsed JSON with the key hidden in all of its texts, which are cut to a length that nobody needs, and
        without halves of characters, which no file takes. Raises RecursionError."""
        match value:
            case str():
                return self.hide(_HALF.sub("\ufffd", value[:_LONGEST_TEXT]))
            case list():
                return [self.clean(one) for one in value]
            case dict():
                return {self.clean(name): self.clean(one) for name, one in value.items()}
        return value

    def _find(self, letters: Letters) -> Iterator[tuple[int, int]]:
        """Yield the places in the text that hold a part of the key."""
        assert self._parts is not None
        text = _lower("".join(letter for letter, _, _ in letters))
        place = 0
        while found := self._parts.search(text, place):
            yield letters[found.start()][1], letters[found.end() - 1][2]
            place = found.start() + 1  # parts overlap


def _spell(key: str) -> Iterator[str]:
    """Yield the key, in hexadecimal digits, and in base64 at each of the three places where a group may begin."""
    data = key.encode()
    yield key
    yield data.hex()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        own = encoded[(0, 2, 3)[before] : len(encoded) - (len(encoded) % 4 > 0)]  # the ends depend on the neighbours
        if len(own) >= SHORTEST_KEY:
            yield from {own, own.replace("+", "-").replace("/", "_")}


def _cut(needle: str) -> list[str]:
    return [needle[place : place + _PART] for place in range(max(1, len(needle) - _PART + 1))]


def _lower(text: str) -> str:
    """Lower the ASCII letters only, so that every letter keeps its place."""
    return text.translate(_SMALL)


_SMALL = {ord(letter): ord(letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _decode(letters: Letters) -> Letters:
    """Undo one layer of escapes."""
    text, decoded, place = "".join(letter for letter, _, _ in letters), [], 0
    for found in _ESCAPE.finditer(text):
        decoded += letters[place : found.start()]
        begin, end = letters[found.start()][1], letters[found.end() - 1][2]
        decoded += [(letter, begin, end) for letter in _unescape(found[0])]
        place = found.end()
    return decoded + letters[place:]


def _unescape(escape: str) -> str:
    if escape[0] == "%":
        return unquote(escape, errors="replace")
    if escape[0] == "&":
        return html.unescape(escape)
    return chr(int(escape[2:], 16)) if escape[1] in "ux" else escape[1:]


def _replace(text: str, found: set[tuple[int, int]]) -> str:
    """Replace these places; those that touch count as one."""
    kept: list[str] = []
    place = 0
    for begin, end in sorted(found):
        if begin > place or not kept:
            kept += [text[place:begin], _MASK]
        place = max(place, end)
    return "".join(kept) + text[place:]
