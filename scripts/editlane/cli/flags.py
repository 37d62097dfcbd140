"""The flags of the step programs: their parser, and types that refuse a wrong value before anything is read or written.

A type gets the text of a flag and returns its value; it raises ArgumentTypeError, which ends the step as a UserError.
"""

import argparse
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from editlane.core.errors import UserError, format_value
from editlane.core.printable import has_hidden_letters


class StepParser(argparse.ArgumentParser):
    """The flags of a step; `doc` is what --help shows. A wrong flag is a UserError.

    A program with commands has a parser for each; argparse then gives `prog`, the program with the command.
    """

    def __init__(self, doc: str | None, prog: str | None = None) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=doc, formatter_class=formatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}. `python scripts/{self.prog} --help` describes every flag.")


class Distinct(argparse.Action):
    """For a flag with several values: none may come twice."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        doubled = [value for place, value in enumerate(values) if value in values[:place]]
        if doubled:
            raise argparse.ArgumentError(self, f"{doubled[0]} is named twice")
        setattr(namespace, self.dest, values)


class ByName(Distinct):
    """For a flag with several pairs of a name and a value: a dict. No name may come twice."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        super().__call__(parser, namespace, [name for name, _ in values], option_string)
        setattr(namespace, self.dest, dict(values))


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Parse an integer of at least `low` and at most `high`."""
    wanted = f"of {low} or more" if high is None else f"from {low} to {high}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{format_value(text)} is not a whole number {wanted}")
        return value

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """Parse a finite number from `low` to `high`."""

    def parse(text: str) -> float:
        value = _float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{format_value(text)} is not a number from {low:g} to {high:g}")
        return value

    return parse


def seconds(text: str) -> float:
    """Parse a number above 0; a timer takes at most 1e9."""
    value = _float(text)
    if not 0 < value <= 1e9:
        raise argparse.ArgumentTypeError(f"{format_value(text)} is not a number of seconds above 0 and up to 1e9")
    return value


def _float(text: str) -> float:
    """Parse a number; NaN, which fails every comparison, if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def folder_name(text: str) -> str:
    """Parse the name of an editor, a judge or a category, which names a folder."""
    if has_hidden_letters(text) or "/" in text or text.startswith(".") or not text.strip() or len(text.encode()) > 255:
        raise argparse.ArgumentTypeError(f"{text!r} cannot name a folder; give a name without / and no dot in front")
    return text


EACH_ONCE: dict[str, Any] = {"nargs": "+", "action": Distinct}
"""What `add_argument` needs for a flag with several values."""

NAMES: dict[str, Any] = EACH_ONCE | {"type": folder_name}
"""The same for one that lists editors, judges or categories."""


def input_folder(text: str) -> Path:
    """Parse the path of an existing folder."""
    if not text or not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


def named_folder(text: str) -> tuple[str, Path]:
    """Parse EDITOR=FOLDER."""
    name, equals, folder = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not EDITOR=FOLDER, a name and an existing folder")
    return folder_name(name), input_folder(folder)


def output_folder(text: str) -> Path:
    """Parse a folder to write to. Missing parts of it are created later."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give the path of a folder")
    folder = Path(text)
    for place in (folder, *folder.parents):
        if place.is_dir():
            if not os.access(place, os.W_OK | os.X_OK):
                raise argparse.ArgumentTypeError(
                    f"cannot write {text}: {place} may not be written to (rights, or a read-only disk)"
                )
            break
        if place.exists() or place.is_symlink():
            raise argparse.ArgumentTypeError(f"cannot write {text}: {place} is not a folder")
    return folder


def output_file(text: str) -> Path:
    """Parse a file to write. Its folder is created later."""
    if not text or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a file; give the name of a file")
    if Path(text).exists() and not Path(text).is_file():  # a pipe or a device would be replaced
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular file; give the name of a file")
    output_folder(str(Path(text).parent))
    return Path(text)


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{format_value(text)} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{format_value(text)} is not a JSON object such as '{{\"steps\": 4}}'")
    return value
