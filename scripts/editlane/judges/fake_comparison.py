"""Rate an edit by how near it comes to a picture of what its instruction asks for.

No real judge has such a picture. The worked example uses it, so that its made-up scores follow what a person sees.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.Image import Image, Resampling

from editlane.core.errors import JudgeFailed, UserError
from editlane.core.types import Question
from editlane.images.files import open_image
from editlane.models.fake_signals import find_reference

SIDE = 192
"""Longer side, in pixels, at which pictures are compared."""

KEPT = 0.04
"""Largest difference, 0..1, at which a pixel should have stayed as it was."""

LEAST_WANTED = 0.004
"""Least mean change, 0..1, against which harm is measured, so that rounding is none."""

Pixels = npt.NDArray[np.floating[Any]]


def fingerprint_references(folder: str) -> str:
    """Hash the names and contents of the pictures. Raises UserError if the folder has none."""
    paths = sorted(Path(folder).glob("*.png"))
    if not paths:
        raise UserError(f"params.references: {folder} has no pictures. Draw them with scripts/draw_gallery_demo.py.")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def rate_by_reference(folder: Path, question: Question) -> float:
    """Rate the edit of a question, 0..1. Raises JudgeFailed if there is no picture of its instruction.

    A question that names the instruction is answered by how much of the change was made; any other also by how much of
    the rest and of the detail was kept.
    """
    images = [part for part in question.parts if isinstance(part, Image)]
    texts = [part for part in question.parts if isinstance(part, str)]
    path = find_reference(folder, texts)
    if path is None:
        raise JudgeFailed("there is no picture of what the instruction asks for", kind="fake")
    size, asked = _open_reference(path)
    if size != images[0].size:
        return 0.0  # the instruction is for another photo
    source, edited = _shrink(images[0], size), _shrink(images[-1], size)
    carried_out = _rate_change(source, edited, asked)
    if "instruction" in texts[-1].split("\n")[0]:
        return carried_out
    return carried_out * _rate_rest(source, edited, asked)


@lru_cache(maxsize=64)
def _open_reference(path: Path) -> tuple[tuple[int, int], Pixels]:
    image = open_image(path)
    return image.size, _shrink(image, image.size)


def _shrink(image: Image, size: tuple[int, int]) -> Pixels:
    scale = min(1, SIDE / max(size))
    small = image.convert("RGB").resize((round(size[0] * scale), round(size[1] * scale)), Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def _rate_change(source: Pixels, edited: Pixels, asked: Pixels) -> float:
    """Return the share of the asked change that was made, 0..1: 0 for the source, 1 for what was asked for.

    A pixel counts by how much it had to change.
    """
    weight = np.abs(asked - source).max(axis=2)
    wanted = float((weight * np.abs(asked - source).mean(axis=2)).sum())
    missed = float((weight * np.abs(asked - edited).mean(axis=2)).sum())
    return max(0.0, 1 - missed / wanted) if wanted else 0.0


def _rate_rest(source: Pixels, edited: Pixels, asked: Pixels) -> float:
    """Return how well everything else and the detail was kept, 0..1: a half if as much was harmed as should have
    changed."""
    stays = np.abs(asked - source).max(axis=2) < KEPT
    wanted = float(np.abs(asked - source).mean())
    harm = float((np.abs(edited - asked).mean(axis=2) * stays).mean()) / max(wanted, LEAST_WANTED)
    detail, expected = (float(np.abs(np.diff(one, axis=1)).mean()) for one in (edited, asked))
    blurred = min(1.0, detail / expected) if expected else 1.0
    return blurred / (1 + harm)
