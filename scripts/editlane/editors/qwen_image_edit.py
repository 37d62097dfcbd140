"""Qwen-Image-Edit: the first release, -Plus (2509) and 2511. The checkpoint's model_index.json decides which."""

import json
import math
import re
from pathlib import Path
from typing import Annotated, Literal

from PIL.Image import Image
from pydantic import Field, model_validator

from editlane.core.errors import EditFailed, UserError
from editlane.core.types import Edit, EditRequest, RunsOn
from editlane.editors import pipelines
from editlane.editors.families import MEGAPIXEL, fit_area
from editlane.editors.optimizations.compilation import warm_up
from editlane.editors.optimizations.real_rope import use_real_positions
from editlane.editors.prompt_watch import PromptWatch
from editlane.models import checkpoints

PIPELINES = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")

SCHEDULERS = {"lightning": {"base_shift": math.log(3), "max_shift": math.log(3), "shift_terminal": None}}
"""Changes to the released scheduler. Lightning was distilled with a shift of 3 for all sizes."""
LIGHTNING_STEPS = (4, 8)
Side = Annotated[int, Field(ge=16, multiple_of=16)]


class QwenImageEditParams(pipelines.PipelineParams):
    """Settings of this editor. diffusers' default applies if one is null."""

    num_inference_steps: Annotated[int, Field(ge=2)] | None = None
    """Denoising steps, at least 2: with 1 the released scheduler divides 0 by 0. diffusers' default is 50, the 2509
    model card's 40; Lightning checkpoints take 4 or 8."""
    height: Side | None = None
    """Pixels, a multiple of 16; null for one megapixel in the source's aspect ratio. Give both or none."""
    width: Side | None = None
    """Like `height`."""
    true_cfg_scale: Annotated[float, Field(ge=0)] = 4.0
    """Classifier-free guidance; above 1 every step runs the model twice, the second time with `negative_prompt`."""
    negative_prompt: str | None = None
    """Required if `true_cfg_scale` is above 1; the model card uses `" "`."""
    guidance_scale: Annotated[float, Field(ge=0)] | None = None
    """Only for guidance-distilled checkpoints, none of which has been released; not classifier-free guidance."""
    max_sequence_length: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Maximum tokens of the prompt. diffusers 0.42 checks the number and cuts nothing."""
    scheduler: Literal["lightning"] | None = None
    """`lightning` for Lightning checkpoints and LoRAs; null keeps the checkpoint's own."""

    @model_validator(mode="after")
    def _check_guidance(self) -> "QwenImageEditParams":
        if self.true_cfg_scale > 1 and self.negative_prompt is None:
            raise ValueError(
                f"true_cfg_scale is {self.true_cfg_scale:g} without a negative_prompt, with which the model would "
                'silently run without guidance. Add negative_prompt: " " (the model card\'s), or set true_cfg_scale: 1.'
            )
        _check_lightning(self)
        return self


def _check_lightning(params: QwenImageEditParams) -> None:
    """Raise ValueError if a model distilled to 4 or 8 steps would run with other settings. Its edits would be bad
    without an error."""
    named = re.search(r"Lightning-(\d+)steps", params.lora or "")
    steps, scale = params.num_inference_steps, params.true_cfg_scale
    if named and (params.scheduler != "lightning" or steps != int(named[1])):
        raise ValueError(
            f"the LoRA {Path(params.lora or '').name} was made for {named[1]} steps. Set scheduler: lightning, "
            f"num_inference_steps: {named[1]} and true_cfg_scale: 1."
        )
    if params.scheduler == "lightning" and (steps not in LIGHTNING_STEPS or scale > 1):
        raise ValueError(
            f"scheduler: lightning is for models of 4 or 8 steps without guidance, but num_inference_steps is {steps} "
            f"and true_cfg_scale {scale:g}. Set 4 or 8, as the LoRA's name says, and true_cfg_scale: 1."
        )


class QwenImageEditor:
    """One Qwen-Image-Edit checkpoint on the device of this process."""

    VERSION = "1"
    """Bump when the same item would get other pixels."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = QwenImageEditParams

    def __init__(self, *, model: str, revision: str | None, params: QwenImageEditParams) -> None:
        self.params = params
        name = read_class(model, revision)
        self.takes_several = name == "QwenImageEditPlusPipeline"
        pipeline = pipelines.find_pipeline_class(name)
        folder = pipelines.fetch_checkpoint(pipeline, model, revision, allow_pickle=params.allow_pickle)
        check_guidance(folder, self.params.guidance_scale)
        self.pipe, self.step_cache = pipelines.load_pipeline(pipeline, folder, params)
        self.prompts = PromptWatch(self.pipe)
        if self.params.scheduler is not None:
            scheduler = self.pipe.scheduler
            self.pipe.scheduler = scheduler.from_config(scheduler.config, **SCHEDULERS[self.params.scheduler])
        if self.params.compile:
            self._compile()

    def edit(self, request: EditRequest) -> Edit:
        """Carry out one instruction. Raises the errors of `pipelines.run_pipeline`, and EditFailed of kind `images` for
        an item with several images if this is the first release."""
        if request.references and not self.takes_several:
            text = f"QwenImageEditPipeline takes one image, and this item has {1 + len(request.references)}"
            raise EditFailed(text, kind="images")
        self.prompts.expect(request.item.instruction)
        image = self._run(request, self.params.num_inference_steps)
        return Edit(image=image, requested_size=self._find_size(request), prompt_truncated=self.prompts.is_cut())

    def _find_size(self, request: EditRequest) -> tuple[int, int] | None:
        """Return the size to ask for; None if the pipeline chooses. With several images it would follow the last."""
        if self.params.width and self.params.height:
            return self.params.width, self.params.height
        source = request.source
        return fit_area(source.width, source.height, area=MEGAPIXEL, multiple=32) if request.references else None

    def _run(self, request: EditRequest, steps: int | None) -> Image:
        params = self.params
        arguments = {
            # a list is several references (-Plus) or several items (first release)
            "image": [request.source, *request.references] if request.references else request.source,
            "prompt": request.item.instruction,
            "negative_prompt": params.negative_prompt,
            "true_cfg_scale": params.true_cfg_scale,
            "callback_on_step_end": pipelines.make_step_callback(request),
        }
        asked = {"num_inference_steps": steps} | {
            name: getattr(params, name) for name in ("guidance_scale", "max_sequence_length")
        }
        width, height = self._find_size(request) or (None, None)
        asked |= {"width": width, "height": height}
        arguments |= {name: value for name, value in asked.items() if value is not None}
        return pipelines.run_pipeline(self.pipe, request, arguments, self.step_cache)

    def _compile(self) -> None:
        use_real_positions(self.pipe.transformer)
        trial = pipelines.make_trial_request(self.params.width or 1024, self.params.height or 1024)
        warm_up(lambda: self._run(trial, steps=2), "compile: true")


def read_class(model: str, revision: str | None) -> str:
    """Return the pipeline class of a checkpoint. Raises UserError if it is none of PIPELINES."""
    name = checkpoints.read_model_index(model, revision).get("_class_name")
    if name not in PIPELINES:
        raise UserError(
            f"The checkpoint {model} has the pipeline class {name!r}; the adapter qwen-image-edit accepts "
            f"{' and '.join(PIPELINES)}. Use `adapter: diffusers`, or another checkpoint."
        )
    return str(name)


def check_guidance(folder: Path, guidance_scale: float | None) -> None:
    """Raise UserError for a guidance scale that this checkpoint lacks, or ignores."""
    config = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    distilled = bool(config.get("guidance_embeds"))
    if distilled and guidance_scale is None:
        raise UserError(f"The checkpoint {folder} is guidance-distilled. Set guidance_scale.")
    if not distilled and guidance_scale is not None:
        raise UserError(
            f"guidance_scale has no effect on the checkpoint {folder}, which is not guidance-distilled. Remove it; "
            "classifier-free guidance is true_cfg_scale with a negative_prompt."
        )
