"""Run any diffusers pipeline that takes an image and a prompt: InstructPix2Pix, FLUX.1 Kontext, FLUX.2 Klein, OmniGen,
...

The accepted arguments are read from the signature of `__call__`, before any weight is loaded.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from PIL.Image import Image
from pydantic import ConfigDict, model_validator

from editlane.core.errors import UnknownName, UserError
from editlane.core.types import Edit, EditRequest, RunsOn
from editlane.editors import pipelines
from editlane.editors.optimizations.apply import OPTIMIZATION_NAMES
from editlane.editors.optimizations.compilation import warm_up
from editlane.editors.prompt_watch import PromptWatch
from editlane.models import checkpoints

IMAGE_ARGUMENTS = ("image", "images", "input_images")
"""Argument names for the source image; the last two take a list."""

OMNIGEN_PLACEHOLDER = "<img><|image_1|></img> "
"""Prepended to the prompt if the argument is `input_images`. Without it the model ignores the image."""

TRIAL = {"num_inference_steps": 2}
"""Enough steps to compile everything and to find out if a step cache works with this model."""

SET_PER_ITEM = frozenset(
    {"prompt", *IMAGE_ARGUMENTS, "generator", "output_type", "return_dict", "callback_on_step_end", "latents"}
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
        name = checkpoints.read_model_index(model, revision).get("_class_name")
        pipeline = pipelines.find_pipeline_class(name)
        self.accepted = list_arguments(pipeline)
        self.arguments = params.model_dump(exclude_unset=True, exclude={"dtype", "allow_pickle", *OPTIMIZATION_NAMES})
        check_arguments(pipeline.__name__, self.accepted, self.arguments)
        folder = pipelines.fetch_checkpoint(pipeline, model, revision, allow_pickle=params.allow_pickle)
        self.pipe, self.step_cache = pipelines.load_pipeline(pipeline, folder, params)
        self.prompts = PromptWatch(self.pipe)
        tried = [name for name in ("compile", "cache") if getattr(params, name)]
        if tried:
            trial = pipelines.make_trial_request(params.width or 1024, params.height or 1024)
            warm_up(lambda: self._run(trial, TRIAL), " and ".join(tried))

    def edit(self, request: EditRequest) -> Edit:
        """Carry out one instruction. Raises the errors of `pipelines.run_pipeline`."""
        width, height = self.arguments.get("width"), self.arguments.get("height")
        size = (width, height) if width and height else None
        self.prompts.expect(request.item.instruction)
        return Edit(image=self._run(request, {}), requested_size=size, prompt_truncated=self.prompts.is_cut())

    def _run(self, request: EditRequest, instead: dict[str, Any]) -> Image:
        arguments = make_size_arguments(self.accepted, self.arguments, request)
        arguments |= self.arguments | make_item_arguments(self.accepted, request) | instead
        return pipelines.run_pipeline(self.pipe, request, arguments, self.step_cache)


def list_arguments(pipeline: Any) -> list[str]:
    """List the named arguments of `__call__` in order, without a catch-all `**kwargs`."""
    parameters = inspect.signature(pipeline.__call__).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [parameter.name for parameter in parameters if parameter.kind in named and parameter.name != "self"]


def check_arguments(pipeline: str, accepted: list[str], arguments: Mapping[str, Any]) -> None:
    """Raise UserError if the pipeline does no image editing or does not accept one of `arguments`."""
    if "prompt" not in accepted or not any(name in accepted for name in IMAGE_ARGUMENTS):
        raise UserError(
            f"{pipeline} does not accept an image with a prompt, so it cannot edit. Choose another checkpoint."
        )
    for name in arguments:
        if name not in accepted:
            raise UnknownName(f"parameter of {pipeline}", name, set(accepted) - SET_PER_ITEM)


def make_size_arguments(accepted: list[str], asked: Mapping[str, Any], request: EditRequest) -> dict[str, Any]:
    """Build arguments that keep the source's aspect ratio if the pipeline defaults to a square.

    With `max_area` a pipeline scales width and height to that area and keeps their ratio. The result is empty if the
    user set a size, or if the pipeline reads the size from the source itself.
    """
    if asked.get("width") or asked.get("height"):
        return {}
    if {"max_area", "width", "height"} <= set(accepted):
        return {"width": request.source.width, "height": request.source.height}
    return {"use_input_image_size_as_output": True} if "use_input_image_size_as_output" in accepted else {}


def make_item_arguments(accepted: list[str], request: EditRequest) -> dict[str, Any]:
    """Build the arguments that differ between items, under the names that the pipeline uses."""
    name = next(name for name in IMAGE_ARGUMENTS if name in accepted)
    prompt = request.item.instruction
    arguments: dict[str, Any] = {
        name: request.source if name == "image" else [request.source],
        "prompt": OMNIGEN_PLACEHOLDER + prompt if name == "input_images" else prompt,
    }
    if "callback_on_step_end" in accepted:
        arguments["callback_on_step_end"] = pipelines.make_step_callback(request)
    return arguments
