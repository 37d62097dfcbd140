"""Reduce the pictures in the page, so that a report of thousands of items can still be mailed."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from editlane.core.errors import ItemError
from editlane.images.files import file_sha256, fit_within, open_image

LEVELS = ((320, 72), (320, 50), (256, 45), (192, 40), (160, 35), (128, 30))
"""(longest side in pixels, WebP quality), best first."""

BUDGET = 12 * 2**20
"""Target for the size of all pictures in bytes. In the page base64 adds a third."""

SAMPLE = 48
"""Pictures that are tried before a level is chosen for all."""

CHANGED = "changed"
UNREADABLE = "unreadable"
"""Reasons for a picture that is not shown."""

THREADS = min(4, os.cpu_count() or 1)
"""Few, because each holds a decoded image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnails:
    side: int
    """Longest side, pixels."""
    uris: dict[str, str]
    """Key of the picture -> `data:` URI. Pictures that cannot be decoded are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The pictures of all cards, each distinct one once."""

    uris: list[str]
    shown: NDArray[np.object_]
    """For each path, the index of its picture in `uris`, or CHANGED or UNREADABLE; None without a path."""
    side: int
    """Longest side, pixels."""


def embed_pictures(paths: NDArray[np.object_], hashes: NDArray[np.object_], run_dir: Path) -> Embedded:
    """Reduce the pictures at `paths`: sources in the first row, edits in the others, None without a picture.

    An edit is CHANGED if its SHA-256 is not the one in `hashes` (None = not recorded). A picture that cannot be decoded
    is UNREADABLE.
    """
    there = [(row, item) for row, item in np.argwhere(paths).tolist()]

    def has_changed(at: tuple[int, int]) -> bool:
        return at[0] > 0 and _has_changed(run_dir / paths[at], hashes[at])

    with ThreadPoolExecutor(THREADS) as pool:
        changed = pool.map(has_changed, there)
        keys = {at: hashes[at] or paths[at] for at, other in zip(there, changed, strict=True) if not other}
    files: dict[str, Path] = {}
    for at, key in keys.items():
        files.setdefault(key, run_dir / paths[at])
    thumbnails = make_thumbnails(files)
    places = {key: place for place, key in enumerate(thumbnails.uris)}
    shown = np.full(paths.shape, None, dtype=object)
    for at in there:
        shown[at] = places.get(keys[at], UNREADABLE) if at in keys else CHANGED
    return Embedded(uris=list(thumbnails.uris.values()), shown=shown, side=thumbnails.side)


def _has_changed(path: Path, sha256: str | None) -> bool:
    """Return whether a file differs from its recorded hash. False without a record, and if it cannot be read."""
    try:
        return sha256 is not None and path.is_file() and file_sha256(path) != sha256
    except OSError:
        return False


def make_thumbnails(paths: Mapping[str, Path], budget: int = BUDGET) -> Thumbnails:
    """Encode every picture once, at the best level at which all of them fit the budget."""
    with ThreadPoolExecutor(THREADS) as pool:
        every = list(paths.values())
        sample = [image for image in pool.map(_open_small, every[:: max(1, len(every) // SAMPLE)]) if image]
        side, quality = choose_level(sample, len(every), budget)
        encoded = pool.map(lambda path: _encode(path, side, quality), every)
        uris = {key: _make_uri(data) for key, data in zip(paths, encoded, strict=True) if data}
    return Thumbnails(side=side, uris=uris)


def choose_level(sample: Sequence[Image.Image], count: int, budget: int) -> tuple[int, int]:
    """Return the first level at which `count` pictures like the sample fit the budget, or else the last level."""
    for side, quality in LEVELS:
        size = sum(len(_encode_webp(image, side, quality)) for image in sample)
        if size / max(1, len(sample)) * count <= budget:
            return side, quality
    return LEVELS[-1]


def _open_small(path: Path) -> Image.Image | None:
    """Open a picture at the size of the best level. None if it cannot be read."""
    try:
        return open_image(path, at_least=2 * LEVELS[0][0], within=LEVELS[0][0])
    except ItemError:
        return None


def _encode(path: Path, side: int, quality: int) -> bytes | None:
    image = _open_small(path)
    return _encode_webp(image, side, quality) if image else None


def _encode_webp(image: Image.Image, side: int, quality: int) -> bytes:
    """Encode a picture. Returns no byte if that fails, as for a lack of memory: no picture ends the report."""
    file = io.BytesIO()
    try:
        fit_within(image, side).save(file, "WEBP", quality=quality, method=4)
    except (MemoryError, OSError, ValueError):
        return b""
    return file.getvalue()


def _make_uri(data: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
