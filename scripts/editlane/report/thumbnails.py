"""The pictures inside the page: small enough that a report of thousands of items can still be mailed."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from editlane.errors import ItemError
from editlane.images import fit_within, open_image

LEVELS = ((320, 72), (320, 50), (256, 45), (192, 40), (160, 35), (128, 30))
"""(longest side in pixels, WebP quality), best first."""

BUDGET = 12 * 2**20
"""Bytes that all pictures together should stay below; base64 makes a third more of them in the page."""

SAMPLE = 48
"""Pictures that are tried before a level is chosen for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnails:
    side: int
    """Longest side, pixels."""
    uris: dict[str, str]
    """`data:` URIs by the key of the picture; one that cannot be decoded is not there."""


def make_thumbnails(paths: Mapping[str, Path], budget: int = BUDGET) -> Thumbnails:
    """Encode every picture once, at the best level at which all of them together fit the budget."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # each holds a decoded image
        every = list(paths.values())
        sample = [image for image in pool.map(_small, every[:: max(1, len(every) // SAMPLE)]) if image]
        side, quality = choose_level(sample, len(every), budget)
        encoded = pool.map(lambda path: _encoded(path, side, quality), every)
        uris = {key: _uri(data) for key, data in zip(paths, encoded, strict=True) if data}
    return Thumbnails(side=side, uris=uris)


def choose_level(sample: Sequence[Image.Image], count: int, budget: int) -> tuple[int, int]:
    """The first level at which `count` pictures like the sample fit, else the last."""
    for side, quality in LEVELS:
        size = sum(len(_webp(image, side, quality)) for image in sample)
        if size / max(1, len(sample)) * count <= budget:
            return side, quality
    return LEVELS[-1]


def _small(path: Path) -> Image.Image | None:
    """The picture at the size of the best level; None where it cannot be read."""
    try:
        return fit_within(open_image(path, at_least=2 * LEVELS[0][0]), LEVELS[0][0])
    except ItemError:
        return None


def _encoded(path: Path, side: int, quality: int) -> bytes | None:
    image = _small(path)
    return _webp(image, side, quality) if image else None


def _webp(image: Image.Image, side: int, quality: int) -> bytes:
    file = io.BytesIO()
    fit_within(image, side).save(file, "WEBP", quality=quality, method=4)
    return file.getvalue()


def _uri(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
