"""What every step program does around its work: the log's format, errors as one paragraph, the flags of lanes."""

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from editlane import loading
from editlane.devices import device_name
from editlane.errors import Stopped, UserError
from editlane.flags import json_object, seconds
from editlane.lifeline import when_workflow_dies
from editlane.types import Editor, Judge

_NO_SPACE = (
    "Free some space (`df -h` shows where there is none) and run the same command again; finished items are kept."
)
_REMEDIES = {
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "A part of this path is a file where a folder has to be.",
    errno.EISDIR: "A folder is where a file has to be; move it away or give another path.",
    errno.EEXIST: "Something is in the way there; move it away or give another path.",
    errno.ENOTEMPTY: "Something is in the way there; move it away or give another path.",
    errno.EACCES: "Check the rights of the file and of its folder.",
    errno.EPERM: "Check the rights of the file and of its folder.",
    errno.ENAMETOOLONG: "Use shorter names.",
    errno.ELOOP: "Symbolic links lead in a circle; mend them.",
    errno.EROFS: "The file system is read-only: mount it for writing, or choose another folder.",
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: f"The quota of this user is used up. {_NO_SPACE}",
}
"""What a user can do about an OSError. Others (EBADF, EINVAL, EPIPE, ...) are nobody's mistake but the program's."""

_NEEDS_NO_NAME = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""Whatever the file was; the others without a file name are no mistake in a path."""


def run_step(main: Callable[[], None], *, is_lane: bool = False) -> None:
    """Run a step's `main`. UserError, and an OSError that a user can mend: one paragraph, exit code 2. Stopped: exit
    code 75. Others: a traceback.

    A step whose workflow has died ends at once, so that no two write one table; a lane has a Lifeline for that.
    """
    line = "%(asctime)s.%(msecs)03d %(message)s"
    logging.basicConfig(format=line, datefmt="%H:%M:%S", level=logging.INFO, stream=sys.stderr)
    if is_lane:
        loading.imported()
    else:
        when_workflow_dies(lambda: os._exit(75))
    try:
        main()
    except UserError as error:
        _end(f"error: {error}", 2)
    except OSError as error:
        paragraph = explain_os_error(error)
        if paragraph is None:
            raise
        _end(f"error: {paragraph}", 2)
    except Stopped as stopped:
        _end(f"stopped: {stopped}", 75)
    except KeyboardInterrupt:
        sys.exit(130)


def explain_os_error(error: OSError) -> str | None:
    """What went wrong with which file and what to do about it; None where it is nothing that a user can mend."""
    if error.errno not in _REMEDIES or (error.filename is None and error.errno not in _NEEDS_NO_NAME):
        return None
    files = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    return f"cannot read or write {files or 'a file'}: {error.strerror}. {_REMEDIES[error.errno]}"


def _end(text: str, code: int) -> NoReturn:
    with suppress(OSError):  # the log may be on the full disk, too: then the exit code has to say it
        print(text, file=sys.stderr, flush=True)
    sys.exit(code)


def adapter_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that name a model: --adapter, --model, --revision, --params."""
    parser.add_argument("--adapter", required=True, help="a name of editlane/registry.py")
    parser.add_argument("--model", default="", help="a folder or a hub id; nothing for adapters without a model")
    parser.add_argument("--revision", default="", help="the hub's commit or tag")
    parser.add_argument("--params", type=json_object, default={}, help="the adapter's settings as a JSON object")


def timeout_flag(parser: argparse.ArgumentParser) -> None:
    """The flag --timeout of a lane."""
    text = "end this process after so many seconds without progress (default: never)"
    parser.add_argument("--timeout", type=seconds, help=text)


def read_adapter_flags(args: argparse.Namespace) -> dict[str, Any]:
    """adapter, model, revision and params, as the adapters take them. Raises UserError for a revision of nothing."""
    if args.revision and not args.model:
        raise UserError("--revision is given without --model; a revision is a commit or tag of a model on the hub.")
    named = {"adapter": args.adapter, "model": args.model or None, "revision": args.revision or None}
    return named | {"params": args.params}


def device_label(loaded: Editor | Judge) -> str:
    """The device that the tables name; adapters without a model name what they leased, and load no torch to do so."""
    return device_name() if loaded.NEEDS_MODEL else os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu"
