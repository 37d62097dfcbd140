"""What makes an editor of diffusers faster or smaller: settings that mean the same for every pipeline.

Each is off unless it is set. All but `offload` change rounding at least, so they are part of the journal key.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from editlane.core.errors import UserError, one_line
from editlane.core.params import SPEED, KeyedBy, Params
from editlane.editors.optimizations import compile as compiling
from editlane.editors.optimizations import fp8
from editlane.editors.optimizations import step_cache as step_caches
from editlane.models import load_times
from editlane.models import lora as loras

# fmt: off
AttentionBackend = Literal[
    "native", "_native_cudnn", "_native_efficient", "_native_flash", "_native_math", "_native_npu", "_native_xla",
    "flash", "flash_varlen", "_flash_3", "_flash_varlen_3", "flex", "xformers", "flash_hub", "flash_varlen_hub",
    "flash_4_hub", "_flash_3_hub", "_flash_3_varlen_hub", "aiter_fa2_hub", "sage", "sage_varlen", "sage_hub",
    "sage_blackwell_hub", "_sage_qk_int8_pv_fp8_cuda", "_sage_qk_int8_pv_fp8_cuda_sm90", "_sage_qk_int8_pv_fp16_cuda",
    "_sage_qk_int8_pv_fp16_triton",
]
# fmt: on
"""diffusers' own names (a test compares). Those that end in _hub download a kernel."""

NOT_QUANTIZED = ("mod", "norm", "embed")
"""Parts of the names of layers that stay as they are. The modulation works on one vector: it saves no time, and its
errors reach every token."""


def _checked_lora(lora: str | None) -> str | None:
    if lora is not None:
        loras.check_lora(lora)
    return lora


class OptimizationParams(Params):
    """The settings of this module."""

    attention_backend: AttentionBackend | None = None
    """What computes the attention, by diffusers' name; null is torch's own choice. A wrong
    name is answered with all of them."""
    compile: bool | None = False
    """Whether the blocks of the transformer are compiled."""
    cache: step_caches.Cache | None = None
    """A step cache, `{kind: ...}`: steps whose result is foreseeable are not computed."""
    lora: Annotated[str | None, AfterValidator(_checked_lora), KeyedBy(loras.fingerprint_lora)] = None
    """A `.safetensors` file, or `hf://org/name@revision/file.safetensors`, fused into the weights."""
    quantization: Literal["fp8"] | None = None
    """The number format of the transformer's large layers."""
    offload: Annotated[Literal["model", "blocks"] | None, SPEED] = None
    """On the GPU: one component at a time, or one transformer block at a time. The rest waits in the host's memory."""


# `offload` is SPEED: the same kernels on the same numbers, wherever the weights wait, so the same pixels. What changes
# weights must do it in one place, with `offload` or without.
NAMES = tuple(OptimizationParams.model_fields)


def starts_on_cpu(params: Mapping[str, Any]) -> bool:
    """Whether the weights are to be read into the host's memory first: all of them at once may not fit on the GPU, and
    a LoRA is fused there with or without `offload`, because PEFT rounds it otherwise than on a GPU."""
    return any(params.get(name) for name in ("offload", "quantization", "lora"))


def is_quantized(path: str, out: int, inside: int) -> bool:
    """Whether fp8 is for the layer at this path in a block: by its name, and its sides, which are multiples of 16."""
    return not any(part in path for part in NOT_QUANTIZED) and out % 16 == inside % 16 == 0


def apply_levers(pipe: Any, params: OptimizationParams, device: str, steps: int | None) -> step_caches.StepCache | None:
    """Apply the optimizations of `params` to a loaded pipeline and move it to `device`. Return the step cache, if any.

    Raises UserError for one that this pipeline, this Python or this device cannot do.
    """
    if not any(getattr(params, name) for name in NAMES):
        return None
    model = denoiser(pipe)
    if params.lora is not None:
        loras.fuse_lora(pipe, params.lora)
    if params.quantization:
        fp8.quantize_blocks(model, device, is_quantized)
    if params.attention_backend:
        set_attention_backend(model, params.attention_backend, device)
    if params.compile:
        compiling.compile_blocks(model)
    if starts_on_cpu(dict(params)):  # its hooks, and then a cache's, stand around what is compiled
        _place(pipe, params.offload, device)
    return None if params.cache is None else step_caches.StepCache(pipe, model, params.cache, steps)


def denoiser(pipe: Any) -> Any:
    """The model that runs once a step. Raises UserError for a pipeline without one."""
    for name in ("transformer", "unet"):
        if getattr(pipe, name, None) is not None:
            return getattr(pipe, name)
    raise UserError(f"{type(pipe).__name__} has no transformer and no unet; remove {', '.join(NAMES)}.")


def _place(pipe: Any, offload: str | None, device: str) -> None:
    import torch

    with load_times.measure_phase("transfer"):
        if device == "cpu" or offload is None:
            pipe.to(device)
        elif offload == "model":
            pipe.enable_model_cpu_offload(device=device)
        else:
            pipe.enable_group_offload(
                torch.device(device), offload_type="block_level", num_blocks_per_group=1, use_stream=True
            )


def set_attention_backend(model: Any, name: str, device: str) -> None:
    """Let `model` compute its attention with diffusers' backend `name`; other models of this process keep theirs.

    Tries it once. Raises UserError where it cannot run here: a package, a kernel or a device that it needs is missing.
    """
    import torch
    from diffusers.models.attention_dispatch import attention_backend, dispatch_attention_fn

    head_dim = getattr(model.config, "attention_head_dim", None)
    probe = torch.zeros(1, 128, 2, head_dim if isinstance(head_dim, int) else 64, device=device, dtype=model.dtype)
    try:
        with torch.no_grad(), attention_backend(name):  # puts back what set_attention_backend sets for the process
            model.set_attention_backend(name)
            dispatch_attention_fn(probe, probe, probe, backend=name)
    except Exception as error:
        raise UserError(
            f"attention_backend: {name} cannot be used here: {type(error).__name__}: {one_line(error)} "
            "Leave it out for torch's own choice, or try another."
        ) from error
    modules = (getattr(module, "processor", None) for module in model.modules())
    if not any(getattr(processor, "_attention_backend", None) for processor in modules):
        raise UserError(f"attention_backend has no effect on {type(model).__name__}. Remove it.")
