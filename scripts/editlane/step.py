"""What every step program does around its work: the log's format, and errors as one paragraph."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from editlane.devices import device_name
from editlane.errors import Stopped, UserError
from editlane.types import Editor, Judge


def run_step(main: Callable[[], None]) -> None:
    """Run a step's `main`. UserError: one paragraph, exit code 2. Stopped: exit code 75. Others: a traceback."""
    line = "%(asctime)s.%(msecs)03d %(message)s"
    logging.basicConfig(format=line, datefmt="%H:%M:%S", level=logging.INFO, stream=sys.stderr)
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(f"stopped: {stopped}", file=sys.stderr)
        sys.exit(75)
    except KeyboardInterrupt:
        sys.exit(130)


def adapter_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that name a model: --adapter, --model, --revision, --params."""
    parser.add_argument("--adapter", required=True, help="a name of editlane/registry.py")
    parser.add_argument("--model", default="", help="a folder or a hub id; nothing for adapters without a model")
    parser.add_argument("--revision", default="", help="the hub's commit or tag")
    parser.add_argument("--params", default="{}", help="the adapter's settings as a JSON object")


def read_adapter_flags(args: argparse.Namespace) -> dict[str, Any]:
    """adapter, model, revision and params, as the adapters take them. Raises UserError for params that are no JSON."""
    try:
        params = json.loads(args.params)
    except ValueError as error:
        example = '{"num_inference_steps": 4}'
        raise UserError(f"--params is not JSON ({error}); give an object such as '{example}'.") from error
    if not isinstance(params, dict):
        raise UserError(f"--params is {args.params!r}; give a JSON object.")
    return {"adapter": args.adapter, "model": args.model or None, "revision": args.revision or None, "params": params}


def device_label(loaded: Editor | Judge) -> str:
    """The device that the tables name; adapters without a model name what they leased, and load no torch to do so."""
    return device_name() if loaded.NEEDS_MODEL else os.environ.get("CUDA_VISIBLE_DEVICES") or "cpu"
