"""What the fake editor and the fake judge share: chance without a generator, signatures, waiting."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from PIL.Image import Image, frombytes

from editlane.core.errors import UserError
from editlane.core.params import check_number

SIDE = 8
"""Pixels of a signature's side."""
_ROW = 3 * SIDE
_MARK = hashlib.shake_256(b"signed by the fake editor").digest(_ROW)


def chance(*parts: str | bytes | Image) -> float:
    """A number in [0, 1) that depends on nothing but the content of `parts`: equal in every process and order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Image):
            data = f"{part.mode} {part.size} ".encode() + part.tobytes()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest()[:6], "big") / 2**48


def signature(instruction: str) -> Image:
    """SIDE x SIDE RGB pixels: a row that no photo has, then a hash of the instruction."""
    return frombytes("RGB", (SIDE, SIDE), _MARK + _written(instruction))


def is_signed(image: Image) -> bool:
    """Whether the image has a signature, whichever, in its top left corner."""
    return _corner(image).startswith(_MARK)


def is_signed_for(image: Image, texts: Iterable[str]) -> bool:
    """Whether its signature is that of an instruction in these texts: whole lines, or what follows a colon."""
    corner = _corner(image)
    return any(corner == _MARK + _written(part) for text in texts for part in _parts(text))


def _written(instruction: str) -> bytes:
    return hashlib.shake_256(instruction.encode()).digest(_ROW * (SIDE - 1))


def _corner(image: Image) -> bytes:
    return image.crop((0, 0, SIDE, SIDE)).convert("RGB").tobytes()


def _parts(text: str) -> Iterator[str]:
    lines = text.split("\n")
    for first, line in enumerate(lines):
        starts = [0, *(colon.end() for colon in re.finditer("[:：] ?", line))]
        for last in range(first, len(lines)):  # an instruction may have lines itself
            run = "\n".join(lines[first : last + 1])
            yield from (run[start:] for start in starts)


def check_seconds(value: Any) -> None:
    """Raises UserError unless `value` is a number of seconds or a pair [least, most]."""
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise UserError(f"seconds is {value!r}; use a number, or a list of the least and the most.")
        check_number("seconds[0]", value[0], 0)
        check_number("seconds[1]", value[1], value[0])
    else:
        check_number("seconds", value, 0)


def duration(seconds: Any, share: float) -> float:
    """Seconds to wait: the number itself, or the point at `share` (0..1) between the two of a pair."""
    if isinstance(seconds, list | tuple):
        return float(seconds[0] + (seconds[1] - seconds[0]) * share)
    return float(seconds)
