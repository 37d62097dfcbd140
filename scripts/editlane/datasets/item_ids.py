"""Make item ids: file names that do not change if a dataset is reordered, cut or merged with another."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

MAX_BYTES = 120
"""Limit of a name in UTF-8. File systems allow 255 bytes, and suffixes such as `.png.partial` are appended."""

_UNSAFE = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def digest(*parts: str | None) -> str:
    """Hash texts in this order; SHA-256 in hex."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def make_safe_name(text: str) -> str:
    """Turn text into a file name that is valid on any system: NFC, at most MAX_BYTES, `_` for invalid characters."""
    text = unicodedata.normalize("NFC", text)
    text = "".join("_" if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} else letter for letter in text)
    text = _UNSAFE.sub("_", text)
    if _RESERVED.fullmatch(text):
        text = "_" + text
    return re.sub(r"^[. ]|[. ]$", "_", _cut(text, MAX_BYTES)) or "_"


def sanitise_id(text: str) -> str:
    """Turn a dataset's own id into a file name. If this changes the id, a hash of it is appended to keep it unique."""
    text = unicodedata.normalize("NFC", text)
    name = make_safe_name(text)
    return name if name == text else _append(name, digest(text)[:8])


def derive_id(
    name: str | None, source_sha256: str, instruction: str, category: str, references: Sequence[str] = ()
) -> str:
    """Derive an id for an item without one: the stem of its image's name, and a hash of the item's contents.

    `name` is the image's path as written in the dataset. An image without a name is identified by its bytes.
    `references`: the same of further images, a path or a hash each.
    """
    name = unicodedata.normalize("NFC", name) if name else None
    stem = re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0] if name else source_sha256[:8]
    return _append(make_safe_name(stem), digest(name or source_sha256, instruction, category, *references)[:8])


def _append(name: str, suffix: str) -> str:
    return _cut(name, MAX_BYTES - len(suffix) - 1) + "-" + suffix


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")


def name_samples(ids: Sequence[str], samples: int) -> dict[str, list[str]]:
    """Return the ids of each item's further samples, `-seed2` to `-seed{samples}`, by its own id; see `_number`."""
    return _number("seed", dict.fromkeys(ids, range(2, samples + 1)), ids)


def name_turns(counts: Mapping[str, int], ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids of the turns of records, `-turn1` to `-turn{count}`, by the record's id; see `_number`.

    `ids`: those of all records.
    """
    return _number("turn", {name: range(1, count + 1) for name, count in counts.items()}, ids)


def number_turn(name: str, turn: int) -> str:
    """Return the id of a turn, if no other item has it; see `name_turns`."""
    return _add(name, f"turn{turn}", taken=False)


def _number(word: str, numbers: Mapping[str, Sequence[int]], taken: Iterable[str]) -> dict[str, list[str]]:
    """Return an id of `word` and each number, by the id that they are appended to.

    An id that is taken, or that two long ids might share, also gets the hash of the id it is appended to.
    """
    plain = {base: [_append(base, f"{word}{number}") for number in of_base] for base, of_base in numbers.items()}
    times = Counter([*taken, *(name for names in plain.values() for name in names)])
    return {
        base: [
            _add(base, f"{word}{number}", taken=times[name] > 1) for name, number in zip(plain[base], own, strict=True)
        ]
        for base, own in numbers.items()
    }


def _add(base: str, suffix: str, *, taken: bool) -> str:
    """Return an id with a suffix, and with the hash of the id if the name is `taken`, or if the id has to be cut."""
    name = _append(base, suffix)
    return _append(base, f"{digest(base)[:16]}-{suffix}") if taken or not name.startswith(base) else name


def make_unique(ids: Sequence[str], identities: Sequence[str]) -> list[str]:
    """Make the ids unique. `identities` are hashes (hex) of everything known about each item.

    Identical items get `-2`, `-3` and so on, from the second on. Different items that share an id all get the start of
    their identity as a suffix, so that the result does not depend on their order.
    """
    seen: Counter[str] = Counter()
    bases, hashes = [], []
    for name, identity in zip(ids, identities, strict=True):
        seen[identity] += 1
        copy = seen[identity]
        bases.append(name if copy == 1 else _append(name, str(copy)))
        hashes.append(identity if copy == 1 else digest(identity, str(copy)))
    unique = bases
    for length in (8, 16, 64):
        times = Counter(unique)
        unique = [
            name if times[name] == 1 else _append(base, hash[:length])
            for name, base, hash in zip(unique, bases, hashes, strict=True)
        ]
    return unique
