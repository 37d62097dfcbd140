"""Stand in for SGLang's operators for the CPU, for tests. It is copied into a venv of its own, as a plugin of SGLang.

The real ones are compiled from its source. These are what Qwen-Image-Edit needs, in plain torch.
"""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, rms_norm


def fused_scale_shift_cpu(x: Tensor, scale: Tensor, shift: Tensor, constant: float) -> Tensor:
    return (x.float() * (constant + scale.float()) + shift.float()).to(x.dtype)


def fused_norm_scale_shift_cpu(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, scale: Tensor, shift: Tensor, norm: str, eps: float
) -> Tensor:
    weight, bias = (None if one is None else one.float() for one in (weight, bias))
    if norm == "layer":
        normed = layer_norm(x.float(), x.shape[-1:], weight, bias, eps)
    else:
        normed = rms_norm(x.float(), x.shape[-1:], weight, eps)
    return (normed * (1 + scale.float()) + shift.float()).to(x.dtype)


def fused_scale_residual_norm_scale_shift_cpu(
    residual: Tensor,
    x: Tensor,
    gate: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    scale: Tensor,
    shift: Tensor,
    norm: str,
    eps: float,
) -> tuple[Tensor, Tensor]:
    total = residual + (x if gate is None else x * gate)
    return fused_norm_scale_shift_cpu(total, weight, bias, scale, shift, norm, eps), total


def define() -> None:
    """Define the operators, in each process of the server."""
    for operator in (fused_scale_shift_cpu, fused_norm_scale_shift_cpu, fused_scale_residual_norm_scale_shift_cpu):
        torch.library.custom_op(f"sgl_kernel::{operator.__name__}", operator, mutates_args=())
