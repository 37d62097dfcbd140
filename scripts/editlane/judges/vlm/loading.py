"""Load any chat VLM of transformers onto the device of this process."""

from typing import Annotated, Any, Literal

from pydantic import Field

from editlane.core.errors import UserError
from editlane.core.params import SPEED, AllowPickle, Dtype
from editlane.judges.chat import ChatJudgeParams, convert_load_errors
from editlane.judges.vlm.checkpoints import check_architecture
from editlane.models import load_times
from editlane.models.devices import pick_dtype, set_allocator
from editlane.models.no_torchvision import replace_video_processors


class VlmParams(ChatJudgeParams):
    """Settings of this judge."""

    batch_size: Annotated[int, Field(ge=1), SPEED] = 8
    """Questions per forward pass, and edits prepared at once."""
    dtype: Dtype | None = None
    """Number format of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    allow_pickle: AllowPickle = False
    attn_implementation: Literal["eager", "flash_attention_2", "flash_attention_3", "sdpa"] | None = None
    """Attention kernel, by its name in transformers; null for the family's own choice."""


def load_chat_vlm(
    model: str, revision: str | None, params: VlmParams, device: str, *, without: tuple[str, ...] = ()
) -> tuple[Any, Any]:
    """Return the processor and the model.

    Raises UserError for a checkpoint that is refused, and for one that lacks weights whose names do not begin with one
    of `without`: transformers would fill them with random numbers.
    """
    set_allocator()
    with load_times.measure_phase("imports"):
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging as transformers_logging

        replace_video_processors()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    check_architecture(model, revision, allow_pickle=params.allow_pickle)
    with convert_load_errors(model, revision), load_times.measure_phase("transfer"):
        processor = AutoProcessor.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
        loaded, found = AutoModelForImageTextToText.from_pretrained(
            model,
            revision=revision or "main",
            dtype=pick_dtype(params.dtype, device),
            device_map=device,  # the weights go straight to the device
            attn_implementation=params.attn_implementation,
            use_safetensors=None if params.allow_pickle else True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    missing = sorted(name for name in found["missing_keys"] if not name.startswith(without))
    if missing:
        raise UserError(
            f"The judge's model {model} lacks weights that its class needs, such as {missing[0]} ({len(missing)} in "
            "all), so its answers would be random. Is it a LoRA, or a checkpoint of another class? Merge a LoRA."
        )
    return processor, loaded.eval()


def to_device(inputs: dict[str, Any], model: Any) -> dict[str, Any]:
    """Copy tensors to the model's device; those that are no whole numbers get its number format."""
    return {
        name: values.to(model.device, model.dtype if values.is_floating_point() else values.dtype)
        for name, values in inputs.items()
    }
