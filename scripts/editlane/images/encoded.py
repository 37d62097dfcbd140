"""Look at an encoded image without decoding it: what of a PNG its pixels need, and whether its work is bounded."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from editlane.core.errors import SourceUnreadable

SMALL = 1_000_000
"""Bytes of a file that no decoder takes more than seconds to read, whatever it holds."""

MAX_CHUNKS = 100_000
"""Chunks of a PNG that are read: those of 800 MB as libpng cuts them. A file of empty chunks takes minutes."""

MAX_SCANS = 100
"""Scans of a JPEG that are decoded. libjpeg writes 10 for a progressive photo; a file of 1 MB can hold 50,000."""

FEW_SCANS = 20
"""Scans that are decoded without asking how long it takes."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")
_PIXEL_CHUNKS = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})
"""Optional chunks that change pixels. Those with a capital initial are not optional."""
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_ROTATING_TEXTS = frozenset({b"exif", b"Raw profile type exif", b"XML:com.adobe.xmp"})
"""Keywords of the texts that may hold an orientation."""
_LONGEST_KEYWORD = 79
_MOST_INFLATED = 1 << 20
"""Bytes of a compressed text. Pillow refuses the whole image if a text is longer."""
_MOST_METADATA = 1 << 25
"""Bytes of all metadata that are kept."""

_MOST_SEGMENTS = 2000
_JPEG_MARKER = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd7])")  # those without a length, but for EOI
_PLAIN_PPM = re.compile(rb"P[56]\s+\d+\s+\d+\s+255\s")
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_TIFF_TILES = range(322, 326)
_BMP_RUNS = (1, 2)


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int


def strip_metadata(file: IO[bytes]) -> IO[bytes]:
    """Return a PNG without the chunks that its pixels and its rotation do not need; any other file as it is.

    Pillow refuses a PNG with more than 1 MiB of colour profile or text, and finds no rotation behind the pixels. Raises
    SourceUnreadable if the PNG has more than MAX_CHUNKS.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(len(_PNG)) != _PNG:
        file.seek(0)
        return file
    before, metadata, pixels = list[_Chunk](), list[_Chunk](), list[_Chunk]()
    bare, room, animated = True, _MOST_METADATA, False
    for chunk in _list_chunks(file, size):
        animated |= chunk.kind == b"acTL"
        if animated and pixels and chunk.kind == b"fcTL":
            break  # the next frame
        if not chunk.kind[:1].islower() or chunk.kind in _PIXEL_CHUNKS:
            (pixels if pixels or chunk.kind in (b"IDAT", b"fdAT") else before).append(chunk)
        elif chunk.end - chunk.start <= room and _may_rotate(file, chunk):
            metadata.append(chunk)
            room -= chunk.end - chunk.start
            bare = bare and not pixels
        else:
            bare = False
    file.seek(0)
    return file if bare else _join(file, [*before, *metadata, *pixels])


def _list_chunks(file: IO[bytes], size: int) -> Iterator[_Chunk]:
    """Yield the chunks of a PNG, from its length to its checksum; the last one may be cut off."""
    start = len(_PNG)
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        end = min(size, start + 12 + int.from_bytes(head[:4], "big"))
        yield _Chunk(head[4:], start, end)
        if head[4:] == b"IEND":
            return
        start = end
    raise SourceUnreadable(f"a PNG of more than {MAX_CHUNKS:,} chunks is too large", kind="too_large")


def _may_rotate(file: IO[bytes], chunk: _Chunk) -> bool:
    """Return whether Pillow looks for an orientation in this chunk, and can read it."""
    if chunk.kind == b"eXIf":
        return True
    if chunk.kind not in _TEXT_CHUNKS:
        return False
    file.seek(chunk.start + 8)
    if file.read(_LONGEST_KEYWORD + 1).partition(b"\0")[0] not in _ROTATING_TEXTS:
        return False
    file.seek(chunk.start + 8)
    _, _, rest = file.read(chunk.end - chunk.start - 12).partition(b"\0")
    if chunk.kind == b"zTXt":
        return _inflates_to_little(rest[1:])
    if chunk.kind == b"iTXt" and rest[:1] != b"\0":
        return _inflates_to_little(rest[2:].split(b"\0", 2)[-1])
    return True


def _inflates_to_little(compressed: bytes) -> bool:
    try:
        inflate = zlib.decompressobj()
        inflate.decompress(compressed, _MOST_INFLATED)
    except zlib.error:
        return False
    return not inflate.unconsumed_tail


def _join(file: IO[bytes], chunks: list[_Chunk]) -> IO[bytes]:
    joined = io.BytesIO()
    joined.write(_PNG)
    for _, start, end in chunks:
        file.seek(start)
        joined.write(file.read(end - start))
    joined.seek(0)
    return joined


def count_scans(file: IO[bytes]) -> int:
    """Count the scans of a JPEG, up to MAX_SCANS + 1: each passes over all pixels. Other files have none.

    Up to FEW_SCANS the number may be too large, because thumbnails in the metadata are counted, too.
    """
    file.seek(0)
    if file.read(3) != b"\xff\xd8\xff":
        return 0
    if (roughly := _count_pairs(file, b"\xff\xda")) <= FEW_SCANS:
        return roughly
    file.seek(0)
    content = file.read()
    at, scans = 2, 0
    while scans <= MAX_SCANS and (found := _JPEG_MARKER.search(content, at)):
        marker, at = found[1], found.end()
        if marker == b"\xd9":
            break
        scans += marker == b"\xda"
        at += int.from_bytes(content[at : at + 2], "big")
    return scans


def _count_pairs(file: IO[bytes], wanted: bytes) -> int:
    """Count a pair of bytes in the rest of a file, at least up to FEW_SCANS + 1."""
    count, last = 0, b""
    while count <= FEW_SCANS and (piece := file.read(1 << 20)):
        count += (last + piece).count(wanted)
        last = piece[-1:]
    return count


def may_take_long(file: IO[bytes]) -> bool:
    """Return whether decoding may take longer than the number of pixels suggests.

    Raises SourceUnreadable if a JPEG has more than MAX_SCANS.
    """
    if (scans := count_scans(file)) > MAX_SCANS:
        raise SourceUnreadable(f"a JPEG of more than {MAX_SCANS} scans is too large", kind="too_large")
    file.seek(0)
    return scans > FEW_SCANS or file.read(12).startswith(_JPEG_2000) or not has_modest_header(file)


def has_modest_header(file: IO[bytes]) -> bool:
    """Return whether Pillow reads the header in time and memory that are bounded.

    Its readers are loops in Python. They are safe for files up to SMALL, and for larger ones whose header has the shape
    of a photo's. A TIFF must have it at any size.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(64)
    if head.startswith((b"II", b"MM")):
        return _is_plain_tiff(file, size)
    if size <= SMALL:
        return True
    if head.startswith(b"\xff\xd8\xff"):
        return _has_few_segments(file)
    if head.startswith(b"BM"):
        return int.from_bytes(head[30:34], "little") not in _BMP_RUNS  # runs are decoded by a loop, too
    is_coded_in_c = head.startswith(_PNG) or head[8:12] == b"WEBP" or head[4:12] in (b"ftypavif", b"ftypavis")
    return is_coded_in_c or _PLAIN_PPM.match(head) is not None


def _has_few_segments(file: IO[bytes]) -> bool:
    """Return whether a JPEG's pixels begin within some thousand segments; photos have about ten, or some hundred."""
    file.seek(2)
    for _ in range(_MOST_SEGMENTS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return False
        if head[1] == 0xDA:
            return True
        file.seek(max(0, int.from_bytes(head[2:], "big") - 2), io.SEEK_CUR)
    return False


def _is_plain_tiff(file: IO[bytes], size: int) -> bool:
    """Return whether a TIFF has strips, and a directory of few values: Pillow makes several objects of each.

    A tile may be larger than the image, so that a small file takes gigabytes.
    """
    file.seek(0)
    order, version, start = file.read(2), file.read(2), file.read(4)
    end = ">" if order == b"MM" else "<"
    if version != struct.pack(end + "H", 42) or len(start) < 4:
        return False
    file.seek(*struct.unpack(end + "I", start))
    (count,) = struct.unpack(end + "H", file.read(2).ljust(2, b"\0"))
    entries = file.read(12 * count)
    fields = list(struct.iter_unpack(end + "HHI4x", entries[: len(entries) // 12 * 12]))
    values: int = sum(_TIFF_SIZES.get(kind, 8) * number for _, kind, number in fields)
    return min(values, size) <= SMALL and not any(tag in _TIFF_TILES for tag, _, _ in fields)
