"""Decode an image in a process of its own, which ends after a time and above a size in memory.

Only images that may be slow or large by their kind come here, because starting the process takes a quarter of a second.
"""

import io
import json
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from PIL import Image

from editlane.core.errors import SourceUnreadable
from editlane.core.processes import end_with_parent
from editlane.images.decoding import decode, explain, read_header

CPU_SECONDS = 60
"""Computing time for one image: twice what the slowest format needs for its most pixels. Other load does not matter."""

WALL_SECONDS = 300
"""Time for one image on a clock. Only a disk that hangs takes so long."""

MEMORY = 1_200_000_000
"""Bytes for one image, on top of the libraries. The pixels are handed over when they are free again."""

_DAMAGE = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from editlane.images.child import answer; answer(sys.argv[2])"
_SCRIPTS = Path(__file__).parents[2]
_BAND_ROWS = 256


class TooMuchWork(SourceUnreadable):
    """The image takes more than CPU_SECONDS, however busy the machine is."""

    kind = "timeout"


def decode_in_child(file: IO[bytes], at_least: int | None, most_pixels: int) -> Image.Image:
    """Decode an image as `decoding.decode` does.

    Raises SourceUnreadable, with kind `timeout` after CPU_SECONDS, and `crash` if the process is killed from outside.
    """
    with os.fdopen(os.memfd_create("pixels"), "w+b") as pixels:
        handle = pixels.fileno()
        size = _ask(file, {"at_least": at_least, "most_pixels": most_pixels, "pixels": handle}, (handle,))["size"]
        with mmap.mmap(handle, 3 * size[0] * size[1], prot=mmap.PROT_READ) as raw:
            return Image.frombytes("RGB", tuple(size), raw)  # type: ignore[arg-type]  # any buffer will do


def read_header_in_child(file: IO[bytes]) -> tuple[str, tuple[int, int]]:
    """Read (file suffix, displayed size) as `decoding.read_header` does. Raises like `decode_in_child`."""
    reply = _ask(file, {}, ())
    width, height = reply["size"]
    return reply["suffix"], (width, height)


def _ask(file: IO[bytes], task: dict[str, Any], handles: tuple[int, ...]) -> dict[str, Any]:
    task |= {"cpu": CPU_SECONDS, "memory": MEMORY, "parent": os.getpid()}
    with _as_real_file(file) as content:
        code, printed = _run(content, json.dumps(task), handles)
    if code != 0:
        raise _explain_death(code)
    reply: dict[str, Any] = json.loads(printed)
    if "error" in reply:
        raise SourceUnreadable(reply["error"], kind=reply["kind"])
    return reply


def _run(content: IO[bytes], task_json: str, handles: tuple[int, ...]) -> tuple[int, bytes]:
    """Run the child. Returns its exit code and what it printed.

    A child that a disk holds cannot be killed. It is left behind, because waiting for it would hold the lane, too.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE, str(_SCRIPTS), task_json],
        stdin=content,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=handles,
        start_new_session=True,  # else Ctrl-C ends it, and its image seems to be damaged
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},  # their stacks count as memory
    )
    try:
        printed, _ = process.communicate(timeout=WALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise SourceUnreadable(f"not decoded within {WALL_SECONDS} s", kind="timeout") from error
    finally:
        if process.returncode is None and process.stdout:
            process.kill()
            process.stdout.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=1)
    return process.returncode, printed


def _as_real_file(file: IO[bytes]) -> IO[bytes]:
    """Return a file that a process can inherit, at its beginning: a BytesIO is copied into one that lies in memory."""
    try:
        content: IO[bytes] = os.fdopen(os.dup(file.fileno()), "rb")
    except io.UnsupportedOperation:
        content = os.fdopen(os.memfd_create("image"), "w+b")
        file.seek(0)
        shutil.copyfileobj(file, content)
        content.flush()
    content.seek(0)
    return content


def _explain_death(code: int) -> SourceUnreadable:
    if code == -signal.SIGXCPU:
        return TooMuchWork(f"not decoded within {CPU_SECONDS} s of computing")
    if -code in _DAMAGE:
        return SourceUnreadable(f"its decoder died of {signal.Signals(-code).name}")
    return SourceUnreadable(f"the process that decoded it ended with code {code}", kind="crash")


def answer(task_json: str) -> None:
    """Do one task, as the child: read the image from stdin, print the result."""
    task = json.loads(task_json)
    end_with_parent(task["parent"])
    _limit_resources(task["cpu"], task["memory"])
    reply: dict[str, Any]
    try:
        with os.fdopen(os.dup(0), "rb") as file:
            if "pixels" in task:
                image = decode(file, task["at_least"], task["most_pixels"])
                _write_pixels(image, task["pixels"])
                reply = {"size": image.size}
            else:
                suffix, size = read_header(file)
                reply = {"suffix": suffix, "size": size}
    except MemoryError:  # of the limit
        reply = {"error": f"takes more than {task['memory'] // 1_000_000:,} MB to decode", "kind": "too_large"}
    except Exception as error:  # noqa: BLE001
        reason, kind = explain(error)
        reply = {"error": reason, "kind": kind}
    print(json.dumps(reply))


def _limit_resources(cpu: int, memory: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    for limit, value in (
        (resource.RLIMIT_AS, used + memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, most))


def _write_pixels(image: Image.Image, handle: int) -> None:
    with os.fdopen(handle, "wb") as file:
        for top in range(0, image.height, _BAND_ROWS):
            file.write(image.crop((0, top, image.width, min(image.height, top + _BAND_ROWS))).tobytes())
