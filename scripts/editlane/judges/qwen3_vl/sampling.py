"""Sample the tokens of several replies, each with its own random generator."""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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
