"""Draw the canary set: a photo and a simple edit of it, judged in every run, to see whether a judge drifts.

    python scripts/draw_canary.py --items resources/canary/items.jsonl --photos resources/demo/photos \\
        --out resources/canary/pictures

The list is frozen, so that runs can be compared: another edit is another item.
"""

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image, ImageColor, ImageDraw

from editlane.cli.flags import StepParser, input_folder, output_folder
from editlane.cli.step import run_step
from editlane.core.errors import ItemError, UserError
from editlane.images.files import fit_within, open_image, write_atomically

SIDE = 384
"""Pixels of the longer side: enough for what is drawn, cheap to judge."""


def box_of(image: Image.Image, share: list[float]) -> tuple[int, int, int, int]:
    """A box given in shares of the width and height, in pixels."""
    left, top, right, bottom = (
        round(value * side) for value, side in zip(share, (image.width, image.height) * 2, strict=True)
    )
    return left, top, right, bottom


def blend(image: Image.Image, colour: str, share: float, box: tuple[float, ...] = (0, 0, 1, 1)) -> None:
    """Mix a colour into a part of the image."""
    area = box_of(image, list(box))
    part = image.crop(area)
    image.paste(Image.blend(part, Image.new("RGB", part.size, ImageColor.getrgb(colour)), share), area)


def ellipse(image: Image.Image, box: list[float], colour: str) -> None:
    ImageDraw.Draw(image).ellipse(box_of(image, box), fill=colour)


def rectangle(image: Image.Image, box: list[float], colour: str) -> None:
    ImageDraw.Draw(image).rectangle(box_of(image, box), fill=colour)


def encode(image: Image.Image) -> bytes:
    """As PPM: its bytes are the pixels, whatever compression another version of a library would choose."""
    encoded = io.BytesIO()
    image.save(encoded, "PPM")
    return encoded.getvalue()


DRAW: dict[str, Any] = {"blend": blend, "ellipse": ellipse, "rectangle": rectangle}


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--items", type=Path, required=True, help="the frozen list")
    parser.add_argument("--photos", type=input_folder, required=True, help="the photos of extract_demo_photos.py")
    parser.add_argument("--out", type=output_folder, required=True, help="folder for the pictures")
    args = parser.parse_args()

    try:
        items = [json.loads(line) for line in args.items.read_text(encoding="utf-8").splitlines()]
        drawings = [(one["item_id"], one["photo"], one["draw"], one["image"], one["edited"]) for one in items]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"Cannot read the canary set {args.items}: {error}. Take the file of the repository."
        ) from error
    pictures = {}
    for item_id, photo, drawing, source, edited in drawings:
        try:
            image = fit_within(open_image(args.photos / photo), SIDE)
        except ItemError as error:
            raise UserError(f"Cannot draw {item_id}: {error}. Delete {args.photos} to extract it again.") from error
        pictures[args.out / Path(source).name] = encode(image)
        for name, *settings in drawing:
            DRAW[name](image, *settings)
        pictures[args.out / Path(edited).name] = encode(image)
    for path, content in pictures.items():
        write_atomically(path, content)


if __name__ == "__main__":
    run_step(main)
