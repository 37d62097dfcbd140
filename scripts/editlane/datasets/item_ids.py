"""Item ids: file names that stay the same however a dataset is ordered, cut or mixed with another."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

MAX_BYTES = 120
"""Of a name in UTF-8; file systems allow 255, and suffixes such as `.png.partial` follow."""

_UNSAFE = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def digest(*parts: str | None) -> str:
    """SHA-256, in hex, of texts in this order."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def safe_name(text: str) -> str:
    """The text as one file name on any system: NFC, at most MAX_BYTES, `_` for what cannot stand there."""
    text = unicodedata.normalize("NFC", text)
    text = "".join("_" if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} else letter for letter in text)
    text = _UNSAFE.sub("_", text)
    if _RESERVED.fullmatch(text):
        text = "_" + text
    return re.sub(r"^[. ]|[. ]$", "_", _cut(text, MAX_BYTES)) or "_"


def given_id(text: str) -> str:
    """A dataset's own id as a file name. Where that changes it, a hash of the id keeps it apart from its neighbours."""
    text = unicodedata.normalize("NFC", text)
    name = safe_name(text)
    return name if name == text else _extended(name, digest(text)[:8])


def made_id(name: str | None, source_sha256: str, instruction: str, category: str) -> str:
    """An id for an item without one: the stem of its image's name, and a hash of what makes it this item.

    `name` is the image's path as the dataset gives it; an image without a name goes by its bytes.
    """
    name = unicodedata.normalize("NFC", name) if name else None
    stem = re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0] if name else source_sha256[:8]
    return _extended(safe_name(stem), digest(name or source_sha256, instruction, category)[:8])


def _extended(name: str, suffix: str) -> str:
    return _cut(name, MAX_BYTES - len(suffix) - 1) + "-" + suffix


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")


def unique_ids(ids: Sequence[str], identities: Sequence[str]) -> list[str]:
    """The ids with every two apart; `identities` are hashes (hex) of all that is known about each item.

    Of wholly identical items the second becomes `-2`, the third `-3`, and so on. Different items that share an id all
    get the start of their identity, so that their order does not matter.
    """
    seen: Counter[str] = Counter()
    bases, hashes = [], []
    for name, identity in zip(ids, identities, strict=True):
        seen[identity] += 1
        copy = seen[identity]
        bases.append(name if copy == 1 else _extended(name, str(copy)))
        hashes.append(identity if copy == 1 else digest(identity, str(copy)))
    unique = bases
    for length in (8, 16, 64):
        times = Counter(unique)
        unique = [
            name if times[name] == 1 else _extended(base, hash[:length])
            for name, base, hash in zip(unique, bases, hashes, strict=True)
        ]
    return unique
