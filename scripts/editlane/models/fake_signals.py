"""What the fake editor and the fake judge share: chance without a generator, signatures, waiting."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Annotated

from PIL.Image import Image, frombytes
from pydantic import AfterValidator, Field

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


def _in_order(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError(f"{pair} has the most before the least; use [least, most].")
    return pair


_AtLeast0 = Annotated[float, Field(ge=0)]
_Pair = Annotated[list[_AtLeast0], Field(min_length=2, max_length=2), AfterValidator(_in_order)]
Seconds = _AtLeast0 | _Pair
"""A number of seconds, or a pair [least, most]."""


def duration(seconds: Seconds, share: float) -> float:
    """Seconds to wait: the number itself, or the point at `share` (0..1) between the two of a pair."""
    if isinstance(seconds, list):
        return seconds[0] + (seconds[1] - seconds[0]) * share
    return seconds
