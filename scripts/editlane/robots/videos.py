"""Videos of episodes: H.264 in MP4, as browsers play it, in a folder of bounded size."""

import asyncio
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.core.printable import escape

ENCODE_SECONDS = 120.0
"""Time for a video; one of 100 frames takes less than a second."""
REMEDY = "Install it (apt-get install ffmpeg), or the package imageio-ffmpeg, which brings one along"

_KEY = re.compile(r"[0-9a-f]{64}")
_ENDING = ".mp4"
_PARTIAL = ".partial"


ENCODERS = 2
"""Videos that are encoded at the same time."""


class VideoFailed(Exception):
    """An encoder could not make a video of these frames, or not there."""


def find_encoder() -> str:
    """Return the path of ffmpeg: of the one on the PATH, or of the package imageio-ffmpeg. Raises UserError.

    Neither is installed with Editlane, because what can encode H.264 in them is under the GPL.
    """
    found = shutil.which("ffmpeg")
    if found is None and find_spec("imageio_ffmpeg") is not None:
        with suppress(RuntimeError):  # a wheel without a program
            found = str(import_module("imageio_ffmpeg").get_ffmpeg_exe())
    if found is None:
        raise UserError(f"There is no ffmpeg on the PATH, so no video can be made. {REMEDY}.")
    return found


def encode_video(path: Path, frames: Sequence[np.ndarray], frames_per_second: float) -> int:
    """Write frames, each uint8 [height, width, 3] in RGB, as one file, and return its size in bytes.

    The file is there as a whole or not at all. Sides that are odd get one more black row or column. Raises UserError
    without an encoder, and VideoFailed.
    """
    shape = frames[0].shape if len(frames) else ()
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or any(f.shape != shape or f.dtype != np.uint8 for f in frames):
        raise VideoFailed(f"frames of one size, uint8 [height, width, 3], are needed, not {len(frames)} of {shape}")
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
    command = [find_encoder(), "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{shape[1]}x{shape[0]}", "-r", f"{frames_per_second:g}", "-i", "pipe:0"]
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-pix_fmt", "yuv420p"]
    command += ["-threads", "1", "-movflags", "+faststart", "-f", "mp4", f"file:{partial}"]
    content = b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames)
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=ENCODE_SECONDS)
        if done.returncode:
            told = escape(" ".join(done.stderr.decode(errors="replace").split()))[-300:]
            raise VideoFailed(f"{command[0]} ended with exit code {done.returncode}: {told}")
        size = partial.stat().st_size
        os.replace(partial, path)
        return size
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VideoFailed(f"{path} could not be written: {error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


class VideoFolder:
    """A folder of videos by key. The oldest make room for new ones. Used by one process, in one event loop."""

    def __init__(self, folder: Path, megabytes: float) -> None:
        """Create the folder, and remove what a process that died has left in it. Raises OSError."""
        self._folder, self._most = folder, megabytes * 1e6
        self._encoders = ThreadPoolExecutor(ENCODERS, "video")  # not those that read requests
        make_folder(folder)
        for left in folder.glob(f"*{_PARTIAL}"):
            left.unlink(missing_ok=True)
        there = sorted((path.stat().st_mtime_ns, path) for path in folder.glob(f"*{_ENDING}"))
        self._sizes = {path: path.stat().st_size for _, path in there}
        """Bytes, by path, the oldest first."""
        self._size = sum(self._sizes.values())
        self._make_room()

    def path_of(self, key: str) -> Path:
        """Return where the video of a key is, or would be. Raises ValueError for a key that is no SHA-256 in hex."""
        if not _KEY.fullmatch(key):
            raise ValueError("the key of a video is a SHA-256 in 64 hexadecimal digits")
        return self._folder / f"{key}{_ENDING}"

    async def write(self, key: str, frames: Sequence[np.ndarray], frames_per_second: float) -> Path:
        """Write the video of a key in a thread, and return its path. The newest one stays, however large it is.

        Raises UserError without an encoder, and VideoFailed.
        """
        path = self.path_of(key)
        make_folder(self._folder)  # somebody may have moved it away
        work = partial(encode_video, path, frames, frames_per_second)
        size = await asyncio.get_running_loop().run_in_executor(self._encoders, work)
        self._size += size - self._sizes.pop(path, 0)
        self._sizes[path] = size
        self._make_room()
        return path

    def _make_room(self) -> None:
        """Remove the oldest videos until the others fit, but never the newest one."""
        while self._size > self._most and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            oldest.unlink(missing_ok=True)
            self._size -= self._sizes.pop(oldest)
