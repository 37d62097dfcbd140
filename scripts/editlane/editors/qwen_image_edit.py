"""Qwen-Image-Edit: the first release, -Plus (2509) and 2511, as the checkpoint's model_index.json says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from editlane import checkpoints, pipelines
from editlane.errors import UserError
from editlane.params import check_integer, check_number, read_params
from editlane.types import Edit, EditRequest

PIPELINES = ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
OWNER = "the editor qwen-image-edit"


@dataclass(frozen=True, slots=True, kw_only=True)
class QwenImageEditParams:
    """The settings of this editor. What is None is left to diffusers."""

    dtype: str | None = None
    """Of weights and activations; None is bfloat16 on a GPU and float32 on the CPU."""
    num_inference_steps: int | None = None
    """Denoising steps, at least 2: with 1 the released scheduler divides 0 by 0. diffusers' own number is 50, the
    2509 model card's 40; Lightning checkpoints take 4 or 8."""
    true_cfg_scale: float = 4.0
    """Classifier-free guidance; above 1 every step runs the model twice, the second time with `negative_prompt`."""
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    """For guidance-distilled checkpoints only, of which none was released; not classifier-free guidance."""
    height: int | None = None
    """Pixels, a multiple of 16; None for one megapixel in the source's aspect ratio. The same holds for `width`."""
    width: int | None = None
    max_sequence_length: int | None = None
    """Tokens of the prompt, at most 1024."""

    def __post_init__(self) -> None:
        pipelines.check_common_params({field.name: getattr(self, field.name) for field in fields(self)})
        if self.num_inference_steps is not None:
            check_integer("num_inference_steps", self.num_inference_steps, 2)
        check_number("true_cfg_scale", self.true_cfg_scale, 0)
        if not isinstance(self.negative_prompt, str | None):
            raise UserError(f"negative_prompt is {self.negative_prompt!r}; use a text.")
        if self.true_cfg_scale > 1 and self.negative_prompt is None:
            raise UserError(
                f"true_cfg_scale is {self.true_cfg_scale:g} without a negative_prompt, with which the model would "
                'silently run without guidance. Add negative_prompt: " " (the model card\'s), or set true_cfg_scale: 1.'
            )
        if self.guidance_scale is not None:
            check_number("guidance_scale", self.guidance_scale, 0)
        for name in ("height", "width"):
            if (getattr(self, name) or 0) % 16:
                raise UserError(f"{name} is {getattr(self, name)}; use a multiple of 16, the model rounds down others.")
        if self.max_sequence_length is not None:
            check_integer("max_sequence_length", self.max_sequence_length, 1)
            check_number("max_sequence_length", self.max_sequence_length, 1, 1024)


class QwenImageEditor:
    """One Qwen-Image-Edit checkpoint on the device of this process."""

    VERSION = "1"
    """Bump when the same item would get other pixels."""
    NEEDS_MODEL = True
    SPEED_PARAMS: frozenset[str] = frozenset()

    def __init__(self, *, model: str, revision: str | None, params: Mapping[str, Any]) -> None:
        self.params = read_params(QwenImageEditParams, OWNER, params)
        name = checkpoints.read_model_index(model, revision).get("_class_name")
        if name not in PIPELINES:
            raise UserError(
                f"The checkpoint {model} is of the pipeline class {name!r}; the adapter qwen-image-edit takes "
                f"{' and '.join(PIPELINES)}. Use `adapter: diffusers`, or another checkpoint."
            )
        pipeline = pipelines.pipeline_class(name)
        folder = pipelines.fetch_checkpoint(pipeline, model, revision)
        _check_guidance(folder, self.params.guidance_scale)
        self.pipe = pipelines.load_pipeline(pipeline, folder, self.params.dtype)

    @classmethod
    def check_params(cls, params: Mapping[str, Any]) -> None:
        """Raises UserError for a name or a value that this editor does not take. Needs no model library."""
        read_params(QwenImageEditParams, OWNER, params)

    def edit(self, request: EditRequest) -> Edit:
        """Carry out one instruction. Raises the errors of `pipelines.run_pipeline`."""
        params = self.params
        arguments = {
            "image": request.source,  # a list would be several references (-Plus) or several items (first release)
            "prompt": request.item.instruction,
            "negative_prompt": params.negative_prompt,
            "true_cfg_scale": params.true_cfg_scale,
            "callback_on_step_end": pipelines.step_callback(request),
        }
        for name in ("num_inference_steps", "guidance_scale", "height", "width", "max_sequence_length"):
            if getattr(params, name) is not None:
                arguments[name] = getattr(params, name)
        size = (params.width, params.height) if params.width and params.height else None
        return Edit(image=pipelines.run_pipeline(self.pipe, request, arguments), requested_size=size)


def _check_guidance(folder: Path, guidance_scale: float | None) -> None:
    config = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    distilled = bool(config.get("guidance_embeds"))
    if distilled and guidance_scale is None:
        raise UserError(f"The checkpoint {folder} is guidance-distilled. Set guidance_scale.")
    if not distilled and guidance_scale is not None:
        raise UserError(
            f"guidance_scale has no effect on the checkpoint {folder}, which is not guidance-distilled. Remove it; "
            "classifier-free guidance is true_cfg_scale with a negative_prompt."
        )
