"""Settings of an editor behind a server, and which of them each kind of server takes."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from editlane.core.params import SPEED
from editlane.core.strict_model import Text
from editlane.endpoint.params import ServerParams

DIFFUSION = ("num_inference_steps", "guidance_scale", "true_cfg_scale", "negative_prompt")
"""Fields that vLLM-Omni and SGLang take and OpenAI does not, beside `seed` and `response_format`."""

AUTO, ASPECT = "auto", "aspect"


class ServedParams(ServerParams):
    """Settings of this editor."""

    dialect: Literal["vllm-omni", "sglang", "openai"]
    """The fields of `/images/edits` that the server takes. `vllm-omni` and `sglang` take a seed and the settings of a
    diffusion model; `openai` takes none of these, so no edit can be repeated."""
    concurrency: Annotated[int, Field(ge=1, le=1024), SPEED] = 4
    """Edits that each lane asks for at once."""
    timeout: Annotated[float, Field(ge=0.01, le=1e6), SPEED] = 300.0
    """Seconds for one attempt."""
    attempts: Annotated[int, Field(ge=1), SPEED] = 5
    """Maximum number of attempts for an edit, if another attempt may succeed."""
    cost_per_image: Annotated[Annotated[float, Field(ge=0, le=1e9)] | None, SPEED] = None
    """Price of an answer with an image, for the report's costs. It needs `currency`."""
    currency: Annotated[Text | None, SPEED] = None
    """Currency of `cost_per_image`, for example `USD`."""
    size: str | None = None
    """`aspect`: the source's aspect ratio at about 1024 x 1024 pixels, in multiples of 32, as the pipelines of
    diffusers choose it. `auto`: the server chooses. Or a size for all items, such as `1024x1024`. null is `aspect`, and
    `auto` with `dialect: openai`."""
    num_inference_steps: Annotated[int, Field(ge=1)] | None = None
    """Denoising steps; null for the server's default. Not with `dialect: openai`, as the next three."""
    guidance_scale: Annotated[float, Field(ge=0)] | None = None
    """Guidance scale of a guidance-distilled model."""
    true_cfg_scale: Annotated[float, Field(ge=0)] | None = None
    """Classifier-free guidance with the negative prompt."""
    negative_prompt: str | None = None
    """What the edit should not show."""
    quality: Text | None = None
    """OpenAI's quality, for example `low`, `medium` or `high`. Only with `dialect: openai`."""
    require_seed: Annotated[bool, SPEED] = True
    """End the lane if the same seed does not repeat the same pixels, or another seed does not change them. false: go
    on; the column `seed_used` is then false."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.cost_per_image is None) != (self.currency is None):
            raise ValueError("`cost_per_image` and `currency` belong together. Set both, or none.")
        _check_fields(self)
        _check_size(self.dialect, self.size)
        return self

    @property
    def chosen_size(self) -> str:
        """`size` with its default."""
        return self.size or (AUTO if self.dialect == "openai" else ASPECT)

    def make_fields(self) -> dict[str, Any]:
        """Return the fields of every request that these settings decide."""
        fields = {name: getattr(self, name) for name in (*DIFFUSION, "quality")}
        return {name: value for name, value in fields.items() if value is not None}


def _check_fields(params: ServedParams) -> None:
    """Raise ValueError for a setting that servers of this dialect would ignore, or refuse."""
    own = {name for name in (*DIFFUSION, "quality") if getattr(params, name) is not None}
    wrong = sorted(own & set(DIFFUSION) if params.dialect == "openai" else own & {"quality"})
    if wrong:
        others = "`dialect: vllm-omni` or `sglang`" if params.dialect == "openai" else "`dialect: openai`"
        raise ValueError(
            f"`dialect: {params.dialect}` has no {' and no '.join(wrong)}. Remove it, or set {others} if the server "
            "is one."
        )


def _check_size(dialect: str, size: str | None) -> None:
    if size is None or size == AUTO or re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", size):
        return
    if size != ASPECT:
        raise ValueError(f"size: {size!r} is none of `aspect`, `auto` and a size such as `1024x1024`.")
    if dialect == "openai":
        raise ValueError("size: `dialect: openai` has fixed sizes only. Set `auto`, or one such as `1024x1024`.")
