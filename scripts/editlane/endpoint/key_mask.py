"""Hide a server's key in what the server sends back: whole or in parts, plain or encoded.

A server may echo its request anywhere, and a proxy may wrap the echo in percent signs, JSON, HTML or base64. A server
that is set on it can spell the key in a way that is not known here.
"""

import base64
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

SHORTEST_KEY = 4
"""Characters of a key that is hidden. A shorter one, such as `x` for a server that asks for any, is in every text."""
_PART = 8
"""Characters of the key in a row that give it away."""
_BYTES = 5
"""The same where each is spelled as a number."""
_LONGEST_TEXT = 100_000
"""Characters that are kept of a text in a reply, because undoing escapes takes memory."""
_MASK = "***"

_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[0-7]{1,3}|\\[^ux]|&#?\w{1,8};")
_LAYERS = 3
"""Encodings on top of each other that are undone."""

_CONTROLS = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))

_NUMBERS = ("{:02x}", "0x{:02x}", "u{:04x}", "{}", "{:03}", "{:o}", "{:03o}", "{:08b}")
"""Spellings of a byte. What stands between them does not matter."""

_SEPARATORS = re.compile("[^0-9a-z]+")
_HALF = re.compile("[\ud800-\udfff]")

Letters = list[tuple[str, int, int]]
"""Letters with their places in the text: its begin and its end there."""


class KeyMask:
    """Hides one key; None hides nothing."""

    def __init__(self, key: str | None) -> None:
        parts = {part for part in _spell(key) if part} if key and len(key) >= SHORTEST_KEY else set()
        self._parts = re.compile("|".join(map(re.escape, sorted(parts, key=len, reverse=True)))) if parts else None
        self._shortest = min(map(len, parts), default=0)
        self._folds = key is not None and len(_fold(key)) >= _PART

    def hide(self, text: str) -> str:
        """Return the text with every part of the key replaced by `***`."""
        if self._parts is None or len(text) < self._shortest or not self._is_in(text):
            return text
        letters = [(letter, place, place + 1) for place, letter in enumerate(text)]
        found = set(self._find(letters))
        for _ in range(_LAYERS):
            letters, before = _decode(letters), letters
            if letters == before:
                break
            found.update(self._find(letters))
        return _replace(text, found)

    def _is_in(self, text: str) -> bool:
        """Return whether `_find` will find a part: fast, because nearly no text has one."""
        assert self._parts is not None
        for _ in range(_LAYERS + 1):
            if self._parts.search(text.lower()) or (self._folds and self._parts.search(_fold(text))):
                return True
            text, before = _ESCAPE.sub(lambda found: _unescape(found[0]), text), text
            if text == before:
                break
        return False

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
        """Yield the places in the text that hold a part of the key, as it stands or between other characters."""
        assert self._parts is not None
        views = [[(letter.lower()[:1], begin, end) for letter, begin, end in letters]]
        if self._folds:  # a short key is in much of what people write, with the spaces gone
            views.append([(one, begin, end) for letter, begin, end in letters for one in _fold_letter(letter)])
        for spelled in views:
            text = "".join(letter for letter, _, _ in spelled)
            place = 0
            while found := self._parts.search(text, place):
                yield spelled[found.start()][1], spelled[found.end() - 1][2]
                place = found.start() + 1  # parts overlap


def _fold(text: str) -> str:
    """Return the ASCII letters and digits of a text in lower case: invisible and separating characters go."""
    if not text.isascii():  # one by one, because a letter and an accent would become a letter that is not ASCII
        text = "".join(unicodedata.normalize("NFKC", letter) for letter in text)
    return _SEPARATORS.sub("", text.lower())


_fold_letter = lru_cache(maxsize=1000)(_fold)


def _spell(key: str) -> Iterator[str]:
    """Yield the parts of the key, as they are and in encodings, as `_fold` leaves them."""
    data = key.encode()
    for number in _NUMBERS:
        for part in _cut(key, _BYTES):
            yield "".join(number.format(byte) for byte in part.encode())
    yield from _cut(key.lower())
    if len(_fold(key)) < _PART:
        return
    whole = [key, key[::-1], codecs.encode(key, "rot13"), *_encode(data, base64.b64encode, 6)]
    whole += _encode(data, base64.urlsafe_b64encode, 6) + _encode(data, base64.b32encode, 5)
    for needle in map(_fold, whole):
        yield from _cut(needle)


def _encode(data: bytes, encode: Any, bits: int) -> list[str]:
    """Encode in characters of so many bits, at each place where a group may begin, without what neighbours decide."""
    group = 3 if bits == 6 else 5
    spelled = []
    for before in range(group):
        begin, end = -(-8 * before // bits), 8 * (before + len(data)) // bits
        spelled.append(encode(bytes(before) + data).decode()[begin:end])
    return spelled


def _cut(needle: str, length: int = _PART) -> list[str]:
    return [needle[place : place + length] for place in range(max(1, len(needle) - length + 1))]


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
    if escape[1] in "ux":
        return chr(int(escape[2:], 16))
    return chr(int(escape[1:], 8)) if escape[1] in "01234567" else _CONTROLS.get(escape[1], escape[1])


def _replace(text: str, found: set[tuple[int, int]]) -> str:
    """Replace these places; those that touch count as one."""
    kept: list[str] = []
    place = 0
    for begin, end in sorted(found):
        if begin > place or not kept:
            kept += [text[place:begin], _MASK]
        place = max(place, end)
    return "".join(kept) + text[place:]
