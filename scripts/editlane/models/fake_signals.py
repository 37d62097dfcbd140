"""Code that the fake editor and the fake judge share: chance by hashing, signatures, waiting."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from PIL.Image import Image, frombytes
from pydantic import AfterValidator, Field

SIDE = 8
"""Side of a signature in pixels."""
_ROW = 3 * SIDE
_MARK = hashlib.shake_256(b"signed by the fake editor").digest(_ROW)


def hash_to_share(*parts: str | bytes | Image) -> float:
    """Hash `parts` to a number in [0, 1). It is equal in every process and order of items."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Image):
            data = f"{part.mode} {part.size} ".encode() + part.tobytes()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest()[:6], "big") / 2**48


def make_signature(instruction: str) -> Image:
    """Return SIDE x SIDE RGB pixels: a row that no photo has, then a hash of the instruction."""
    return frombytes("RGB", (SIDE, SIDE), _MARK + _hash_instruction(instruction))


def is_signed(image: Image) -> bool:
    """Return True if the top left corner of the image is any signature."""
    return _crop_corner(image).startswith(_MARK)


def is_signed_for(image: Image, texts: Iterable[str]) -> bool:
    """Return True if the image is signed for an instruction in these texts: whole lines, or what follows a colon."""
    corner = _crop_corner(image)
    return any(corner == _MARK + _hash_instruction(part) for text in texts for part in _split_text(text))


def name_reference(instruction: str) -> str:
    """Return the name of the file that shows what the instruction asks for."""
    return f"{_hash_instruction(instruction)[:8].hex()}.png"


def find_reference(folder: Path, texts: Iterable[str]) -> Path | None:
    """Find the picture of what an instruction in these texts asks for (see is_signed_for), or None."""
    named = (folder / name_reference(part) for text in texts for part in _split_text(text))
    return next((path for path in named if path.is_file()), None)


def _hash_instruction(instruction: str) -> bytes:
    return hashlib.shake_256(instruction.encode()).digest(_ROW * (SIDE - 1))


def _crop_corner(image: Image) -> bytes:
    return image.crop((0, 0, SIDE, SIDE)).convert("RGB").tobytes()


def _split_text(text: str) -> Iterator[str]:
    lines = text.split("\n")
    for first, line in enumerate(lines):
        starts = [0, *(colon.end() for colon in re.finditer("[:：] ?", line))]
        for last in range(first, len(lines)):  # an instruction may have lines itself
            run = "\n".join(lines[first : last + 1])
            yield from (run[start:] for start in starts)


def _check_order(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError(f"{pair} has the larger number first; use [least, most].")
    return pair


_AtLeast0 = Annotated[float, Field(ge=0)]
_Pair = Annotated[list[_AtLeast0], Field(min_length=2, max_length=2), AfterValidator(_check_order)]
Seconds = _AtLeast0 | _Pair
"""Number of seconds, or a pair [least, most]."""


def pick_duration(seconds: Seconds, share: float) -> float:
    """Return the seconds to wait: the number itself, or the point at `share` (0..1) between the two of a pair."""
    if isinstance(seconds, list):
        return seconds[0] + (seconds[1] - seconds[0]) * share
    return seconds
