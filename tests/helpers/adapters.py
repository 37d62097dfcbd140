"""Adapters as the registry builds them, with params as a config has them."""

from collections.abc import Mapping
from typing import Any, TypeVar

from editlane.core.params import read_params

Adapter = TypeVar("Adapter")


def checked(adapter: Any, params: Mapping[str, Any]) -> Any:
    """The params of an adapter. Raises UserError for wrong ones."""
    return read_params(adapter.PARAMS, f"the adapter {adapter.__name__}", params)


def built(adapter: type[Adapter], *, model: str | None, params: Mapping[str, Any]) -> Adapter:
    """An adapter of this class. Raises UserError for wrong params."""
    options: dict[str, Any] = {"model": model, "revision": None, "params": checked(adapter, params)}
    return adapter(**options)
