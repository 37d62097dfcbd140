"""Collect errors and warnings from the step logs to print when the workflow ends."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

from editlane.core.os_errors import explain_os_error
from editlane.core.paths import RunPaths
from editlane.lanes.watchdog import watchdog_timeout

_TEST_BYTES = 1 << 20
"""A disk that cannot take this many bytes counts as full."""


def find_warnings(paths: RunPaths, since: float) -> list[str]:
    """Return the distinct `warning: ` lines of the logs written at or after the Unix time `since`."""
    lines = (line for _, line in _read_lines(paths, since))
    return sorted({line for line in lines if line.startswith("warning: ")})


def find_errors(paths: RunPaths, since: float) -> list[str]:
    """Return the distinct `error: ` lines of these logs.

    Adds errors that a step cannot report itself: that the watchdog ended it, or that the disk is full.
    """
    found = set(_check_disk(paths.run_dir))
    for path, line in _read_lines(paths, since):
        if line.startswith("error: "):
            found.add(line)
        elif seconds := watchdog_timeout(line):
            found.add(
                f"error: {path}: made no progress for {seconds:g} s and was ended; its stacks are in the log. Run "
                "the same command again, or raise `lane_timeout`."
            )
    return sorted(found)


def _read_lines(paths: RunPaths, since: float) -> Iterator[tuple[Path, str]]:
    for path in sorted(paths.logs.rglob("*.log")):
        if path.stat().st_mtime >= since:
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                yield path, line


def _check_disk(run_dir: Path) -> Iterator[str]:
    """Try to write, because the log on a full disk is empty and a read-only disk takes none."""
    try:
        with TemporaryFile(dir=run_dir) as file:
            file.write(bytes(_TEST_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(run_dir)
        yield f"error: {explain_os_error(error) or error}"
