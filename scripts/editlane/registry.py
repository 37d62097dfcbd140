"""Names to adapters. Reading this file loads no model library; an adapter's module is imported when it is asked for."""

import importlib
from typing import Any

from editlane.errors import UnknownName, UserError

EDITORS = {
    "diffusers": "editlane.editors.diffusers_pipeline:DiffusersEditor",
    "fake": "editlane.editors.fake:FakeEditor",
    "given": "editlane.editors.given:GivenEditor",
    "qwen-image-edit": "editlane.editors.qwen_image_edit:QwenImageEditor",
}

JUDGES = {
    "fake": "editlane.judges.fake:FakeJudge",
    "qwen3-vl": "editlane.judges.qwen3_vl:Qwen3VLJudge",
}


def adapter_class(kind: str, name: str, known: dict[str, str]) -> Any:
    """The class behind `name`; its module must import without a model library.

    Raises UnknownName for a name that `known` does not hold.
    """
    if name not in known:
        raise UnknownName(kind, name, known)
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(kind: str, name: str, known: dict[str, str], **options: Any) -> Any:
    """Load the model behind `name`. Raises UserError where the Python of this step lacks a package."""
    adapter = adapter_class(kind, name, known)
    try:
        return adapter(**options)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{kind} {name!r} needs the package {error.name!r}, which this Python does not have. "
            f"Run with --sdm conda (the {kind}'s `env:` installs it), or: pip install {error.name}"
        ) from error
