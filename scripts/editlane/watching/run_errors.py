"""Collect the errors and warnings that the workflow prints when it ends."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from editlane.core.last_words import read_last_words
from editlane.core.os_errors import Explained, explain_os_error
from editlane.core.paths import RunPaths
from editlane.core.printable import escape
from editlane.lanes.watchdog import find_timeout

_TEST_BYTES = 1 << 20
"""A disk that cannot take this many bytes counts as full."""
_MOST_FILES = 2
_TAIL = 1 << 20
"""Bytes read from the end of a log; the stacks of all threads take less."""


def find_warnings(paths: RunPaths, since: float) -> list[str]:
    """Return the distinct warnings of the run's commands at or after the Unix time `since`."""
    return sorted(map(str, read_last_words(paths, "warning", since)))


def find_errors(paths: RunPaths, since: float) -> list[str]:
    """Return the distinct errors of the run's commands.

    Adds errors that a command cannot report itself: that the watchdog ended it, or that the disk is full. What is wrong
    with several files for one reason, as on a full disk, is one error.
    """
    words = read_last_words(paths, "error", since)
    files: dict[str, list[str]] = {}
    for name, reason in sorted(word for word in words if isinstance(word, Explained)):
        files.setdefault(reason, []).append(name)
    if disk := _check_disk(paths.run_dir):
        elsewhere = [name for name in files.get(disk.reason, ()) if not name.startswith(f"{disk.files}/")]
        files[disk.reason] = [disk.files, *elsewhere]
    merged = (f"error: {Explained(_join(names), reason)}" for reason, names in files.items())
    ended = (f"error: {escape(text)}" for text in _find_timeouts(paths, since))
    return sorted({*(word for word in words if isinstance(word, str)), *merged, *ended})


def _join(files: list[str]) -> str:
    """List the first files, and count the others."""
    more = len(files) - _MOST_FILES
    return ", ".join(files[:_MOST_FILES]) + (f" and {more} more" if more > 0 else "")


def read_end(path: Path) -> str:
    """Return the end of a log. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return file.read().decode("utf-8", errors="replace")


def _find_timeouts(paths: RunPaths, since: float) -> Iterator[str]:
    for path in sorted(paths.logs.rglob("*.log")):
        if path.stat().st_mtime >= since and (seconds := find_timeout(read_end(path))):
            yield (
                f"{path}: made no progress for {seconds:g} s and was ended; its stacks are in the log. Run the same "
                "command again, or raise `lane_timeout`."
            )


def _check_disk(run_dir: Path) -> Explained | None:
    """Try to write, because the log on a full disk is empty and a read-only disk takes none."""
    try:
        with TemporaryFile(dir=run_dir) as file:
            file.write(bytes(_TEST_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(run_dir)
        found = explain_os_error(error) or Explained(str(run_dir), f"{error.strerror}.")
        return Explained(escape(found.files), escape(found.reason))
    return None
