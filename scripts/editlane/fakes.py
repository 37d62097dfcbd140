"""What the fake editor and the fake judge share: chance without a random number generator, waiting, dying."""

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

from PIL.Image import Image

from editlane.errors import UserError
from editlane.params import check_number


def chance(*parts: str | bytes | Image) -> float:
    """A number in [0, 1) that depends on nothing but the content of `parts`: equal in every process and order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Image):
            data = f"{part.mode} {part.size} ".encode() + part.tobytes()
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(digest.digest()[:6], "big") / 2**48


def check_seconds(value: Any) -> None:
    """Raises UserError unless `value` is a number of seconds or a pair [least, most]."""
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise UserError(f"seconds is {value!r}; use a number, or a list of the least and the most.")
        check_number("seconds[0]", value[0], 0)
        check_number("seconds[1]", value[1], value[0])
    else:
        check_number("seconds", value, 0)


def duration(seconds: Any, share: float) -> float:
    """Seconds to wait: the number itself, or the point at `share` (0..1) between the two of a pair."""
    if isinstance(seconds, list | tuple):
        return float(seconds[0] + (seconds[1] - seconds[0]) * share)
    return float(seconds)


def check_kill_switch(value: Any) -> None:
    """Raises UserError unless `value` is a path or null."""
    if value is not None and not isinstance(value, str | os.PathLike):
        raise UserError(f"kill_switch is {value!r}; use the path of a file, or null.")


class KillSwitch:
    """While the file `path` holds an integer n, the n-th call of `count` from then on kills this process.

    The file is deleted first, so one file ends one process, and the next run goes through.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.counted = 0

    def count(self) -> None:
        """Count one piece of work; may not return."""
        if self.path is None:
            return
        try:
            limit = int(self.path.read_text())
        except (FileNotFoundError, ValueError):
            self.counted = 0
            return
        self.counted += 1
        if self.counted < limit:
            return
        try:
            self.path.unlink()
        except FileNotFoundError:  # another process was quicker
            return
        os.kill(os.getpid(), signal.SIGKILL)
