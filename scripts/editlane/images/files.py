"""Read and write image files. Photos become RGB, upright, 8 bit. Equal pixels are saved as equal PNG bytes."""

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from editlane.core.errors import SourceUnreadable
from editlane.core.files import atomic_write

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Accepted formats. Pillow reads more, but some of them through other programs (EPS starts Ghostscript)."""

MAX_PIXELS = 100_000_000
"""Images above this width x height are not decoded; 300 MB as RGB."""

PREPARING_THREADS = min(8, len(os.sched_getaffinity(0)))
"""Threads that decode and resize the images of one batch. Pillow releases the GIL."""

PREPROCESSING = "1"
"""Part of every key. Bump it if `open_image` or `fit_within` returns other pixels for the same file."""

_SUFFIXES = {"JPEG": "jpg", "MPO": "jpg", "JPEG2000": "jp2", "TIFF": "tif"}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_ONE_THREAD = threading.Lock()


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about damaged metadata. `catch_warnings` affects the whole process, hence the lock."""
    with _ONE_THREAD, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1..8. Returns 1 if it is missing or damaged."""
    try:
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # PNG's own decodes all pixels
    except Exception:  # noqa: BLE001  damaged EXIF raises nearly anything; the pixels are still good
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def open_image(path: Path, *, at_least: int | None = None) -> Image.Image:
    """Open and decode an image as a viewer shows it: RGB, upright, the first frame of an animation.

    With `at_least`, a larger JPEG may be decoded at a smaller size, which is much faster. Both sides keep at least that
    many pixels. Transparent parts become white. 16-bit values are scaled to 8 bit, not clipped. Colour profiles are not
    applied. Raises SourceUnreadable with kind `missing` (no such file, or no permission), `too_large` (more than
    MAX_PIXELS by its header) or `decode` (not in FORMATS, truncated, damaged).
    """
    try:
        with path.open("rb") as file:
            return _decode(file, at_least)
    except SourceUnreadable as error:
        raise SourceUnreadable(f"{path.name}: {error}", kind=error.kind) from error
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise SourceUnreadable(f"{path.name}: {error.strerror}", kind="missing") from error
    except Image.DecompressionBombError as error:
        raise SourceUnreadable(f"{path.name}: too many pixels by its header", kind="too_large") from error
    except Exception as error:  # Pillow raises a dozen types for damaged bytes; none of them may abort a lane
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceUnreadable(f"{path.name}: cannot be decoded: {reason}") from error


def _decode(file: IO[bytes], at_least: int | None) -> Image.Image:
    with _ignore_warnings():
        image = _open_header(file)
        if image.width * image.height > MAX_PIXELS:
            raise SourceUnreadable(f"{image.width} x {image.height} pixels is too large", kind="too_large")
        if image.format == "TIFF":  # the only format that warns while decoding; Pillow also rotates it upright
            image.load()
    if at_least:
        image.draft(None, (at_least, at_least))
    image.load()
    with _ignore_warnings():
        orientation = _read_orientation(image)
    rgb = to_rgb(image)
    return rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb


def _open_header(file: IO[bytes]) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise SourceUnreadable(f"empty or not an image Editlane reads ({', '.join(FORMATS)})") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of any mode to a new RGB image without metadata."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    rgb = image.convert("RGB")
    rgb.info = {}
    return rgb


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Convert grey values wider than 8 bit to mode L.

    Integers within 0..65535 and floats within 0..1 or 0..255 are scaled by that range. Other values have no defined
    white, so their own range is stretched to 0..255.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    whites = (1.0, 255.0) if image.mode == "F" else (65535.0,)
    black, white = next(((0.0, white) for white in whites if low >= 0.0 and high <= white), (low, high))
    scale = 255.0 / max(white - black, 1e-30)
    return Image.fromarray(np.rint(np.clip(values * scale - black * scale, 0, 255)).astype(np.uint8))


def read_displayed_size(path: Path) -> tuple[int, int] | None:
    """Read (width, height) in pixels after EXIF rotation, from the header alone. None if it is unreadable."""
    try:
        with path.open("rb") as file:
            return _read_header(file)[1]
    except OSError:
        return None


def sniff(content: bytes) -> tuple[str, tuple[int, int] | None]:
    """Detect (file suffix, displayed size) of encoded image bytes from the header alone; ("bin", None) if unknown."""
    return _read_header(io.BytesIO(content))


def _read_header(file: IO[bytes]) -> tuple[str, tuple[int, int] | None]:
    try:
        with _ignore_warnings():
            image = _open_header(file)
            width, height = image.size
            sideways = image.format != "TIFF" and _read_orientation(image) in _SIDEWAYS  # a TIFF's is rotated already
    except Exception:  # noqa: BLE001  as in open_image
        return "bin", None
    suffix = _SUFFIXES.get(image.format or "bin", (image.format or "bin").lower())
    return suffix, (height, width) if sideways else (width, height)


def write_atomically(path: Path, content: bytes) -> None:
    """Write all bytes or nothing: write a temporary file, fsync, rename. Creates missing parent folders."""
    with atomic_write(path) as file:
        file.write(content)


def save_png(image: Image.Image, path: Path) -> str:
    """Write a PNG without metadata and return the SHA-256 of its bytes. Equal pixels give equal bytes."""
    bare = image.copy()
    bare.info = {}
    encoded = io.BytesIO()
    bare.save(encoded, format="PNG", compress_level=1)
    write_atomically(path, encoded.getvalue())
    return hashlib.sha256(encoded.getvalue()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fit_within(image: Image.Image, max_side: int) -> Image.Image:
    """Shrink an image so that its longer side is at most `max_side` pixels. Keeps the aspect ratio; never enlarges."""
    longer = max(image.size)
    if longer <= max_side:
        return image
    width, height = (max(1, round(side * max_side / longer)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
