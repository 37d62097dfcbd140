"""Checks of an adapter's `params`. They load no model library, so a dry run can do them for every editor and judge."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from editlane.core.errors import UnknownName, UserError

Params = TypeVar("Params")


def read_params(kind: type[Params], owner: str, params: Mapping[str, Any]) -> Params:
    """Build the dataclass `kind` from `params`; its `__post_init__` checks the values.

    Raises UnknownName for a name that is no field, UserError for a value that `kind` refuses; both name `owner`.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in params:
        if name not in known:
            raise UnknownName(f"parameter of {owner}", name, known)
    try:
        return kind(**params)
    except UserError as error:
        raise UserError(f"params of {owner}: {error}") from error


def check_integer(name: str, value: Any, low: int) -> None:
    """Raises UserError unless `value` is an integer of at least `low`; true and false are no integers."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise UserError(f"{name} is {value!r}; use a whole number of {low} or more.")


def check_number(name: str, value: Any, low: float, high: float | None = None) -> None:
    """Raises UserError unless `value` is a number in [low, high]; true and false are no numbers, nor is nan."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= (float("inf") if high is None else high):
        wanted = f"of {low:g} or more" if high is None else f"from {low:g} to {high:g}"
        raise UserError(f"{name} is {value!r}; use a number {wanted}.")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Raises UserError unless `value` is one of `choices`; the message offers the nearest one."""
    if not isinstance(value, str) or value not in choices:
        raise UnknownName(name, str(value), choices)


def check_names_list(name: str, value: Any) -> None:
    """Raises UserError unless `value` is a list of texts."""
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise UserError(f"{name} is {value!r}; use a list of names.")


def check_flag(name: str, value: Any) -> None:
    """Raises UserError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}; use true or false.")
