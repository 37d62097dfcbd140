"""Open an image of the run only if its bytes match the hash in the tables."""

from collections.abc import Sequence
from pathlib import Path

from PIL.Image import Image

from editlane.core.errors import SourceUnreadable
from editlane.core.types import Reference
from editlane.images.files import file_sha256, open_image


def open_recorded(run_dir: Path, path: str, sha256: str) -> Image:
    """Open the image at `run_dir`/`path`, RGB and upright.

    Raises SourceUnreadable with kind `missing`, `changed` (the SHA-256 of the file is not `sha256`), or a kind of
    `open_image`.
    """
    try:
        found = file_sha256(run_dir / path)
    except OSError as error:
        raise SourceUnreadable(f"{path} cannot be read: {error.strerror}", kind="missing") from error
    if found != sha256:
        raise SourceUnreadable(f"{path} has changed since it was recorded", kind="changed")
    return open_image(run_dir / path)


def open_references(run_dir: Path, references: Sequence[Reference]) -> list[Image]:
    """Open an item's further images like `open_recorded`. An error says which one it is; the source is image 1."""
    images = []
    for number, one in enumerate(references, 2):
        try:
            images.append(open_recorded(run_dir, one.path, one.sha256))
        except SourceUnreadable as error:
            raise SourceUnreadable(f"image {number} of the item: {error}", kind=error.kind) from error
    return images
