"""Run any diffusers pipeline that takes an image and a prompt: InstructPix2Pix, FLUX.1 Kontext, FLUX.2 Klein, OmniGen,
...

The accepted arguments are read from the signature of `__call__`, before any weight is loaded. What a signature does not
tell is in `families.FAMILIES`.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from PIL.Image import Image
from pydantic import ConfigDict, model_validator

from editlane.core.errors import EditFailed, UnknownName, UserError
from editlane.core.types import Edit, EditRequest, RunsOn
from editlane.editors import modular, pipelines
from editlane.editors.families import FAMILIES, Family, find_family, find_reason, place_images
from editlane.editors.modular import is_modular
from editlane.editors.optimizations.apply import OPTIMIZATION_NAMES
from editlane.editors.optimizations.compilation import warm_up
from editlane.editors.prompt_watch import PromptWatch
from editlane.editors.signatures import IMAGE_ARGUMENTS, Signature, read_signature
from editlane.models import checkpoints
from editlane.models.devices import pick_device, pick_dtype
from editlane.models.weight_formats import check_formats

TRIAL = {"num_inference_steps": 2}
"""Enough steps to compile everything and to find out if a step cache works with this model."""

SET_PER_ITEM = frozenset(
    {"prompt", *IMAGE_ARGUMENTS, "generator", "seed", "output_type", "return_dict", "callback_on_step_end", "latents"}
)


class DiffusersParams(pipelines.PipelineParams):
    """Settings that all pipelines share, and keyword arguments of the pipeline's `__call__`. The latter are checked
    once the pipeline class is known."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _check_per_item(self) -> "DiffusersParams":
        for name in sorted(SET_PER_ITEM & (self.model_extra or {}).keys()):
            raise ValueError(f"{name} is set for every item; remove it.")
        return self


class DiffusersEditor:
    """One checkpoint of a diffusers pipeline on the device of this process."""

    VERSION = "1"
    """Bump when the same item would get other pixels."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = DiffusersParams

    def __init__(self, *, model: str, revision: str | None, params: DiffusersParams) -> None:
        index = checkpoints.read_model_index(model, revision)
        pipeline = pipelines.find_pipeline_class(index.get("_class_name"))
        self.signature = modular.read_blocks(pipeline, index) if is_modular(pipeline) else read_signature(pipeline)
        self.family = find_family(self.signature)
        self.arguments = list_arguments(params)
        check_pipeline(self.signature, self.family)
        check_arguments(self.signature, self.arguments)
        if is_modular(pipeline):
            self.pipe, self.step_cache = _load_modular(pipeline, index, model, revision, params), None
        else:
            folder = pipelines.fetch_checkpoint(pipeline, model, revision, allow_pickle=params.allow_pickle)
            self.pipe, self.step_cache = pipelines.load_pipeline(pipeline, folder, params, self.family.dtypes)
        self.prompts = PromptWatch(self.pipe)
        tried = [name for name in ("compile", "cache") if getattr(params, name)]
        if tried:
            trial = pipelines.make_trial_request(params.width or 1024, params.height or 1024)
            warm_up(lambda: self._run(trial, TRIAL), " and ".join(tried))

    def edit(self, request: EditRequest) -> Edit:
        """Carry out one instruction. Raises the errors of `pipelines.run_pipeline`, and EditFailed of kind `images` for
        an item with several images if the pipeline takes one."""
        self.prompts.expect(request.item.instruction)
        image = self._run(request, {})
        return Edit(image=image, requested_size=self._find_asked_size(request), prompt_truncated=self.prompts.is_cut())

    def _find_asked_size(self, request: EditRequest) -> tuple[int, int] | None:
        """Return the size that the user or the rule of the family asked for; None if the pipeline chose."""
        sizes = choose_size(self.pipe, self.family, self.arguments, request) or self.arguments
        width, height = sizes.get("width"), sizes.get("height")
        return (width, height) if width and height else None

    def _run(self, request: EditRequest, instead: dict[str, Any]) -> Image:
        if request.references and not self.family.several:
            text = f"{self.signature.pipeline} takes one image, and this item has {1 + len(request.references)}"
            raise EditFailed(text, kind="images")
        arguments = make_size_arguments(self.signature, self.arguments, request)
        arguments |= choose_size(self.pipe, self.family, self.arguments, request)
        arguments |= {**self.family.extra, **self.arguments}
        arguments |= make_item_arguments(self.signature, self.family, request) | instead
        return pipelines.run_pipeline(self.pipe, request, arguments, self.step_cache)


def list_arguments(params: DiffusersParams) -> dict[str, Any]:
    """Return the arguments of every call that the user set."""
    return params.model_dump(exclude_unset=True, exclude={"dtype", "allow_pickle", *OPTIMIZATION_NAMES})


def _load_modular(
    pipeline: Any, index: Mapping[str, Any], model: str, revision: str | None, params: DiffusersParams
) -> modular.ModularCall:
    modular.check_optimizations(params)
    modular.check_libraries(index)
    folder = modular.fetch_modular(model, revision)
    check_formats(str(folder), allow_pickle=False)
    device, blocks = pick_device(), modular.make_blocks(pipeline, index)
    return modular.load_modular(pipeline, blocks, folder, pick_dtype(params.dtype, device), device)


def check_pipeline(signature: Signature, family: Family) -> None:
    """Raise UserError if a pipeline cannot edit an item, or lacks a package."""
    if reason := find_reason(signature, family):
        raise _make_refusal(signature.pipeline, reason)
    if family.package and find_spec(family.package) is None:
        raise UserError(
            f"{signature.pipeline} needs the package {family.package!r}, which this Python does not have. "
            f"Add it to the editor's `env:`, or: pip install {family.package}"
        )


def check_name(pipeline: str) -> None:
    """Raise UserError for a pipeline class of which it is known that it cannot edit."""
    if pipeline in FAMILIES and (reason := FAMILIES[pipeline].refused):
        raise _make_refusal(pipeline, reason)


def _make_refusal(pipeline: str, reason: str) -> UserError:
    return UserError(f"{pipeline} {reason}. Choose another checkpoint.")


def check_arguments(signature: Signature, arguments: Mapping[str, Any]) -> None:
    """Raise UserError if a pipeline does not accept one of `arguments`, or would silently ignore its guidance."""
    for name in arguments:
        if name not in signature.defaults:
            raise UnknownName(f"parameter of {signature.pipeline}", name, set(signature.names) - SET_PER_ITEM)
    scale = arguments.get("true_cfg_scale", signature.defaults.get("true_cfg_scale"))
    if isinstance(scale, int | float) and scale > 1 and arguments.get("negative_prompt") is None:
        raise UserError(
            f"true_cfg_scale is {scale:g} without a negative_prompt, with which {signature.pipeline} would silently "
            'run without guidance. Add negative_prompt: " ", or set true_cfg_scale: 1.'
        )


def make_size_arguments(signature: Signature, asked: Mapping[str, Any], request: EditRequest) -> dict[str, Any]:
    """Build arguments that keep the source's aspect ratio if the pipeline defaults to a square.

    With `max_area` a pipeline scales width and height to that area and keeps their ratio. The result is empty if the
    user set a size, or if the pipeline reads the size from the source itself.
    """
    if asked.get("width") or asked.get("height"):
        return {}
    if {"max_area", "width", "height"} <= signature.defaults.keys():
        return {"width": request.source.width, "height": request.source.height}
    return {"use_input_image_size_as_output": True} if "use_input_image_size_as_output" in signature.defaults else {}


def choose_size(pipe: Any, family: Family, asked: Mapping[str, Any], request: EditRequest) -> dict[str, int]:
    """Return the width and the height that the family's rule asks for; empty if the user or the pipeline decides."""
    rule = family.size or (family.size_with_references if request.references else None)
    if rule is None or asked.get("width"):
        return {}
    width, height = rule(pipe, request.source, asked)
    return {"width": width, "height": height}


def make_item_arguments(signature: Signature, family: Family, request: EditRequest) -> dict[str, Any]:
    """Build the arguments that differ between items, under the names that the pipeline uses."""
    assert signature.image is not None
    images = [request.source, *request.references]
    arguments: dict[str, Any] = {
        signature.image: place_images(family, signature.image, images),
        "prompt": family.prompt(request.item.instruction, len(images)),
    }
    if "callback_on_step_end" in signature.defaults:
        arguments["callback_on_step_end"] = pipelines.make_step_callback(request)
    return arguments
