"""What every step program does around its work: the log's format, errors as one paragraph, the flags of lanes."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from editlane.cli.flags import json_object, seconds
from editlane.core.errors import Stopped, UserError
from editlane.core.os_errors import explain_os_error
from editlane.core.types import Editor, Judge
from editlane.lanes.stopping import when_workflow_dies
from editlane.models import load_times
from editlane.models.devices import describe_device


def run_step(main: Callable[[], None], *, is_lane: bool = False) -> None:
    """Run a step's `main`. UserError, and an OSError that a user can mend: one paragraph, exit code 2. Stopped: exit
    code 75. Others: a traceback.

    A step whose workflow has died ends at once, so that no two write one table; a lane has a Lifeline for that.
    """
    line = "%(asctime)s.%(msecs)03d %(message)s"
    logging.basicConfig(format=line, datefmt="%H:%M:%S", level=logging.INFO, stream=sys.stderr)
    if is_lane:
        load_times.record_imports()
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


def _end(text: str, code: int) -> NoReturn:
    with suppress(OSError):  # the log may be on the full disk, too: then the exit code has to say it
        print(text, file=sys.stderr, flush=True)
    sys.exit(code)


def adapter_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that name a model: --adapter, --model, --revision, --params."""
    parser.add_argument("--adapter", required=True, help="a name of editlane/models/registry.py")
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
    return describe_device() if loaded.NEEDS_MODEL else os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu"
