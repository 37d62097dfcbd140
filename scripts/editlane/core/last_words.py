"""Keep what the commands of a run have to say when it ends: its errors and warnings.

The workflow reads these files and no logs, because libraries, models and servers write into logs, too. There is one
file for each command, so another attempt at a job replaces what the one before said.
"""

import atexit
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from editlane.core.os_errors import Explained
from editlane.core.paths import RunPaths
from editlane.core.printable import escape

RUN_DIR = "EDITLANE_RUN_DIR"
"""The environment variable by which the workflow tells its commands where they belong to."""

_MOST_BYTES = 100_000
"""More is read of no file."""


def begin() -> None:
    """Forget what an earlier attempt of this command said, and keep the exit code from what this one cannot print."""
    atexit.register(_drop_unprintable)
    if path := _find_own_file():
        with suppress(OSError):
            path.unlink()


def _drop_unprintable() -> None:
    """Leave alone the rest of a log that cannot be written. Python would try again, and exit with code 120.

    Not so for stdout, which holds results: there the exit code has to say that they are lost.
    """
    try:
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # full, closed, none
        sys.stderr = None


def say(level: str, text: str | Explained) -> None:
    """Print `error: TEXT` or `warning: TEXT` to stderr, and keep it for the end of the workflow, if there is one."""
    line = f"{level}: {escape(str(text))}"
    with suppress(OSError):  # the log may be on the full disk, too: then the exit code has to say it
        print(line, file=sys.stderr, flush=True)
    if path := _find_own_file():
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                word = text._asdict() if isinstance(text, Explained) else {"line": line}
                file.write(json.dumps({"level": level} | word, ensure_ascii=False) + "\n")


def read_last_words(paths: RunPaths, level: str, since: float) -> set[str | Explained]:
    """Return the distinct lines and explanations of this level in the files written since the Unix time `since`."""
    files = paths.last_words.glob("*.jsonl")
    return {word for path in files for found, word in _read(path, since) if found == level}


def _read(path: Path, since: float) -> Iterator[tuple[str, str | Explained]]:
    try:
        if path.stat().st_mtime < since:
            return
        with path.open("rb") as file:
            lines = file.read(_MOST_BYTES).splitlines()
    except OSError:  # a command has just begun anew
        return
    for line in lines:
        try:
            match json.loads(line):
                case {"level": str(level), "line": str(said)}:
                    yield level, escape(said)
                case {"level": str(level), "files": str(files), "reason": str(reason)}:
                    yield level, Explained(escape(files), escape(reason))
        except (ValueError, RecursionError):  # cut off by a full disk
            continue


def _find_own_file() -> Path | None:
    """Return the file of this command, the same for all attempts at a job; None outside of a workflow."""
    run_dir = os.environ.get(RUN_DIR)
    if not run_dir:
        return None
    command = hashlib.sha256("\0".join(sys.argv).encode(errors="surrogateescape")).hexdigest()
    return RunPaths(Path(run_dir)).last_words / f"{Path(sys.argv[0]).stem}-{command[:16]}.jsonl"
