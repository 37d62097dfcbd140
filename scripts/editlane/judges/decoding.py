"""Decode replies: sample the tokens of several, each with its own random generator, and keep cuDNN out of it."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def draw_tokens(temperature: float, seeds: Sequence[int]) -> Callable[..., "torch.Tensor"]:
    """Return a logits processor that leaves one token per row, sampled at this temperature with the row's seed.

    transformers samples from one generator for the whole batch, so a reply would depend on its neighbours.
    """
    import torch

    generators = [random.Random(seed) for seed in seeds]

    def draw(input_ids: "torch.Tensor", logits: "torch.Tensor") -> "torch.Tensor":
        cumulated = (logits.double() / temperature).softmax(-1).cumsum(-1)
        points = torch.tensor([[one.random()] for one in generators], dtype=torch.double, device=logits.device)
        chosen = torch.searchsorted(cumulated, points * cumulated[:, -1:], right=True)
        return torch.full_like(logits, -torch.inf).scatter_(-1, chosen.clamp_(max=logits.shape[-1] - 1), 0.0)

    return draw


@contextmanager
def no_cudnn_attention() -> Iterator[None]:
    """Keep torch from cuDNN's attention, its first choice on an H100 or H200, which builds a plan for every new length.

    Decoding has a new length for each token.
    """
    import torch

    kernels: Any = torch.backends.cuda
    before = kernels.cudnn_sdp_enabled()
    kernels.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        kernels.enable_cudnn_sdp(before)
