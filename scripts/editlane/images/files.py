"""Read and write image files. Photos become RGB, upright, 8 bit. Equal pixels are saved as equal PNG bytes."""

import errno
import hashlib
import io
import logging
import os
import re
import stat
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

from editlane.core.errors import SourceUnreadable
from editlane.core.files import atomic_write
from editlane.images.child import TooMuchWork, decode_in_child, read_header_in_child
from editlane.images.decoding import decode, explain, read_header
from editlane.images.encoded import has_modest_header, may_take_long

MAX_PIXELS = 100_000_000
"""Images above this width x height are not decoded; 400 MB in memory, and two or three times that while decoding."""

MAX_BYTES = 400_000_000
"""Files above this size are not read; those of MAX_PIXELS without any compression, with transparency."""

_NOTE = re.compile(rb"An image of (\d{1,20}) bytes is not kept here\.\n")

PREPARING_THREADS = min(8, len(os.sched_getaffinity(0)))
"""Threads that decode and resize the images of one batch. Pillow releases the GIL."""

RETRY_AFTER = 2.0
"""Seconds after which `sniff` tries again what may pass."""

PREPROCESSING = "1"
"""Part of every key. Bump it if `open_image` or `fit_within` returns other pixels for the same file."""


log = logging.getLogger(__name__)


def open_image(path: Path, *, at_least: int | None = None, within: int | None = None) -> Image.Image:
    """Open and decode an image as a viewer shows it: RGB, upright, the first frame of an animation.

    With `at_least`, a larger JPEG may be decoded at a smaller size, which is much faster. Both sides keep at least that
    many pixels. With `within`, the image is shrunk until its longer side has at most that many. Transparent parts
    become white. 16-bit values are scaled to 8 bit, not clipped. Colour profiles are not applied. The work is bounded:
    decoders that may take long run in a process of their own.

    Raises SourceUnreadable with kind `missing` (no such file, no permission, an error of the disk), `too_large` (more
    than MAX_BYTES, MAX_PIXELS or `encoded.MAX_SCANS`), `decode` (not in FORMATS, truncated, damaged), `oom`, or a kind
    of `child.decode_in_child`.
    """
    with _name_errors(path.name), open_regular(path) as file:
        if note := _NOTE.fullmatch(file.read(80)):
            raise _make_size_error(int(note[1]))
        here = not may_take_long(file)
        image = (decode if here else decode_in_child)(file, at_least, MAX_PIXELS)
        return fit_within(image, within) if within else image


def open_content(
    content: bytes, name: str, suffixes: Collection[str], max_pixels: int, *, keep_alpha: bool = False
) -> Image.Image:
    """Decode the bytes of an image as `open_image` decodes a file. Nothing that may take long is decoded.

    With `keep_alpha`, an image with transparency is RGBA and not over white. `suffixes`: the formats to accept, as
    `sniff` names them. `name` begins the messages. Raises SourceUnreadable with kind `too_large`, `decode` or `oom`.
    """
    file = io.BytesIO(content)
    with _name_errors(name):
        if may_take_long(file):
            raise SourceUnreadable("may take too long to decode; save it as a plain JPEG or PNG", kind="too_large")
        file.seek(0)
        suffix = _name_format(file)
        if suffix not in suffixes:
            raise SourceUnreadable(f"{suffix}; accepted here: {', '.join(sorted(suffixes))}", kind="decode")
        file.seek(0)
        return decode(file, None, max_pixels, keep_alpha=keep_alpha)


def _name_format(file: IO[bytes]) -> str:
    """Return the suffix of an image's format, or "no image". Raises SourceUnreadable for one that is too large."""
    try:
        return read_header(file)[0]
    except SourceUnreadable as error:
        if error.kind != "decode":
            raise
        return "no image"


@contextmanager
def _name_errors(name: str) -> Iterator[None]:
    """Turn every error into a SourceUnreadable that names the file: none of them may end a lane."""
    try:
        yield
    except Exception as error:
        reason, kind = explain(error)
        raise SourceUnreadable(f"{name}: {reason}", kind=kind) from error


def open_regular(path: Path) -> IO[bytes]:
    """Open a file of at most MAX_BYTES. A pipe or a device is not opened, because that may wait or act.

    Raises SourceUnreadable with kind `missing` or `too_large`, and OSError.
    """
    if stat.S_ISDIR(path.stat().st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.is_file():
        raise SourceUnreadable("is a pipe or a device, not a file", kind="missing")
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    size = os.fstat(file.fileno()).st_size  # 0 for a pipe that took its place just now, which then seems to be empty
    if size <= MAX_BYTES:
        return file
    file.close()
    raise _make_size_error(size)


def make_note(size: int) -> bytes:
    """Return what is stored in place of an image of more than MAX_BYTES; `open_image` says why it cannot be read."""
    return b"An image of %d bytes is not kept here.\n" % size


def _make_size_error(size: int) -> SourceUnreadable:
    return SourceUnreadable(f"{size:,} bytes is too large; an image may have {MAX_BYTES:,}", kind="too_large")


def read_displayed_size(path: Path) -> tuple[int, int] | None:
    """Read (width, height) in pixels after EXIF rotation, from the header alone. None if it is unreadable."""
    try:
        with open_regular(path) as file:
            return _read_header(file)[1]
    except (OSError, SourceUnreadable):
        return None


def sniff(content: bytes) -> tuple[str, tuple[int, int] | None]:
    """Detect (file suffix, displayed size) of encoded image bytes from the header alone; ("bin", None) if unknown.

    Raises SourceUnreadable for what may pass, such as a lack of processes or memory, after a second attempt. Otherwise
    a busy machine would write other tables than an idle one.
    """
    try:
        return _read_header(io.BytesIO(content))
    except SourceUnreadable as error:
        log.info("cannot look at an image (%s); trying once more", error)
        time.sleep(RETRY_AFTER)
        return _read_header(io.BytesIO(content))


def _read_header(file: IO[bytes]) -> tuple[str, tuple[int, int] | None]:
    try:
        return read_header(file) if has_modest_header(file) else read_header_in_child(file)
    except Exception as error:
        reason, kind = explain(error)
        if kind in ("decode", "too_large") or isinstance(error, TooMuchWork):  # it will be so every time
            return "bin", None
        raise SourceUnreadable(reason, kind=kind) from error


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
