"""Check the values of a config before their meaning: what YAML, JSON, Snakemake and flags would make of them."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from editlane.core.checkout import CHECKOUT, find_file
from editlane.core.errors import UserError, format_value
from editlane.core.json_schema import join_path
from editlane.core.printable import escape
from editlane.core.secrets import hide_keys
from editlane.core.yaml_files import check_size

_MOST_BITS = 64
_REWRITTEN = re.compile(r"[{}]|<.*>")
"""What Snakemake takes for a wildcard or for one of its variables in a path."""
_HELP = "config/README.md describes every key."


def check_values(config: dict[str, Any]) -> None:
    """Raise UserError for .nan and .inf, for numbers that no JSON reader takes, for YAML types that JSON lacks, such as
    dates and sets, and for a config that holds itself."""
    try:
        check_size(config)
    except UserError as error:
        raise UserError(f"config: {error}. {_HELP}") from error
    _check_value(config, "")


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"config: at {where}: {value} is not a finite number. {_HELP}")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise UserError(f"config: at {where}: a number of {value.bit_length()} bits is too large. {_HELP}")
    if not isinstance(value, dict | list | str | int | float | None):
        shown = hide_keys(str(value))[:80]
        raise UserError(f"config: at {where}: YAML reads {shown} as a {type(value).__name__}; put it in quotes.")
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in named:
        _check_value(entry, join_path(where, str(name)))


def check_paths(config: dict[str, Any]) -> None:
    """Raise UserError for a path or a name that Snakemake would rewrite, or that a step would take for a flag."""
    for where, text in _list_paths(config):
        check_path(where, text)


def check_path(where: str, text: str) -> None:
    """Raise UserError for the path at `where` like `check_paths`."""
    if text.startswith("-"):
        raise UserError(
            f"config: {where} is {format_value(text)}, which would be taken for a flag. A path can begin with ./"
        )
    if _REWRITTEN.search(text):
        raise UserError(
            f"config: {where} is {format_value(text)}, and Snakemake would replace what is in {{}} or <>. Rename "
            "the file or the folder."
        )
    if escape(text) != text:
        raise UserError(f"config: {where} is {format_value(text)}, with characters that cannot be printed.")


def check_places(envs: Iterable[str]) -> None:
    """Raise UserError if Snakemake would rewrite the path of the checkout or of one of these environment files.

    It gets both as absolute paths, so the folders above them matter, too.
    """
    if _REWRITTEN.search(str(CHECKOUT)):
        raise UserError(
            f"Editlane is in {CHECKOUT}, and Snakemake would replace what is in {{}} or <> there. Rename that folder, "
            "or move Editlane to another one."
        )
    for env in envs:
        place = str(find_file(env).resolve())
        if "{" in place or "}" in place:
            raise UserError(
                f"the environment {env} is {place}, and Snakemake would replace what is in {{}} there. Rename that "
                "folder, or move the environment to another one."
            )


def _list_paths(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    places: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
        ("dataset", config["dataset"], ("path", "edited_dir")),
        *((f"editors.{name}", one, ("model", "revision", "env")) for name, one in config["editors"].items()),
        *((f"judges.{name}", one, ("model", "revision", "env", "protocol")) for name, one in config["judges"].items()),
    ]
    for place, settings, keys in places:
        for key in keys:
            if settings[key]:
                yield f"{place}.{key}", settings[key]
    for key in ("ratings", "votes"):
        if config[key]:
            yield key, config[key]
