"""Build adapters as the registry does, with params as in a config."""

from collections.abc import Mapping
from typing import Any, TypeVar

from editlane.core.params import read_params

Adapter = TypeVar("Adapter")


def checked(adapter: Any, params: Mapping[str, Any]) -> Any:
    """Check the params of an adapter. Raises UserError for wrong ones."""
    return read_params(adapter.PARAMS, f"the adapter {adapter.__name__}", params)


def built(adapter: type[Adapter], *, model: str | None, params: Mapping[str, Any]) -> Adapter:
    """Build an adapter of this class. Raises UserError for wrong params."""
    options: dict[str, Any] = {"model": model, "revision": None, "params": checked(adapter, params)}
    return adapter(**options)
