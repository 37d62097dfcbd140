"""Store the images of a dataset unchanged, under the names of their hashes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from editlane.core.errors import SourceUnreadable, UserError
from editlane.core.paths import RunPaths
from editlane.datasets.base64_text import decode_base64
from editlane.datasets.parsing import RawImage
from editlane.images.files import MAX_BYTES, file_sha256, make_note, open_regular, sniff, write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The place of a stored image."""

    path: str
    sha256: str
    size: tuple[int, int] | None


def store(image: RawImage, run_dir: Path) -> Stored:
    """Store an image's bytes unchanged, under the name of their hash. An intact existing file is not rewritten."""
    content = read_image(image)
    stored = _describe(image, content)
    target = run_dir / stored.path
    if not (target.exists() and file_sha256(target) == stored.sha256):
        write_atomically(target, content)
    return stored


def inspect(image: RawImage) -> Stored:
    """Return what `store` returns, but store nothing."""
    return _describe(image, read_image(image))


def _describe(image: RawImage, content: bytes) -> Stored:
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        suffix, size = sniff(content)
    except SourceUnreadable as error:  # nothing that its bytes are to blame for, so no row may say so
        what = image if isinstance(image, Path) else f"the image in the dataset file with the SHA-256 {sha256}"
        raise UserError(f"Cannot look at {what} now: {error}. Start the run again; what is done is kept.") from error
    return Stored(path=RunPaths(Path()).source(sha256, suffix), sha256=sha256, size=size)


def read_image(image: RawImage) -> bytes:
    """Return the bytes of an image, or a note in place of more than an image may have."""
    if not isinstance(image, Path):
        content = decode_base64(image) if isinstance(image, str) else image
        return content if len(content) <= MAX_BYTES else make_note(len(content))
    try:
        with open_regular(image) as file:
            return file.read()
    except SourceUnreadable as error:
        if error.kind == "too_large":
            return make_note(image.stat().st_size)
        raise UserError(f"Cannot read {image}: it {error}.") from error
    except OSError as error:
        raise UserError(f"Cannot read {error.filename}: {error.strerror}.") from error
