"""The flags by which a step is told its model and its lane."""

import argparse
from typing import Any

from editlane.cli.flags import input_folder, json_object, seconds, whole_number
from editlane.core.errors import UserError


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add --adapter, --model, --revision and --params."""
    parser.add_argument("--adapter", required=True, help="a name of editlane/models/registry.py")
    parser.add_argument("--model", default="", help="a folder or a hub id; nothing for adapters without a model")
    parser.add_argument("--revision", default="", help="the hub's commit or tag")
    parser.add_argument("--params", type=json_object, default={}, help="the adapter's settings as a JSON object")


def read_model_flags(args: argparse.Namespace) -> dict[str, Any]:
    """Return adapter, model, revision and params. Raises UserError for a revision without a model."""
    if args.revision and not args.model:
        raise UserError("--revision is given without --model; a revision is a commit or tag of a model on the hub.")
    named = {"adapter": args.adapter, "model": args.model or None, "revision": args.revision or None}
    return named | {"params": args.params}


def add_lane_flags(parser: argparse.ArgumentParser) -> None:
    """Add --run-dir, --lane, --timeout and the model flags."""
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/<run>")
    parser.add_argument("--lane", type=whole_number(0), required=True)
    add_model_flags(parser)
    parser.add_argument(
        "--timeout", type=seconds, help="end this process after so many seconds without progress (default: never)"
    )
