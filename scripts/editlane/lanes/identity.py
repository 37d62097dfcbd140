"""Build the part of the journal key that names an editor or a judge, and its provenance."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from editlane import __version__
from editlane.core.published_names import is_published
from editlane.core.types import RunsOn
from editlane.images.files import PREPROCESSING
from editlane.lanes.journal import content_key
from editlane.models.checkpoints import fingerprint_model, is_randomly_initialised
from editlane.models.devices import find_loaded_cudnn
from editlane.models.registry import check_params, find_adapter, name_code_version

PACKAGES = (
    "torch",
    "transformers",
    "vllm",
    "torchvision",
    "diffusers",
    "accelerate",
    "peft",
    "tokenizers",
    "pillow",
    "numpy",
)


def identify(
    kind: str,
    *,
    adapter: str,
    model: str | None,
    revision: str | None,
    params: dict[str, Any],
    generates: bool = False,
) -> dict[str, Any]:
    """Return all that a result of this editor or judge depends on, besides the item and the place of the model.

    `generates`: the protocol of this judge has generated answers. Raises UserError for an unknown adapter, wrong
    params, a checkpoint that is not complete, or a fleet that never ran here.
    """
    found = find_adapter(kind, adapter)
    check_params(kind, adapter, params)
    return {
        "adapter": adapter,
        "version": name_code_version(found, generates=generates),
        "model": _model_part(found, model, revision, params) if model else None,
        "params": found.PARAMS.key_parts(params),
        "preprocessing": PREPROCESSING,
    }


def _model_part(adapter: Any, model: str, revision: str | None, params: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a model. If a server has it, its name is all that can be found out."""
    if adapter.RUNS_ON != RunsOn.SERVER:
        return fingerprint_model(model, revision)
    return {"served": adapter.name_version(model, params)}


def model_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Return adapter, model, revision and params from the settings of an editor or a judge."""
    return {name: settings[name] for name in ("adapter", "model", "revision", "params")}


def shorten_key(parts: dict[str, Any]) -> str:
    """Return 16 hex digits of the key of these parts."""
    return content_key(**parts)[:16]


def describe(
    parts: dict[str, Any], *, adapter: str, model: str | None, revision: str | None, params: dict[str, Any]
) -> dict[str, Any]:
    """Return how a model was configured, without paths, times and devices."""
    served = (parts["model"] or {}).get("served")
    files = {  # the params of which the key holds a fingerprint
        name: {"name": _named(params[name]), "fingerprint": shorten_key({name: part})}
        for name, part in parts["params"].items()
        if part != params[name]
    }
    unkeyed = {name: value for name, value in params.items() if name not in parts["params"] and isinstance(value, str)}
    folders = {name: Path(value).absolute().name for name, value in unkeyed.items() if _is_folder(value)}
    return {
        "adapter": adapter,
        "adapter_version": parts["version"],
        "model": served or (_named(model) if model else None),
        "revision": revision,
        "pinned": model is None or revision is not None or Path(model).exists() or is_published(served or ""),
        "fingerprint": shorten_key({"model": parts["model"]}),
        "params": params | files | folders,
        "random_weights": model is not None and is_randomly_initialised(model),
        "packages": _packages(),
        "cudnn": find_loaded_cudnn(),
        "editlane": __version__,
    }


def _is_folder(text: str) -> bool:
    return os.path.isdir(text)  # noqa: PTH112  because Path raises an error for a long text


def _named(file: str) -> str:
    """Return the name of a file or folder without where it lies; a hub's name stays whole."""
    return Path(file).name if Path(file).exists() else file


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
