"""Videos that a browser plays, decoded again; and their folder, which does not grow without end."""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from editlane.core.errors import UserError
from editlane.robots import videos
from editlane.robots.videos import VideoFailed, VideoFolder, encode_video, find_encoder

COLOURS = [(200, 40, 40), (40, 180, 60), (50, 60, 200), (128, 128, 128), (230, 220, 40)]


def has_encoder() -> bool:
    try:
        find_encoder()
    except UserError:
        return False
    return True


needs_encoder = pytest.mark.skipif(not has_encoder(), reason="no ffmpeg; apt-get install ffmpeg")


def name(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def draw(height: int = 224, width: int = 224) -> list[np.ndarray]:
    """Draw frames whose left half is of one colour each, and whose right half is black."""
    frames = [np.zeros((height, width, 3), np.uint8) for _ in COLOURS]
    for frame, colour in zip(frames, COLOURS, strict=True):
        frame[:, : width // 2] = colour
    return frames


def decode(path: Path, height: int, width: int) -> np.ndarray:
    """Return the frames of a file, uint8 [n, height, width, 3]."""
    command = [find_encoder(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    content = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(content, np.uint8).reshape(-1, height, width, 3)


def describe(path: Path) -> str:
    return subprocess.run([find_encoder(), "-i", str(path)], capture_output=True, text=True).stderr


@needs_encoder
@pytest.mark.parametrize(("height", "width"), [(224, 224), (97, 161)])
def test_a_video_has_the_frames_in_order_and_in_colour(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "a video: of 100 %d.mp4"
    size = encode_video(path, draw(height, width), 4)
    assert size == path.stat().st_size
    read = decode(path, height + height % 2, width + width % 2)
    assert len(read) == len(COLOURS)
    for frame, colour in zip(read, COLOURS, strict=True):
        left, right = frame[8:-8, 8 : width // 2 - 8], frame[8:-8, width // 2 + 8 : -8]
        assert np.abs(left.astype(int) - colour).mean() < 8 and right.mean() < 8
    assert list(tmp_path.iterdir()) == [path]


@needs_encoder
def test_a_video_is_one_that_browsers_play(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    encode_video(path, draw(), 4)
    told = describe(path)
    assert re.search(r"Video: h264 .*yuv420p.*224x224.* 4 fps", told), told
    content = path.read_bytes()
    assert content[4:8] == b"ftyp" and content.index(b"moov") < content.index(b"mdat")  # plays before it is there


@needs_encoder
def test_one_frame_is_a_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    encode_video(path, draw()[:1], 20)
    assert len(decode(path, 224, 224)) == 1


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [np.zeros((8, 8), np.uint8)],
        [np.zeros((8, 8, 4), np.uint8)],
        [np.zeros((8, 8, 3), float)],
        [np.zeros((0, 8, 3), np.uint8)],
        [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 10, 3), np.uint8)],
    ],
)
def test_frames_that_are_none_are_refused(tmp_path: Path, frames: list[np.ndarray]) -> None:
    with pytest.raises(VideoFailed, match="frames of one size"):
        encode_video(tmp_path / "v.mp4", frames, 4)
    assert list(tmp_path.iterdir()) == []


def test_without_an_encoder_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(videos, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="There is no ffmpeg on the PATH") as raised:
        encode_video(tmp_path / "v.mp4", draw(), 4)
    assert "apt-get install ffmpeg" in str(raised.value) and "imageio-ffmpeg" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def fake_encoder(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> Path:
    """Put a program in the place of ffmpeg. `$out` is the path that it is to write."""
    program = folder / "bin/ffmpeg"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nfor out; do :; done\nout="${{out#file:}}"\n{body}\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('printf part >"$out"; echo "Unknown encoder" >&2; exit 8', "exit code 8: Unknown encoder"),
        ("exit 1", "exit code 1"),
        ("cat >/dev/null", "could not be written"),
    ],
)
def test_an_encoder_that_fails_leaves_the_old_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    fake_encoder(tmp_path, monkeypatch, body)
    path = tmp_path / "videos/v.mp4"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(VideoFailed, match=told):
        encode_video(path, draw(), 4)
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`write(folder, text)` writes a video of 10 kB with the name of a text, without an encoder."""
    fake_encoder(tmp_path, monkeypatch, 'cat >/dev/null; head -c 10000 /dev/zero >"$out"')

    def write_one(folder: VideoFolder, text: str) -> None:
        path = asyncio.run(folder.write(name(text), draw(), 4))
        assert path == folder.path_of(name(text)) and path.stat().st_size == 10_000

    return write_one


def list_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_oldest_videos_make_room(tmp_path: Path, write: Callable[..., None]) -> None:
    folder = VideoFolder(tmp_path / "v", megabytes=0.03)
    for text in "abcbd":  # b is written again, so that it is newer than c
        write(folder, text)
    assert list_names(tmp_path / "v") == {f"{name(text)}.mp4" for text in "cbd"}
    write(folder, "e")
    assert list_names(tmp_path / "v") == {f"{name(text)}.mp4" for text in "bde"}


def test_a_folder_is_read_again_and_leftovers_go(tmp_path: Path, write: Callable[..., None]) -> None:
    place = tmp_path / "v"
    folder = VideoFolder(place, megabytes=1)
    for age, text in enumerate("dabc"):
        write(folder, text)
        os.utime(folder.path_of(name(text)), (time.time() + age, time.time() + age))
    (place / f"{name('x')}.mp4.12ab.partial").write_bytes(b"half")
    (place / "notes.txt").write_bytes(b"of a person")
    folder = VideoFolder(place, megabytes=0.02)
    assert list_names(place) == {f"{name('b')}.mp4", f"{name('c')}.mp4", "notes.txt"}
    write(folder, "e")
    assert list_names(place) == {f"{name('c')}.mp4", f"{name('e')}.mp4", "notes.txt"}


def test_a_video_larger_than_the_folder_may_be_stays_until_the_next_one(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    folder = VideoFolder(tmp_path / "v", megabytes=0.001)
    for text in "ab":
        write(folder, text)
        assert list_names(tmp_path / "v") == {f"{name(text)}.mp4"}


@pytest.mark.parametrize("key", ["", "../x", "a" * 63, "A" * 64, f"{'a' * 64}\n", f"{'a' * 60}/../"])
def test_no_other_name_is_a_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        VideoFolder(tmp_path, megabytes=1).path_of(key)
