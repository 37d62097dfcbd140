import hashlib
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageDraw

import editlane
from editlane.core.errors import SourceUnreadable
from editlane.images.files import file_sha256, fit_within, open_image, read_displayed_size, save_png, sniff

SHARED = Path(__file__).parents[3] / "../shared/data"


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def photo(size=(48, 32)) -> Image.Image:
    """A picture whose four corners differ, so that every rotation shows."""
    image = Image.new("RGB", size, "grey")
    draw = ImageDraw.Draw(image)
    w, h = size
    for box, colour in [((0, 0), "red"), ((w // 2, 0), "lime"), ((0, h // 2), "blue"), ((w // 2, h // 2), "yellow")]:
        draw.rectangle([box, (box[0] + w // 2 - 1, box[1] + h // 2 - 1)], fill=colour)
    return image


@pytest.fixture
def opened(tmp_path):
    def _opened(content: bytes) -> Image.Image:
        path = tmp_path / "photo"
        path.write_bytes(content)
        image = open_image(path)
        assert image.mode == "RGB"
        return image

    return _opened


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    w, h = image.size
    return [image.getpixel(at) for at in ((2, 2), (w - 3, 2), (2, h - 3), (w - 3, h - 3))]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_orientation_comes_out_upright(tmp_path, orientation, format):
    turn_back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the inverse, as Image.Transpose numbers
    upright = photo()
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(turn_back[orientation]))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "JPEG" else {}
    path = tmp_path / "photo"
    path.write_bytes(encoded(stored, format, exif=exif, **options))

    image = open_image(path)

    assert image.size == upright.size == read_displayed_size(path)
    assert np.abs(np.subtract(corners(image), corners(upright))).max() <= 3
    assert not dict(image.getexif())


@pytest.mark.parametrize(
    "value", [b"\xff" * 30, b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\x50\0\x12\x01"]
)
def test_damaged_exif_leaves_the_picture_readable(opened, value):
    assert opened(encoded(photo(), "PNG", exif=value)).tobytes() == photo().tobytes()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(opened, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    assert opened(encoded(photo(), "PNG", exif=exif)).tobytes() == photo().tobytes()


def ramp(dtype: str, top: float) -> np.ndarray:
    return np.tile(np.linspace(0, top, 256), (4, 1)).astype(dtype)


GREY_RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("16-bit PNG", encoded(Image.fromarray(ramp("<u2", 65535)), "PNG")),
        ("16-bit TIFF", encoded(Image.fromarray(ramp("<u2", 65535)), "TIFF")),
        ("16-bit big-endian TIFF", encoded(Image.fromarray(ramp(">u2", 65535)), "TIFF")),
        ("16-bit PGM", b"P5 256 4 65535\n" + ramp(">u2", 65535).tobytes()),
        ("32-bit integer TIFF", encoded(Image.fromarray(ramp("<i4", 65535)), "TIFF")),
        ("signed 32-bit TIFF, no fixed white", encoded(Image.fromarray(ramp("<i4", 510_000) - 255_000), "TIFF")),
        ("float TIFF 0..1", encoded(Image.fromarray(ramp("<f4", 1)), "TIFF")),
        ("float TIFF 0..255", encoded(Image.fromarray(ramp("<f4", 255)), "TIFF")),
        ("float TIFF, no fixed white", encoded(Image.fromarray(ramp("<f4", 5100) - 100), "TIFF")),
    ],
)
def test_wide_values_are_scaled_not_clipped(opened, name, content):
    image = np.asarray(opened(content))
    assert np.abs(image.astype(int) - GREY_RAMP[..., None]).max() <= 1, name


def test_a_dark_16_bit_picture_stays_dark(opened):
    dark = np.full((8, 8), 2570, dtype="<u2")
    assert opened(encoded(Image.fromarray(dark), "PNG")).getpixel((0, 0)) == (10, 10, 10)


def test_values_that_are_no_numbers_become_black(opened):
    values = ramp("<f4", 1)
    values[0, :3] = [np.nan, np.inf, -np.inf]
    assert [opened(encoded(Image.fromarray(values), "TIFF")).getpixel((x, 0)) for x in range(3)] == [(0, 0, 0)] * 3


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 4), 70_000, dtype="<i4"),
        np.full((4, 4), -7.5, dtype="<f4"),
        np.array([[-3.4e38, 3.4e38]], dtype="<f4"),
        np.array([[-1e-45, 0]], dtype="<f4"),
    ],
)
def test_extreme_ranges_do_not_overflow_or_divide_by_zero(opened, values):
    assert opened(encoded(Image.fromarray(values), "TIFF")).size == values.shape[::-1]


def test_16_bit_colour(opened):
    rows = b"".join(b"\0" + struct.pack(">3H", 65535, 32768, 0) * 4 for _ in range(4))
    assert opened(png(4, 4, zlib.compress(rows), bits=16, colour=2)).getpixel((0, 0)) == (255, 128, 0)


def png(width: int, height: int, pixels: bytes, *, bits: int = 8, colour: int = 0) -> bytes:
    """A PNG from its parts, however wrong."""
    header = struct.pack(">2I5B", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def with_alpha(mode: str) -> Image.Image:
    """Left half opaque and dark, right half transparent."""
    image = Image.new("RGBA", (32, 16), (10, 20, 30, 255))
    image.paste((200, 0, 0, 0), (16, 0, 32, 16))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("format", "mode"),
    [("PNG", "RGBA"), ("PNG", "LA"), ("PNG", "P"), ("GIF", "RGBA"), ("WEBP", "RGBA"), ("TIFF", "RGBA"), ("TIFF", "LA")],
)
def test_transparent_parts_show_white(opened, format, mode):
    image = with_alpha("RGBA").quantize(4) if mode == "P" else with_alpha(mode)
    content = encoded(image, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    left, right = (opened(content).getpixel((x, 4)) for x in (2, 30))
    assert right == (255, 255, 255)
    assert max(left) < 40


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P"])
def test_a_transparent_colour_shows_white(opened, mode):
    """PNG's tRNS chunk names one colour; there is no alpha channel."""
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (8, 0, 16, 16))
    image = image.convert(mode)
    black = (0, 0, 0) if mode == "RGB" else image.getpixel((0, 0))
    shown = opened(encoded(image, "PNG", transparency=black))
    assert shown.getpixel((0, 0)) == (255, 255, 255)
    assert shown.getpixel((15, 0)) == (255, 255, 255)


def test_half_transparent_is_mixed_with_white(opened):
    assert opened(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG")).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize(
    ("mode", "format", "colour", "expected"),
    [
        ("1", "PNG", 1, (255, 255, 255)),
        ("L", "JPEG", 77, (77, 77, 77)),
        ("P", "PNG", 3, None),
        ("P", "GIF", 3, None),
        ("CMYK", "TIFF", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", "JPEG", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", "TIFF", (150, 128, 128), (150, 150, 150)),
        ("RGB", "BMP", (1, 2, 3), (1, 2, 3)),
        ("RGB", "PPM", (1, 2, 3), (1, 2, 3)),
        ("RGB", "AVIF", (200, 200, 200), (200, 200, 200)),
        ("RGB", "JPEG2000", (9, 8, 7), (9, 8, 7)),
    ],
)
def test_modes(opened, mode, format, colour, expected):
    image = Image.new(mode, (16, 16), colour)
    if mode == "P":
        image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 10, 20, 30])
        expected = (10, 20, 30)
    assert np.abs(np.subtract(opened(encoded(image, format)).getpixel((8, 8)), expected)).max() <= 3


def test_an_inverted_adobe_cmyk_jpeg_is_not_a_negative(opened):
    """Photoshop writes CMYK JPEGs inverted and says so in an Adobe marker, which is also what Pillow writes."""
    content = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    assert b"Adobe" in content
    assert np.abs(np.subtract(opened(content).getpixel((8, 8)), (255, 0, 0))).max() <= 3


def test_lab(opened):
    content = encoded(Image.new("LAB", (8, 8), (255, 128, 128)), "TIFF")
    assert min(opened(content).getpixel((0, 0))) >= 250


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(opened, format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if format == "WEBP" else {}
    content = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert opened(content).getpixel((0, 0)) == (255, 0, 0)


def test_the_result_does_not_need_its_file(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(photo(), "PNG"))
    image = open_image(path)
    path.unlink()
    assert image.tobytes() == photo().tobytes()


def unreadable(path: Path) -> SourceUnreadable:
    with pytest.raises(SourceUnreadable) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image at all",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        encoded(photo(), "PNG")[:-40],
        encoded(photo(), "JPEG")[:-200],
        encoded(photo(), "WEBP")[:-20],
        encoded(photo(), "GIF")[:60],
        encoded(photo(), "TIFF")[:-100],
    ],
)
def test_bytes_that_cannot_be_decoded(tmp_path, content):
    path = tmp_path / "照片.png"
    path.write_bytes(content)
    error = unreadable(path)
    assert (error.state, error.kind) == ("source_unreadable", "decode")


def test_a_missing_file(tmp_path):
    assert unreadable(tmp_path / "nowhere.png").kind == "missing"
    assert unreadable(tmp_path).kind == "missing"
    assert read_displayed_size(tmp_path / "nowhere.png") is None


@pytest.mark.parametrize("side", [10_001, 20_000, 300_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side, monkeypatch):
    rows = zlib.compress(b"\0" * 1000)
    path = tmp_path / "bomb.png"
    path.write_bytes(png(side, side, rows))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    assert unreadable(path).kind == "too_large"


def test_exactly_the_limit_is_still_read(tmp_path, monkeypatch):
    monkeypatch.setattr("editlane.images.files.MAX_PIXELS", 48 * 32)
    (tmp_path / "a").write_bytes(encoded(photo(), "PNG"))
    (tmp_path / "b").write_bytes(encoded(photo((49, 32)), "PNG"))
    assert open_image(tmp_path / "a").size == (48, 32)
    assert unreadable(tmp_path / "b").kind == "too_large"


def test_pillow_warnings_do_not_leak(tmp_path):
    """90 megapixels make Pillow warn, and so do damaged TIFF tags; -W error turns a warning into a crash."""
    (tmp_path / "large.png").write_bytes(encoded(Image.new("1", (9500, 9500)), "PNG"))
    tiff = encoded(photo(), "TIFF")
    (tmp_path / "damaged.tif").write_bytes(tiff.replace(struct.pack("<HHI", 282, 5, 1), struct.pack("<HHI", 282, 5, 2)))
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\nfrom editlane.images.files import read_displayed_size, open_image\n"
        "for path in map(Path, sys.argv[2:]):\n"
        "    print(read_displayed_size(path), open_image(path).size)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(Path(editlane.__file__).parents[1])]
    done = subprocess.run([*command, *map(str, sorted(tmp_path.iterdir()))], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["(48, 32) (48, 32)", "(9500, 9500) (9500, 9500)"]


SEEDS = [
    encoded(photo(), "PNG"),
    encoded(photo(), "PNG", exif=encoded(photo(), "TIFF")),
    encoded(photo(), "JPEG"),
    encoded(photo(), "JPEG", progressive=True),
    encoded(photo(), "WEBP"),
    encoded(photo(), "GIF"),
    encoded(photo(), "BMP"),
    encoded(photo(), "PPM"),
    encoded(photo(), "TIFF"),
    encoded(photo(), "TIFF", compression="tiff_lzw"),
    encoded(photo(), "TIFF", compression="tiff_adobe_deflate"),
    encoded(photo(), "JPEG2000"),
    encoded(photo(), "AVIF"),
    encoded(photo().quantize(16), "PNG", transparency=3),
    encoded(with_alpha("RGBA"), "PNG"),
    encoded(Image.fromarray(ramp("<u2", 65535)), "PNG"),
    encoded(photo(), "GIF", save_all=True, append_images=[photo().rotate(180)]),
]


@pytest.mark.runs
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_crash(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, min(len(content), 400) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    path = tmp_path / "photo"
    path.write_bytes(bytes(content))
    suffix, size = sniff(bytes(content))
    assert read_displayed_size(path) == size
    assert (suffix == "bin") == (size is None)
    try:
        image = open_image(path)
    except SourceUnreadable as error:
        assert error.kind in {"decode", "too_large"}
        assert "\n" not in str(error)
    else:
        assert image.mode == "RGB"


@given(st.binary(max_size=200))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_never_crash(tmp_path, content):
    (tmp_path / "photo").write_bytes(content)
    assert sniff(content) == ("bin", None)
    assert unreadable(tmp_path / "photo").kind == "decode"


@pytest.mark.parametrize(
    ("format", "suffix"),
    [
        ("PNG", "png"),
        ("JPEG", "jpg"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("TIFF", "tif"),
        ("BMP", "bmp"),
        ("AVIF", "avif"),
    ],
)
def test_sniff_goes_by_the_content(format, suffix):
    assert sniff(encoded(photo(), format)) == (suffix, (48, 32))


def test_sniff_calls_a_multi_picture_jpeg_a_jpeg():
    content = encoded(photo(), "MPO", save_all=True, append_images=[photo()])
    assert sniff(content) == ("jpg", (48, 32))


def test_the_header_alone_gives_the_size(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.core, "new", lambda *_: pytest.fail("decoded"))
    path = tmp_path / "photo.png"
    path.write_bytes(png(300, 200, b"broken"))
    assert read_displayed_size(path) == (300, 200)


def test_save_png_is_deterministic_and_bare(tmp_path):
    image = photo()
    image.info = {"dpi": (72, 72), "icc_profile": b"x" * 20, "comment": "made on Monday"}
    digest = save_png(image, tmp_path / "deep" / "a.png")
    assert save_png(photo(), tmp_path / "b.png") == digest
    content = (tmp_path / "deep" / "a.png").read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest == file_sha256(tmp_path / "b.png")
    assert image.info["dpi"] == (72, 72)
    with Image.open(io.BytesIO(content)) as saved:
        assert saved.info == {}
        assert saved.tobytes() == photo().tobytes()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.png", "b.png", "deep"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    save_png(photo(), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_png(photo().rotate(90), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [((400, 200), 100, (100, 50)), ((200, 400), 100, (50, 100)), ((5000, 2), 100, (100, 1)), ((80, 60), 100, (80, 60))],
)
def test_fit_within(size, max_side, expected):
    assert fit_within(Image.new("RGB", size), max_side).size == expected


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_comes_out_smaller_where_that_is_enough(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    (tmp_path / "photo").write_bytes(encoded(photo((1600, 1200)), "JPEG", exif=exif.tobytes()))
    small = open_image(tmp_path / "photo", at_least=300)
    assert small.size == ((400, 300) if orientation == 1 else (300, 400))
    whole = open_image(tmp_path / "photo")
    assert np.abs(np.subtract(corners(small), corners(whole))).max() <= 3
    assert open_image(tmp_path / "photo", at_least=1201).size == whole.size


REAL = sorted(path for path in SHARED.rglob("*") if path.suffix in {".jpg", ".png", ".webp"})


@pytest.mark.skipif(not REAL, reason="the sample photos (../shared/data) are not here")
def test_real_photos_and_real_edits_open():
    for path in REAL:
        image = open_image(path)
        assert image.mode == "RGB"
        assert image.size == read_displayed_size(path) == sniff(path.read_bytes())[1]
