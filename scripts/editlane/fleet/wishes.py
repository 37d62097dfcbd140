"""Ask a running supervisor for something: by files in the fleet's folder, so from every machine that has it."""

import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError
from editlane.core.files import make_folder, replace_text
from editlane.core.os_errors import explain_os_error
from editlane.core.paths import FleetPaths

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
LARGEST_WISH = 100_000


def ask_supervisor(paths: FleetPaths, node: str, wish: dict[str, Any], timeout: float) -> str:
    """Ask the supervisor of a machine, and return what it says was done.

    Raises UserError with its reason if it refused, or if it says nothing for `timeout` seconds.
    """
    make_folder(paths.wishes)
    name = f"{node}.{uuid.uuid4().hex}"
    asked, answer = paths.wishes / f"{name}.json", paths.wishes / f"{name}.answer"
    replace_text(asked, json.dumps(wish, ensure_ascii=False))
    until = time.monotonic() + timeout
    try:
        while time.monotonic() < until:
            with suppress(OSError, ValueError):
                found = json.loads(answer.read_bytes())
                if "refused" in found:
                    raise UserError(found["refused"])
                return str(found["done"])
            time.sleep(LOOK_SECONDS)
    finally:
        for path in (asked, answer):
            with suppress(OSError):
                path.unlink()
    raise UserError(
        f"The supervisor on {node} did not answer within {timeout:g} s. See {paths.logs}; it may be at work on this, "
        "which `status` shows."
    )


def grant_wishes(paths: FleetPaths, node: str, grant: Callable[[dict[str, Any]], str]) -> None:
    """Carry out the wishes for this machine by `grant`, which returns what was done or raises UserError.

    Whatever else it raises refuses the wish, too, because without this thread nobody could ask for anything any more.
    """
    for path in sorted(_find(paths, node, r"\.json"), key=_age):
        answer = path.with_suffix(".answer")
        try:
            found = {"done": grant(_read(path))}
        except UserError as error:
            found = {"refused": str(error)}
        except OSError as error:  # a full disk; without an answer the wish would be tried for ever
            found = {"refused": str(explain_os_error(error) or error)}
        except Exception as error:
            log.exception("%s could not be carried out", path.name)
            found = {"refused": f"The supervisor could not do this ({type(error).__name__}). See its log."}
        with suppress(OSError):
            path.unlink()
            replace_text(answer, json.dumps(found))


def _find(paths: FleetPaths, node: str, end: str) -> Iterator[Path]:
    """Yield the files of a machine's wishes. Another machine's name may begin with this one's and a dot."""
    name = re.compile(rf"{re.escape(node)}\.[0-9a-f]{{32}}{end}")
    return (path for path in paths.wishes.glob("*") if name.fullmatch(path.name))


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink() or path.stat().st_uid not in (0, os.getuid()) or path.stat().st_size > LARGEST_WISH:
            raise UserError(f"{path.name} is no wish of this user.")
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path.name} is no wish.")
    return found


def drop_wishes(paths: FleetPaths, node: str) -> None:
    """Remove what an earlier supervisor of this machine was asked and did not do."""
    for path in _find(paths, node, r"\.(json|answer)(\.partial)?"):
        path.unlink(missing_ok=True)
