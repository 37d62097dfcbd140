"""Refuse a checkpoint before any weight is loaded: incomplete, not reachable, with code of its own, or no chat VLM."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError, format_value
from editlane.judges.chat import check_image_processor, convert_load_errors
from editlane.models import checkpoints
from editlane.models.weight_formats import check_formats

_TYPES = "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES"
"""Where transformers lists the types that AutoModelForImageTextToText loads."""


def check_architecture(model: str, revision: str | None, *, allow_pickle: bool) -> None:
    """Raise UserError unless transformers has a class for this checkpoint that sees images and writes text."""
    from transformers import AutoConfig

    checkpoints.check_checkpoint(model)
    check_formats(model, allow_pickle=allow_pickle)
    with convert_load_errors(model, revision):
        config = AutoConfig.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    check_type(config.model_type, model)
    if not checkpoints.is_hub_id(model):
        check_image_processor(Path(model))


def check_type(model_type: Any, model: str) -> None:
    """Raise UserError unless the installed transformers has a class for this type that sees images and writes text."""
    if not isinstance(model_type, str) or model_type not in _read_types():
        raise UserError(
            f"The judge's model {model} has the type {format_value(model_type)}, which does not see images and write "
            "text in the installed transformers. Set `model:` to a chat VLM, such as Qwen3.5, InternVL, GLM-4.6V or "
            "Gemma 4."
        )


@cache
def _read_types() -> frozenset[str]:
    """Read the types from the code of transformers, because importing it takes seconds.

    Raises ModuleNotFoundError if this Python has no transformers.
    """
    spec = find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")
    text = (Path(spec.origin).parent / "models/auto/modeling_auto.py").read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(args=[pairs])) if name == _TYPES:
                return frozenset(dict(ast.literal_eval(pairs)))
    raise LookupError(f"transformers has no {_TYPES}")
