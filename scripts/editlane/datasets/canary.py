"""Draw the canary set from its frozen list: each photo, and a simple edit of it."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw

from editlane.core.errors import ItemError, UserError
from editlane.images.files import open_image

SIDE = 384
"""Pixels of the longer side: enough for the drawings, cheap to judge."""


def draw_canary(list_file: Path, photos: Path) -> Iterator[tuple[str, bytes]]:
    """Yield file name and content of every picture. Raises UserError if the list or a photo cannot be read."""
    try:
        records = [json.loads(line) for line in list_file.read_text(encoding="utf-8").splitlines()]
        drawings = [(one["item_id"], one["photo"], one["draw"], one["image"], one["edited"]) for one in records]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"Cannot read the canary set {list_file}: {error}. Take the repository's file.") from error
    for item_id, photo, drawing, source, edited in drawings:
        try:
            image = open_image(photos / photo, within=SIDE)
        except ItemError as error:
            raise UserError(f"Cannot draw {item_id}: {error}. Delete {photos} to extract it again.") from error
        yield Path(source).name, _encode(image)
        for name, *settings in drawing:
            DRAW[name](image, *settings)
        yield Path(edited).name, _encode(image)


def _to_pixels(image: Image.Image, box: list[float]) -> tuple[int, int, int, int]:
    """Convert a box given in shares of the width and height to pixels."""
    left, top, right, bottom = (
        round(value * side) for value, side in zip(box, (image.width, image.height) * 2, strict=True)
    )
    return left, top, right, bottom


def _blend(image: Image.Image, colour: str, share: float, box: tuple[float, ...] = (0, 0, 1, 1)) -> None:
    """Mix a colour into a part of the image."""
    area = _to_pixels(image, list(box))
    part = image.crop(area)
    image.paste(Image.blend(part, Image.new("RGB", part.size, ImageColor.getrgb(colour)), share), area)


def _draw_ellipse(image: Image.Image, box: list[float], colour: str) -> None:
    ImageDraw.Draw(image).ellipse(_to_pixels(image, box), fill=colour)


def _draw_rectangle(image: Image.Image, box: list[float], colour: str) -> None:
    ImageDraw.Draw(image).rectangle(_to_pixels(image, box), fill=colour)


DRAW: dict[str, Any] = {"blend": _blend, "ellipse": _draw_ellipse, "rectangle": _draw_rectangle}
"""Drawing functions, by their names in the list."""


def _encode(image: Image.Image) -> bytes:
    """Encode as PPM, because compressed bytes would differ between library versions."""
    encoded = io.BytesIO()
    image.save(encoded, "PPM")
    return encoded.getvalue()
