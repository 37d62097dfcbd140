"""Compute linear layers in 8-bit floats: half the memory, and twice the matrix throughput on GPUs with such units."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from editlane.core.errors import PassingError, UserError

if TYPE_CHECKING:
    import torch

LARGEST = 448.0
"""Largest finite value of torch.float8_e4m3fn."""

CAPABILITY = (8, 9)
"""Ada; Hopper is 9.0. Earlier GPUs have no fp8 matrix units."""


def quantize_blocks(model: Any, device: str, wanted: Callable[[str, int, int], bool]) -> None:
    """Quantize linear layers of the repeated blocks of a diffusers model in place, one by one on `device`.

    `wanted` selects layers by their path within the block and by (out, in) of their weight. Raises UserError for a GPU
    without fp8 units, for another dtype than bfloat16, and for a model without such layers.
    """
    import torch

    if device == "cuda":
        _check_gpu(model)
    names = getattr(model, "_repeated_blocks", None) or ()
    blocks = [module for module in model.modules() if type(module).__name__ in names]
    layers = [pair for block in blocks for pair in block.named_modules() if isinstance(pair[1], torch.nn.Linear)]
    found = [layer for path, layer in layers if wanted(path, *layer.weight.shape)]
    if not found:
        raise UserError(f"quantization: {type(model).__name__} has no layers that fp8 supports. Remove it.")
    for layer in found:
        quantize(layer.to(device))


def _check_gpu(model: Any) -> None:
    import torch

    found = torch.cuda.get_device_capability()
    if found < CAPABILITY:
        raise PassingError(  # the next try may get another GPU
            f"quantization: fp8 needs a GPU of compute capability 8.9 (Ada, Hopper) or later; "
            f"{torch.cuda.get_device_name()} has {found[0]}.{found[1]}. Remove it."
        )
    if model.dtype != torch.bfloat16:
        raise UserError(f"quantization: fp8 computes in bfloat16, but dtype is {model.dtype}. Remove dtype.")


def quantize(layer: "torch.nn.Linear") -> None:
    """Round the layer's weight to 8 bits in place, and its input at every call; both row by row. Sums use the layer's
    dtype."""
    weight, scale = round_rows(layer.weight.detach())
    del layer.weight
    layer.register_buffer("weight", weight.t())  # (in, out), its columns contiguous, as torch._scaled_mm wants it
    layer.register_buffer("scale", scale.t().contiguous())
    layer.__class__ = _fp8_linear()


@cache
def _fp8_linear() -> Any:
    """Return the class of quantized layers. With a `forward` per layer, torch.compile would compile each one anew."""
    import torch

    return type("Fp8Linear", (torch.nn.Linear,), {"forward": _multiply})


def _multiply(layer: Any, x: "torch.Tensor") -> "torch.Tensor":
    import torch

    rows, scale = round_rows(x.reshape(-1, x.shape[-1]))
    y = torch._scaled_mm(rows, layer.weight, scale_a=scale, scale_b=layer.scale, bias=layer.bias, out_dtype=x.dtype)
    return y.view(*x.shape[:-1], -1)


def round_rows(rows: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
    """Round (n, k) numbers to 8-bit floats, row by row: the largest of a row becomes 448. Also return the (n, 1)
    scales."""
    import torch

    scale = rows.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / LARGEST
    return (rows.float() / scale).to(torch.float8_e4m3fn), scale
