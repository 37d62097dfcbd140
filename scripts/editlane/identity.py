"""Who made a result: the part of a journal key that names an editor or a judge, and what the tables say about it."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from editlane import __version__
from editlane.checkpoints import is_randomly_initialised, model_fingerprint
from editlane.journal import content_key
from editlane.registry import adapter_class

PACKAGES = ("torch", "transformers", "torchvision", "diffusers", "accelerate", "tokenizers", "pillow", "numpy")


def identity(
    kind: str, known: dict[str, str], *, adapter: str, model: str | None, revision: str | None, params: dict[str, Any]
) -> dict[str, Any]:
    """All that a result of this editor or judge depends on, besides the item. Independent of where the model lies.

    Raises UserError for an unknown adapter, wrong params or a checkpoint that is not complete.
    """
    found = adapter_class(kind, adapter, known)
    found.check_params(params)
    return {
        "adapter": adapter,
        "version": found.VERSION,
        "model": model_fingerprint(model, revision) if model else None,
        "params": params,
    }


def short_key(parts: dict[str, Any]) -> str:
    """16 hex digits for the tables' `editor_key` and `judge_key`."""
    return content_key(**parts)[:16]


def provenance(parts: dict[str, Any], *, model: str | None, revision: str | None) -> dict[str, Any]:
    """What a reader of the report is told about an editor or a judge. Holds no path, no time and no device."""
    return {
        "adapter": parts["adapter"],
        "adapter_version": parts["version"],
        "model": (Path(model).name if Path(model).exists() else model) if model else None,
        "revision": revision,
        "pinned": model is None or revision is not None or Path(model).exists(),
        "fingerprint": short_key({"model": parts["model"]}),
        "params": parts["params"],
        "random_weights": model is not None and is_randomly_initialised(model),
        "packages": _packages(),
        "editlane": __version__,
    }


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
