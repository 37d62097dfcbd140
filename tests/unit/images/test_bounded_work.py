"""What an image may cost: files made to be slow or large end as SourceUnreadable, and ordinary ones do not notice."""

import errno
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

import editlane
from editlane.core.errors import SourceUnreadable
from editlane.images import child, decoding, encoded
from editlane.images.files import MAX_BYTES, MAX_PIXELS, open_image, read_displayed_size, sniff

SIZE = (48, 32)


def photo(size=SIZE, mode="RGB") -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def save(path: Path, format: str, image: Image.Image | None = None, **options) -> Path:
    (image or photo()).save(path, format, **options)
    return path


def refused(path: Path) -> SourceUnreadable:
    with pytest.raises(SourceUnreadable) as caught:
        open_image(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path.name}: ")
    return caught.value


@pytest.fixture
def no_child(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: pytest.fail("a process was started"))


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_a_file_of_thirty_gigabytes_is_not_read(tmp_path, monkeypatch):
    path = save(tmp_path / "vast.png", "PNG")
    os.truncate(path, 30_000_000_000)
    monkeypatch.setattr(Image, "open", lambda *args, **options: pytest.fail("read"))
    assert refused(path).kind == "too_large"
    assert "30,000,000,000 bytes" in str(refused(path))
    assert read_displayed_size(path) is None


def test_a_file_of_the_limit_is_read(tmp_path):
    path = save(tmp_path / "large.png", "PNG")
    os.truncate(path, MAX_BYTES)  # behind the end of the image
    assert open_image(path).size == SIZE
    os.truncate(path, MAX_BYTES + 1)
    assert refused(path).kind == "too_large"


def test_a_pipe_or_a_device_is_not_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    monkeypatch.setattr(os, "open", lambda *args: pytest.fail("opened"))
    for name in ("pipe.png", "device.png"):
        assert refused(tmp_path / name).kind == "missing"
        assert read_displayed_size(tmp_path / name) is None


def test_an_error_of_the_disk_is_no_damaged_image(tmp_path, monkeypatch):
    """`missing` is tried again by the next run; `decode` is kept."""

    def fail(*args):
        raise OSError(5, "Input/output error")

    path = save(tmp_path / "a.png", "PNG")
    monkeypatch.setattr("editlane.images.files.decode", fail)
    assert (refused(path).kind, "Input/output error" in str(refused(path))) == ("missing", True)


# --- scans -----------------------------------------------------------------------------------------------------------


def repeat_last_scan(content: bytes, times: int) -> bytes:
    """A progressive JPEG that refines the same coefficients again and again."""
    start = content.rindex(b"\xff\xda")
    return content[:start] + content[start:-2] * times + content[-2:]


def test_a_jpeg_of_many_scans_is_not_decoded(tmp_path, monkeypatch):
    content = repeat_last_scan(save(tmp_path / "a.jpg", "JPEG", progressive=True).read_bytes(), 5000)
    (tmp_path / "slow.jpg").write_bytes(content)
    monkeypatch.setattr(Image, "open", lambda *args, **options: pytest.fail("decoded"))
    error = refused(tmp_path / "slow.jpg")
    assert (error.kind, "more than 100 scans" in str(error)) == ("too_large", True)


def test_a_jpeg_of_some_more_scans_is_decoded_in_a_child(tmp_path, monkeypatch):
    path = save(tmp_path / "a.jpg", "JPEG", progressive=True)
    (tmp_path / "b.jpg").write_bytes(repeat_last_scan(path.read_bytes(), 50))
    asked = []
    monkeypatch.setattr("editlane.images.files.decode_in_child", lambda *args: asked.append(args) or photo())
    open_image(tmp_path / "b.jpg")
    assert len(asked) == 1
    open_image(path)
    assert len(asked) == 1


def test_scans_in_a_thumbnail_or_behind_the_end_do_not_count(tmp_path, no_child):
    content = save(tmp_path / "a.jpg", "JPEG").read_bytes()
    metadata = b"\xff\xda" * 30_000
    segment = b"\xff\xe1" + struct.pack(">H", len(metadata) + 2) + metadata
    (tmp_path / "b.jpg").write_bytes(content[:2] + segment + content[2:] + metadata)
    assert open_image(tmp_path / "b.jpg").tobytes() == open_image(tmp_path / "a.jpg").tobytes()


def test_restart_markers_and_fill_bytes_are_no_scans():
    content = io.BytesIO()
    photo((256, 256)).save(content, "JPEG", progressive=True, restart_marker_blocks=1)
    assert encoded.count_scans(content) == 10
    assert encoded.count_scans(io.BytesIO(repeat_last_scan(content.getvalue(), 31))) == 40
    filled = content.getvalue().replace(b"\xff\xda", b"\xff" * 5 + b"\xda")
    assert encoded.count_scans(io.BytesIO(repeat_last_scan(filled, 31))) == 40


# --- pixels and memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "share"), [("WEBP", 0.64), ("AVIF", 0.64), ("JPEG2000", 0.5), ("PNG", 1), ("BMP", 1)]
)
def test_formats_whose_decoders_copy_have_fewer_pixels(format, share):
    content = io.BytesIO()
    photo((100, 100)).save(content, format)
    limit = round(10_000 / share)
    assert decoding.decode(content, None, limit).size == (100, 100)
    with pytest.raises(SourceUnreadable, match="pixels is too large") as caught:
        decoding.decode(content, None, limit - 2)
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    "image",
    [
        photo(mode="RGBA"),
        photo(mode="LA"),
        photo(mode="RGBA").quantize(16),
        Image.fromarray(np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype("<u2")),
        Image.fromarray(np.linspace(-5, 900, 48 * 32).reshape(32, 48).astype("<f4")),
        Image.fromarray(np.linspace(0, 1, 48 * 32).reshape(32, 48).astype("<f4")),
    ],
    ids=lambda image: image.mode,
)
def test_large_images_are_converted_in_bands_to_the_same_pixels(image, monkeypatch):
    whole = decoding.to_rgb(image)
    monkeypatch.setattr(decoding, "_BAND_PIXELS", 5 * 48)
    assert decoding.to_rgb(image).tobytes() == whole.tobytes()


def test_one_large_image_stays_below_a_gigabyte_and_a_half(tmp_path):
    """25 megapixels with transparency and a rotation, a quarter of the limit."""
    squeeze = zlib.compressobj(1)
    rows = [b"\0" + b"\x11\x22\x33\x44" * 5000] * 100
    pixels = b"".join(squeeze.compress(b"".join(rows)) for _ in range(50)) + squeeze.flush()
    header = struct.pack(">2I5B", 5000, 5000, 8, 6, 0, 0, 0)
    path = tmp_path / "large.png"
    path.write_bytes(png([(b"IHDR", header), (b"eXIf", EXIF), (b"IDAT", pixels)]))
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from editlane.images.files import open_image\n"
        "assert open_image(pathlib.Path(sys.argv[2])).size == (5000, 5000)\n"
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", code, str(Path(editlane.__file__).parents[1]), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1_500_000 / 4


@pytest.mark.parametrize(("format", "options"), [("AVIF", {"speed": 10}), ("WEBP", {"method": 0}), ("JPEG2000", {})])
def test_a_decoder_that_copies_stays_within_its_share_of_the_memory(tmp_path, format, options):
    """2 megapixels; tests/bench/bench_images.py measures the largest images of all formats."""
    path = save(tmp_path / "photo", format, Image.new("RGB", (2000, 1000), (1, 2, 3)), **options)
    small = save(tmp_path / "small", format, **options)
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from editlane.images.decoding import decode\n"
        "for path in sys.argv[2:]:\n"
        "    with open(path, 'rb') as file: decode(file, None, 10**8)\n"
        "    print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", code, str(Path(editlane.__file__).parents[1]), str(small), str(path)]
    before, after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    room = 1_350_000 / (decoding.SHARES[format] * MAX_PIXELS)  # kB for a pixel, without the libraries
    assert int(after) - int(before) < room * 2_000_000


# --- the child -------------------------------------------------------------------------------------------------------

SLOW = b"P3 2000 2000 255\n" + b"1 " * 12_000_000
"""Numbers as text are read by Python: ten seconds for these four megapixels."""


def test_the_child_returns_the_same_pixels(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = save(tmp_path / "a.png", "PNG", photo((301, 700)), exif=exif)
    with path.open("rb") as file:
        image = child.decode_in_child(file, None, 10**9)
        assert (image.mode, image.size) == ("RGB", (700, 301))
        assert image.tobytes() == open_image(path).tobytes()
        file.seek(5)
        assert child.read_header_in_child(file) == ("png", (700, 301))
    assert child.read_header_in_child(io.BytesIO(path.read_bytes())) == ("png", (700, 301))


@pytest.mark.parametrize(
    ("content", "most_pixels", "kind", "words"),
    [(b"nothing", 10, "decode", "not an image"), (None, 10, "too_large", "48 x 32 pixels")],
)
def test_the_child_says_what_is_wrong(tmp_path, content, most_pixels, kind, words):
    path = save(tmp_path / "a.png", "PNG")
    with io.BytesIO(content or path.read_bytes()) as file, pytest.raises(SourceUnreadable, match=words) as caught:
        child.decode_in_child(file, None, most_pixels)
    assert caught.value.kind == kind


def test_the_child_ends_after_its_time(tmp_path, monkeypatch):
    path = tmp_path / "slow.ppm"
    path.write_bytes(SLOW)
    monkeypatch.setattr(child, "CPU_SECONDS", 1)
    error = refused(path)
    assert (error.kind, "1 s of computing" in str(error)) == ("timeout", True)


def test_the_child_ends_above_its_memory(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", "PNG", Image.new("L", (5000, 5000)))
    monkeypatch.setattr(child, "MEMORY", 20_000_000)
    with path.open("rb") as file, pytest.raises(SourceUnreadable, match="more than 20 MB") as caught:
        child.decode_in_child(file, None, 10**9)
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGSEGV, "decode"), (signal.SIGABRT, "decode"), (signal.SIGKILL, "crash"), (signal.SIGTERM, "crash")],
)
def test_only_a_child_that_died_of_its_image_blames_the_image(number, kind, monkeypatch):
    monkeypatch.setattr(child, "_run", lambda *args: (-number, b""))
    with pytest.raises(SourceUnreadable) as caught:
        child.decode_in_child(io.BytesIO(b""), None, 1)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "missing", "Input/output error"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "missing", "Cannot allocate memory"),
        (OSError("broken data stream"), "decode", "broken data stream"),
        (OSError(errno.EINVAL, "Invalid argument"), "decode", "Invalid argument"),  # a place that no file can have
        (Image.DecompressionBombError("bomb"), "too_large", "too many pixels"),
        (MemoryError(), "too_large", "more than 1 MB"),
    ],
)
def test_an_error_means_the_same_in_the_child(raised, kind, words, monkeypatch, capsys):
    def fail(*args):
        raise raised

    monkeypatch.setattr(child, "_limit_resources", lambda *args: None)
    monkeypatch.setattr(child, "read_header", fail)
    monkeypatch.setattr(os, "dup", lambda handle: os.memfd_create("image"))
    child.answer(json.dumps({"parent": os.getppid(), "cpu": 1, "memory": 1_000_000}))
    reply = json.loads(capsys.readouterr().out)
    assert (reply["kind"], words in reply["error"]) == (kind, True)


def test_a_large_tiff_that_points_behind_every_file_is_damaged(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 1 << 62) + b"\0" * 64)
    assert refused(path).kind == "decode"


BUSY = {
    "no process": lambda: OSError(errno.EAGAIN, "Resource temporarily unavailable"),
    "killed": lambda: SourceUnreadable("ended with code -9", kind="crash"),
    "a disk that hangs": lambda: SourceUnreadable("not decoded within 300 s", kind="timeout"),
    "an error of the disk": lambda: SourceUnreadable("Input/output error", kind="missing"),
}


@pytest.mark.parametrize("what", BUSY)
def test_what_may_pass_is_no_unknown_image(what, monkeypatch):
    """Else the tables of a busy machine would name another file and another size."""
    content, failures = io.BytesIO(), [BUSY[what]()]
    photo().save(content, "TIFF", big_tiff=True)
    real = child._run
    monkeypatch.setattr("editlane.images.files.RETRY_AFTER", 0)

    def fail(*args):
        if failures:
            raise failures.pop()
        return real(*args)

    monkeypatch.setattr(child, "_run", fail)
    assert sniff(content.getvalue()) == ("tif", SIZE)
    failures += [BUSY[what](), BUSY[what]()]
    with pytest.raises(SourceUnreadable):
        sniff(content.getvalue())


def test_a_header_that_takes_too_long_is_an_unknown_image(monkeypatch):
    monkeypatch.setattr(child, "_run", lambda *args: (-signal.SIGXCPU, b""))
    assert sniff(b"GIF89a" + b"\0" * encoded.SMALL) == ("bin", None)


def test_a_child_that_cannot_be_killed_is_left_behind(tmp_path, monkeypatch):
    """Nothing ends a process that a disk holds, so that waiting for its end would hold the lane, too."""
    path = tmp_path / "slow.ppm"
    path.write_bytes(SLOW)
    left = []
    kill = subprocess.Popen.kill
    monkeypatch.setattr(child, "WALL_SECONDS", 0.1)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: left.append(process))  # bound, unlike append
    assert refused(path).kind == "timeout"
    (process,) = left
    assert process.poll() is None
    kill(process)
    process.wait()


def test_the_child_ends_with_a_lane_that_is_killed(tmp_path):
    (tmp_path / "slow.ppm").write_bytes(SLOW)
    code = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1])\n"
        "from editlane.images.files import open_image\n"
        "open_image(pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(Path(editlane.__file__).parents[1]), str(tmp_path / "slow.ppm")]
    with subprocess.Popen(command) as lane:
        children = Path(f"/proc/{lane.pid}/task/{lane.pid}/children")
        wait_until(lambda: children.read_text().strip())
        its_child = Path("/proc", children.read_text().strip())
        wait_until(lambda: b"parent" in (its_child / "cmdline").read_bytes())
        lane.kill()
    wait_until(lambda: not its_child.exists() or ") Z " in (its_child / "stat").read_text())


def wait_until(is_so) -> None:
    for _ in range(500):
        if is_so():
            return
        time.sleep(0.01)
    pytest.fail("not within 5 s")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "PPM", "TIFF"])
def test_ordinary_large_files_need_no_child(tmp_path, format, no_child):
    options = {"JPEG": {"quality": 100}, "AVIF": {"quality": 100}, "WEBP": {"lossless": True, "method": 0}}
    image = photo((900, 800))
    path = save(tmp_path / "photo", format, image, **options.get(format, {}))
    assert path.stat().st_size > encoded.SMALL
    assert open_image(path).size == read_displayed_size(path) == sniff(path.read_bytes())[1] == (900, 800)


@pytest.mark.parametrize("kind", ["gif", "plain ppm", "rle bmp", "segments", "strips"])
def test_large_files_that_python_reads_need_one(tmp_path, kind):
    padding = b"\0" * encoded.SMALL
    strips = struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 273, 4, 500_000, 22)
    head = {
        "gif": b"GIF89a",
        "plain ppm": b"P3 900 900 255\n",
        "rle bmp": b"BM" + b"\0" * 28 + b"\1\0\0\0",
        "segments": b"\xff\xd8" + b"\xff\xfe\0\2" * 3000,
        "strips": strips,
    }[kind]
    assert encoded.has_modest_header(io.BytesIO(head))
    assert not encoded.has_modest_header(io.BytesIO(head + padding))


def test_a_tiff_of_tiles_or_many_strips_is_not_opened_here(tmp_path):
    """A tile may be larger than the image: a megabyte of LZW then takes gigabytes."""
    path = save(tmp_path / "a.tif", "TIFF")
    with path.open("rb") as file:
        assert encoded.has_modest_header(file)
    tiled = struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 322, 4, 1, 1 << 20)
    big = save(tmp_path / "b.tif", "TIFF", big_tiff=True)
    for content in (tiled, big.read_bytes()):
        assert not encoded.has_modest_header(io.BytesIO(content))
    assert open_image(big).tobytes() == photo().tobytes()
    assert sniff(big.read_bytes()) == ("tif", SIZE)


# --- metadata of PNGs ------------------------------------------------------------------------------------------------


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG from its chunks; IEND is added."""
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def split_png(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks[:-1]


TURNED = Image.Exif()
TURNED[ExifTags.Base.Orientation] = 6
EXIF = TURNED.tobytes()[6:]
HEX = EXIF.hex().encode()
RAW = b"\nexif\n" + b"%8d" % len(EXIF) + b"\n" + HEX + b"\n"
XMP = b'<x tiff:Orientation="6"/>'
VAST = b"x" * (3 << 20)
"""More than Pillow inflates; compressed it takes 3 kB."""
SQUEEZED = zlib.compress(VAST)

LARGE = {
    "profile": (b"iCCP", b"name\0\0" + SQUEEZED),
    "profile of an unknown compression": (b"iCCP", b"name\0\7" + SQUEEZED),
    "text": (b"tEXt", b"Comment\0" + VAST),
    "much text": (b"tEXt", b"Comment\0" + VAST * 25),
    "compressed text": (b"zTXt", b"workflow\0\0" + SQUEEZED),
    "international text": (b"iTXt", b"prompt\0\0\0\0\0" + VAST),
    "compressed international text": (b"iTXt", b"prompt\0\1\0\0\0" + SQUEEZED),
    "compressed XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + SQUEEZED),
    "compressed EXIF": (b"zTXt", b"Raw profile type exif\0\0" + SQUEEZED),
    "a chunk of a program's own": (b"prVW", VAST),
}


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("what", LARGE)
def test_metadata_of_any_size_costs_no_pixel(tmp_path, what, place):
    plain = save(tmp_path / "plain.png", "PNG")
    chunks = split_png(plain.read_bytes())
    chunks.insert(1 if place == "before" else len(chunks), LARGE[what])
    path = tmp_path / "photo.png"
    path.write_bytes(png(chunks))
    assert open_image(path).tobytes() == open_image(plain).tobytes()
    assert sniff(path.read_bytes()) == ("png", SIZE)
    assert read_displayed_size(path) == SIZE


ROTATING = {
    "eXIf": (b"eXIf", EXIF),
    "raw text": (b"tEXt", b"Raw profile type exif\0" + RAW),
    "raw compressed text": (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW)),
    "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "compressed XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
    "long XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + VAST + XMP),
}


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("what", ROTATING)
def test_a_rotation_counts_wherever_it_stands(tmp_path, what, place):
    chunks = split_png(save(tmp_path / "plain.png", "PNG").read_bytes())
    chunks.insert(1 if place == "before" else len(chunks), ROTATING[what])
    chunks.insert(1, LARGE["profile"])
    path = tmp_path / "photo.png"
    path.write_bytes(png(chunks))
    assert open_image(path).tobytes() == photo().transpose(Image.Transpose.ROTATE_270).tobytes()
    assert sniff(path.read_bytes()) == ("png", (32, 48))
    assert read_displayed_size(path) == (32, 48)


def test_an_animation_keeps_its_first_frame_and_loses_its_metadata(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * (3 << 20), zip=True)
    frames = [photo(), photo().rotate(180)]
    path = save(tmp_path / "a.png", "PNG", frames[0], save_all=True, append_images=frames[1:], pnginfo=info)
    assert open_image(path).tobytes() == frames[0].tobytes()
    assert sniff(path.read_bytes()) == ("png", SIZE)


def test_a_png_of_too_many_chunks_is_refused(tmp_path, monkeypatch):
    chunks = split_png(save(tmp_path / "a.png", "PNG").read_bytes())
    path = tmp_path / "photo.png"
    path.write_bytes(png([chunks[0], *[(b"IDAT", b"")] * 60, *chunks[1:]]))
    assert open_image(path).size == SIZE
    monkeypatch.setattr(encoded, "MAX_CHUNKS", 50)
    assert (refused(path).kind, sniff(path.read_bytes())) == ("too_large", ("bin", None))


def test_a_plain_png_is_not_copied(tmp_path):
    with save(tmp_path / "a.png", "PNG").open("rb") as file:
        assert encoded.strip_metadata(file) is file
