"""Draw the edits of the worked example from its list: three editors of different skill, and what was asked for."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from editlane.core.errors import ItemError, UserError
from editlane.datasets.gallery_drawing import DRAW, Pixels, to_image, to_pixels
from editlane.images.files import open_image

ASKED = "asked"
"""Name of the drawing that carries out an instruction, beside those of the editors."""

Steps = Sequence[Sequence[Any]]


def read_gallery_list(list_file: Path) -> list[dict[str, Any]]:
    """Read the items with their drawings. Raises UserError."""
    try:
        records = [json.loads(line) for line in list_file.read_text(encoding="utf-8").splitlines()]
        for one in records:
            _ = one["item_id"], one["image"], one["draw"][ASKED], get_instruction(one)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"Cannot read the worked example {list_file}: {error}. Take the repository's file.") from error
    return records


def get_instruction(record: Mapping[str, Any]) -> str:
    """Return the instruction that a run in English shows: the Chinese one if there is no other."""
    return str(record.get("instruction") or record["instruction_zh"])


def draw_record(record: Mapping[str, Any], photos: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (ASKED, PNG) and (editor, PNG) for each editor of one item. Raises UserError if its photo is missing."""
    try:
        source = to_pixels(open_image(photos / Path(record["image"]).name))
    except ItemError as error:
        raise UserError(f"Cannot draw {record['item_id']}: {error}. Run extract_demo_photos.py first.") from error
    drawings = record["draw"]
    asked = draw_steps(source, drawings[ASKED])
    yield ASKED, _encode(to_image(asked))
    for editor, steps in drawings.items():
        if editor != ASKED:
            yield editor, _encode(to_image(draw_steps(source, steps, asked)))


def draw_steps(source: Pixels, steps: Steps, asked: Pixels | None = None) -> Pixels:
    """Apply each step `[name, settings]` to the picture. `["asked", share]` mixes in what was asked for, 0..1."""
    pixels = source
    for name, settings in steps:
        if name == ASKED and asked is not None:
            pixels = pixels + (asked - pixels) * settings
        else:
            pixels = DRAW[name](pixels, **settings)
    return pixels


def _encode(image: Image.Image) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "PNG", compress_level=6)
    return encoded.getvalue()
