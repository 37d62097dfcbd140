"""Decode images in this process. Which may be, and how else, is decided in `files`."""

import errno
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from editlane.core.errors import SourceUnreadable, one_line
from editlane.images.encoded import strip_metadata

FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Accepted formats. Pillow reads more, but some of them through other programs (EPS starts Ghostscript)."""

# fmt: off
SUFFIXES = frozenset({
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".mpo", ".pbm", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp",
})
# fmt: on
"""Suffixes of files in these formats."""

MAX_SIDE = 65_535
"""Longest side in pixels, as of a JPEG. Resizing takes some 50 bytes for each pixel of a side."""

SHARES = {"AVIF": 0.64, "JPEG2000": 0.5, "WEBP": 0.64}
"""Formats whose decoders hold several copies of the image: they may have this share of the pixels that others may."""

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
_BAND_PIXELS = 1 << 22
_ONE_THREAD = threading.Lock()


def decode(file: IO[bytes], at_least: int | None, most_pixels: int, *, keep_alpha: bool = False) -> Image.Image:
    """Decode an image as `files.open_image` returns it. With `keep_alpha`, one with transparency is RGBA.

    Raises SourceUnreadable, and whatever Pillow raises for damaged bytes.
    """
    with _ignore_warnings():
        image: Image.Image = _open_header(file)
        if max(image.size) > MAX_SIDE:
            text = f"{image.width} x {image.height} pixels: a side may have {MAX_SIDE:,}"
            raise SourceUnreadable(text, kind="too_large")
        most = int(most_pixels * SHARES.get(image.format or "", 1.0))
        if image.width * image.height > most:
            text = f"{image.width} x {image.height} pixels is too large; {image.format} may have {most:,}"
            raise SourceUnreadable(text, kind="too_large")
        if image.format == "TIFF":  # the only format that warns while decoding; Pillow also rotates it upright
            image.load()
    if at_least:
        image.draft(None, (at_least, at_least))
    image.load()
    with _ignore_warnings():
        orientation = _read_orientation(image)
    convert = to_rgba if keep_alpha and image.has_transparency_data else to_rgb
    image = convert(image)  # frees the decoded one before another is made
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def read_header(file: IO[bytes]) -> tuple[str, tuple[int, int]]:
    """Read (file suffix, displayed size) from an image's header. Raises like `decode`."""
    with _ignore_warnings():
        image = _open_header(file)
        width, height = image.size
        sideways = image.format != "TIFF" and _read_orientation(image) in _SIDEWAYS  # a TIFF's is rotated already
    suffix = _SUFFIXES.get(image.format or "bin", (image.format or "bin").lower())
    return suffix, (height, width) if sideways else (width, height)


def explain(error: Exception) -> tuple[str, str]:
    """Return (message, kind) of the SourceUnreadable for whatever was raised while reading or decoding an image.

    The kind is `missing` for an error of the disk or the system, `oom`, `too_large`, or `decode`: damaged bytes, for
    which Pillow raises a dozen types.
    """
    if isinstance(error, SourceUnreadable):
        return str(error), error.kind
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels by its header", "too_large"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it", "oom"
    # Pillow's own have no number. EINVAL: the image's bytes name a place that no file can have.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return error.strerror or one_line(error), "missing"
    return f"cannot be decoded: {one_line(error) or type(error).__name__}", "decode"


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about damaged metadata. `catch_warnings` affects the whole process, hence the lock."""
    with _ONE_THREAD, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open_header(file: IO[bytes]) -> Image.Image:
    try:
        return Image.open(strip_metadata(file), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise SourceUnreadable(f"empty or not an image Editlane reads ({', '.join(FORMATS)})") from error


def _read_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1..8. Returns 1 if it is missing or damaged."""
    try:
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)  # PNG's own decodes all pixels
    except Exception:  # noqa: BLE001  damaged EXIF raises nearly anything; the pixels are still good
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of any mode to a new RGB image without metadata."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _to_8_bit(image)
    if image.has_transparency_data:
        rgb = Image.new("RGB", image.size)
        for top, band in _cut_bands(image):
            band = band.convert("RGBA")
            rgb.paste(Image.alpha_composite(Image.new("RGBA", band.size, "white"), band).convert("RGB"), (0, top))
        return rgb
    rgb = image.convert("RGB")
    rgb.info = {}
    return rgb


def to_rgba(image: Image.Image) -> Image.Image:
    """Convert a decoded image with transparency to an RGBA image without metadata."""
    rgba = image.convert("RGBA")
    rgba.info = {}
    return rgba


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Convert grey values wider than 8 bit to mode L.

    Integers within 0..65535 and floats within 0..1 or 0..255 are scaled by that range. Other values have no defined
    white, so their own range is stretched to 0..255.
    """
    ranges = [(float(values.min()), float(values.max())) for _, values in _cut_values(image)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    whites = (1.0, 255.0) if image.mode == "F" else (65535.0,)
    black, white = next(((0.0, white) for white in whites if low >= 0.0 and high <= white), (low, high))
    scale = 255.0 / max(white - black, 1e-30)
    grey = Image.new("L", image.size)
    for top, values in _cut_values(image):
        levels = np.rint(np.clip(values * scale - black * scale, 0, 255)).astype(np.uint8)
        grey.paste(Image.fromarray(levels), (0, top))
    return grey


def _cut_values(image: Image.Image) -> Iterator[tuple[int, np.ndarray]]:
    for top, band in _cut_bands(image):
        yield top, np.nan_to_num(np.asarray(band).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _cut_bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield (top, band) from top to bottom, because every copy of a large image takes several hundred megabytes."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))
