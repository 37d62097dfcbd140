"""Open an image of the run only if its bytes match the hash in the tables."""

from pathlib import Path

from PIL.Image import Image

from editlane.core.errors import SourceUnreadable
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
