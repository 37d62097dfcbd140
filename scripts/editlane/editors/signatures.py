"""Find editing pipelines by the arguments of their `__call__`, before any weight is loaded.

The installed diffusers is read as text, because importing all of its pipelines takes a quarter of a minute.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError, format_value

IMAGE_ARGUMENTS = ("image", "images", "input_images")
"""Argument names for the source image; the last two take a list."""

NEEDED = {
    "mask_image": "a mask",
    "mask": "a mask",
    "control_image": "a control image",
    "controlnet_conditioning_scale": "a control image",
    "adapter_conditioning_scale": "a control image",
    "source_prompt": "a description of the source",
    "video": "a video",
    "reference_image": "a picture of a subject",
}
"""What a pipeline with this argument needs and an item does not have. A `mask` may also be optional."""

LARGER = ("upscale", "superresolution", "refiner")
"""Parts of the names, in lower case, of pipelines that make a picture larger or sharper and do not edit."""

GUIDANCE_ARGUMENTS = (
    "guidance_scale",
    "true_cfg_scale",
    "image_guidance_scale",
    "img_guidance_scale",
    "negative_prompt",
)


class UnknownClass(UserError):
    """The installed diffusers has no such pipeline class."""

    def __init__(self, name: Any) -> None:
        super().__init__(
            f"The checkpoint needs the pipeline class {format_value(name)}, which diffusers {version('diffusers')} "
            "does not have. Install the version that the model's page asks for in the editor's `env:`."
        )


@dataclass(frozen=True)
class Signature:
    """The arguments of a pipeline's `__call__`."""

    pipeline: str
    defaults: dict[str, Any]
    """By name, in order, without a catch-all `**kwargs`. Its value is `inspect.Parameter.empty` if there is none."""

    @property
    def names(self) -> list[str]:
        """The names in order."""
        return list(self.defaults)

    @cached_property
    def image(self) -> str | None:
        """The argument that takes the source; None if there is none."""
        return next((name for name in IMAGE_ARGUMENTS if name in self.defaults), None)

    @property
    def guidance(self) -> list[str]:
        """The arguments that set guidance."""
        return [name for name in GUIDANCE_ARGUMENTS if name in self.defaults]

    @property
    def describes(self) -> bool:
        """True for image-to-image pipelines, whose prompt describes the whole result and not a change."""
        return "strength" in self.defaults

    def find_obstacle(self) -> str | None:
        """Return why this pipeline cannot edit an item, as the end of a sentence; None if it can."""
        if "prompt" not in self.defaults or self.image is None:
            return "does not accept an image with a prompt, so it cannot edit"
        if "num_frames" in self.defaults or "num_videos_per_prompt" in self.defaults:
            return "makes a video"
        for name, what in NEEDED.items():
            if name in self.defaults and (name != "mask" or self._is_required(name)):
                return f"needs {what}"
        if any(word in self.pipeline.lower() for word in LARGER):
            return "makes a picture larger or sharper"
        known = {"prompt", *IMAGE_ARGUMENTS}
        lacking = [name for name in self.defaults if name not in known and self._is_required(name)]
        return f"needs the argument {lacking[0]}, which no item has" if lacking else None

    def _is_required(self, name: str) -> bool:
        return self.defaults[name] is inspect.Parameter.empty


def read_signature(pipeline: Any) -> Signature:
    """Read the signature of a pipeline class."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(pipeline.__call__).parameters.values()
    defaults = {one.name: one.default for one in found if one.kind in named and one.name != "self"}
    return Signature(pipeline.__name__, defaults)


def find_signature(pipeline: str) -> Signature | None:
    """Read the signature of one pipeline as `scan_pipelines` does; None if its class has no `__call__` of its own.

    Raises UnknownClass if the installed diffusers exports no such class, UserError if this Python has no diffusers.
    """
    folder = _find_diffusers()
    if f'"{pipeline}"' not in (folder / "__init__.py").read_text(encoding="utf-8"):
        raise UnknownClass(pipeline)
    for file in sorted(folder.glob("pipelines/**/*.py")):
        if f"class {pipeline}(" in file.read_text(encoding="utf-8"):
            return next((one for one in _scan_file(file) if one.pipeline == pipeline), None)
    return None


def scan_pipelines() -> dict[str, Signature]:
    """Read the signatures of all pipelines that the installed diffusers exports, by class name in order.

    Nothing is imported. Raises UserError if this Python has no diffusers.
    """
    folder = _find_diffusers()
    exported = (folder / "__init__.py").read_text(encoding="utf-8")
    found = {one.pipeline: one for file in sorted(folder.glob("pipelines/**/*.py")) for one in _scan_file(file)}
    return {name: found[name] for name in sorted(found) if f'"{name}"' in exported}


def _find_diffusers() -> Path:
    spec = find_spec("diffusers")
    if spec is None or spec.origin is None:
        raise UserError(
            "This Python has no diffusers. Run this in the environment of the editors (envs/, or an editor's `env:`)."
        )
    return Path(spec.origin).parent


def _scan_file(file: Path) -> Iterator[Signature]:
    text = file.read_text(encoding="utf-8")
    if "def __call__" not in text or "Pipeline" not in text:
        return
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and "Pipeline" in node.name:
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == "__call__":
                    yield Signature(node.name, dict(_list_defaults(part.args)))


def _list_defaults(args: ast.arguments) -> Iterator[tuple[str, Any]]:
    plain = [*args.posonlyargs, *args.args]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(args.defaults))
    pairs = [*zip(plain, [*missing, *args.defaults], strict=True), *zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    for one, default in pairs:
        if one.arg != "self":
            yield one.arg, inspect.Parameter.empty if default is None else _read_constant(default)


def _read_constant(default: ast.expr) -> Any:
    """Return the value of a literal; for an expression, its text."""
    try:
        return ast.literal_eval(default)
    except ValueError:
        return ast.unparse(default)
