"""Show a judge the further images of an item. They follow the source, wherever a question shows it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from PIL.Image import Image

from editlane.core.schemas import ReferenceRow
from editlane.core.types import Reference

INTRODUCTION = (
    "The editing model was also given the following images, to which the instruction may refer. The source image is "
    "image 1."
)
LABEL = "Reference image (image {number}):"


def label_references(images: Sequence[Image]) -> Iterator[str | Image]:
    """Yield the parts of a prompt that show these images, each after its label. They are counted from 2."""
    for number, image in enumerate(images, 2):
        introduction = f"{INTRODUCTION}\n" if number == 2 else ""
        yield f"\n{introduction}{LABEL.format(number=number)}\n"
        yield image


def count_references(parts: Sequence[str | Image]) -> int:
    """Count the further images that a prompt shows."""
    start = LABEL.partition("{")[0]
    pairs = ((text, shown) for text, shown in pairwise(parts) if isinstance(text, str) and isinstance(shown, Image))
    return sum(text.rstrip().rpartition("\n")[2].startswith(start) for text, _ in pairs)


def key_references(references: Sequence[ReferenceRow] | None) -> dict[str, Any]:
    """Return the part of a judge's journal key about an item's further images; empty if it has none."""
    if not references:
        return {}
    return {"references": [INTRODUCTION, LABEL, [one["sha256"] for one in references]]}


def name_references(references: Sequence[Reference]) -> tuple[str, ...]:
    """Return names for these images, as `prompt_parts_for_batching` names what a prompt shows."""
    return tuple(f"reference_{number}" for number in range(2, len(references) + 2))


def measure_references(references: Sequence[Reference]) -> Mapping[str, tuple[int, int]]:
    """Return the sizes of these images (width, height) by their names. One of unknown size counts as 1024 x 1024."""
    sizes = ((one.width or 1024, one.height or 1024) for one in references)
    return dict(zip(name_references(references), sizes, strict=True))
