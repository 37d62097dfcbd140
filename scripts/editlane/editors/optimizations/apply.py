"""Make a diffusers editor faster or smaller with settings that mean the same for every pipeline.

Each is off by default. All except `offload` change the output at least by rounding, so they are part of the journal
key.
"""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from editlane.core.errors import PassingError, UserError, one_line
from editlane.core.params import SPEED, KeyedBy, Params
from editlane.editors.optimizations import fp8
from editlane.editors.optimizations.compilation import compile_blocks
from editlane.editors.optimizations.offloading import place_pipeline
from editlane.editors.optimizations.step_cache import Cache, StepCache
from editlane.models.lora import check_lora, fingerprint_lora, fuse_lora

log = logging.getLogger(__name__)

# fmt: off
AttentionBackend = Literal[
    "native", "_native_cudnn", "_native_efficient", "_native_flash", "_native_math", "_native_npu", "_native_xla",
    "flash", "flash_varlen", "_flash_3", "_flash_varlen_3", "flex", "xformers", "flash_hub", "flash_varlen_hub",
    "flash_4_hub", "_flash_3_hub", "_flash_3_varlen_hub", "aiter_fa2_hub", "sage", "sage_varlen", "sage_hub",
    "sage_blackwell_hub", "_sage_qk_int8_pv_fp8_cuda", "_sage_qk_int8_pv_fp8_cuda_sm90", "_sage_qk_int8_pv_fp16_cuda",
    "_sage_qk_int8_pv_fp16_triton",
]
# fmt: on
"""diffusers' own names, which a test compares. Those that end in _hub download a kernel."""

NOT_QUANTIZED = ("mod", "norm", "embed")
"""Layers whose path contains one of these keep their dtype. The modulation works on one vector: quantizing it saves no
time, and its errors reach every token."""


def _checked_lora(lora: str | None) -> str | None:
    if lora is not None:
        check_lora(lora)
    return lora


class OptimizationParams(Params):
    """Optimizations of a diffusers pipeline."""

    attention_backend: AttentionBackend | None = None
    """Attention kernel, by diffusers' name; null is torch's own choice. A wrong name is answered with the list of
    all."""
    compile: bool | None = False
    """Compile the blocks of the transformer."""
    cache: Cache | None = None
    """Step cache, `{kind: ...}`: it skips steps whose result is predictable."""
    lora: Annotated[str | None, AfterValidator(_checked_lora), KeyedBy(fingerprint_lora)] = None
    """`.safetensors` file, or `hf://org/name@revision/file.safetensors`, fused into the weights."""
    quantization: Literal["fp8"] | None = None
    """Number format of the transformer's large layers."""
    offload: Annotated[Literal["model", "blocks"] | None, SPEED] = None
    """Keep on the GPU only the component, or the transformer block, that computes. The rest waits in host memory."""


# `offload` is SPEED because the same kernels run on the same numbers, so no pixel changes. To keep that true, code that
# changes weights must run on the same device with and without `offload`.
OPTIMIZATION_NAMES = tuple(OptimizationParams.model_fields)


def starts_on_cpu(params: Mapping[str, Any]) -> bool:
    """Return True if the weights must be read into host memory first.

    They may not fit on the GPU all at once. A LoRA is always fused on the CPU, with or without `offload`, because PEFT
    rounds differently on a GPU.
    """
    return any(params.get(name) for name in ("offload", "quantization", "lora"))


def is_quantized(path: str, out: int, inside: int) -> bool:
    """Return True if fp8 applies to the layer at `path` within its block. Both sides of its weight must be multiples of
    16."""
    return not any(part in path for part in NOT_QUANTIZED) and out % 16 == inside % 16 == 0


def apply_optimizations(pipe: Any, params: OptimizationParams, device: str, steps: int | None) -> StepCache | None:
    """Apply the optimizations in `params` to a loaded pipeline and move it to `device`. Return the step cache, if any.

    Raises UserError for one that this pipeline, this Python or this device does not support.
    """
    if not any(getattr(params, name) for name in OPTIMIZATION_NAMES):
        return None
    model = find_denoiser(pipe)
    if params.lora is not None:
        fuse_lora(pipe, params.lora)
    if params.quantization:
        if not params.compile:
            log.warning("quantization: fp8 saves memory; it is expected, not measured, to save time only with compile")
        fp8.quantize_blocks(model, device, is_quantized)
    if params.attention_backend:
        set_attention_backend(model, params.attention_backend, device)
    if params.compile:
        compile_blocks(model)
    if starts_on_cpu(dict(params)):  # last, so that its hooks and a cache's stay outside of the compiled code
        place_pipeline(pipe, model, params.offload, device)
    return None if params.cache is None else StepCache(pipe, model, params.cache, steps)


def find_denoiser(pipe: Any) -> Any:
    """Return the model that runs once per step. Raises UserError if the pipeline has none."""
    for name in ("transformer", "unet"):
        if getattr(pipe, name, None) is not None:
            return getattr(pipe, name)
    raise UserError(f"{type(pipe).__name__} has no transformer and no unet; remove {', '.join(OPTIMIZATION_NAMES)}.")


def set_attention_backend(model: Any, name: str, device: str) -> None:
    """Let `model` compute attention with diffusers' backend `name`. Other models of this process keep theirs.

    Run it once as a test. Raises UserError if a package that it needs is missing, and PassingError if its kernel cannot
    be downloaded or does not run on this GPU.
    """
    import torch
    from diffusers.models.attention_dispatch import attention_backend, dispatch_attention_fn

    head_dim = getattr(model.config, "attention_head_dim", None)
    probe = torch.zeros(1, 128, 2, head_dim if isinstance(head_dim, int) else 64, device=device, dtype=model.dtype)
    is_installed = False
    try:
        with torch.no_grad(), attention_backend(name):  # restores the process-wide setting
            model.set_attention_backend(name)
            is_installed = True
            dispatch_attention_fn(probe, probe, probe, backend=name)
    except Exception as error:
        # the hub may answer, and the next try get another GPU, or one with free memory
        may_pass = isinstance(error, OSError) or (is_installed and device != "cpu")
        raise (PassingError if may_pass else UserError)(
            f"attention_backend: {name} cannot be used here: {type(error).__name__}: {one_line(error)} "
            "Leave it out for torch's own choice, or try another."
        ) from error
    modules = (getattr(module, "processor", None) for module in model.modules())
    if not any(getattr(processor, "_attention_backend", None) for processor in modules):
        raise UserError(f"attention_backend has no effect on {type(model).__name__}. Remove it.")
