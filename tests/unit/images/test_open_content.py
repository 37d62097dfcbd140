"""Images that come as bytes: decoded as files are, within narrower limits."""

import io
from pathlib import Path

import pytest
from PIL import Image

from editlane.core.errors import SourceUnreadable
from editlane.images.files import open_content, open_image

ACCEPTED = ("jpg", "png", "webp")


def encode(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: object) -> bytes:
    encoded = io.BytesIO()
    Image.effect_noise(size, 90).convert(mode).save(encoded, kind, **options)
    return encoded.getvalue()


SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6


@pytest.mark.parametrize(
    "content",
    [
        encode("PNG"),
        encode("PNG", mode="RGBA"),
        encode("PNG", mode="I;16"),
        encode("JPEG", exif=SIDEWAYS),
        encode("JPEG", mode="CMYK"),
        encode("WEBP", lossless=True),
    ],
)
def test_bytes_are_decoded_as_the_file_would_be(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "图").write_bytes(content)
    found, wanted = open_content(content, "edited", ACCEPTED, 10_000), open_image(tmp_path / "图")
    assert (found.mode, found.size, found.tobytes()) == (wanted.mode, wanted.size, wanted.tobytes())


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", "decode", "edited: no image"),
        (b"<svg/>", "decode", "edited: no image"),
        (encode("BMP"), "decode", "edited: bmp; accepted here: jpg, png, webp"),
        (encode("PNG")[:-200], "decode", "edited: "),
        (encode("PNG", size=(101, 100)), "too_large", "101 x 100 pixels is too large"),
        (b"\xff\xd8" + b"\xff\xda\0\x02" * 200 + encode("JPEG")[2:], "too_large", "edited: "),
    ],
)
def test_what_is_refused_says_why(content: bytes, kind: str, message: str) -> None:
    with pytest.raises(SourceUnreadable) as refused:
        open_content(content, "edited", ACCEPTED, 10_000)
    assert refused.value.kind == kind and message in str(refused.value)
