"""Tensors of several prompts of different length in one batch: where each ends, and how more tokens follow."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Inputs = dict[str, Any]
"""The keyword arguments of a model's forward pass, by name."""


def count_tokens(inputs: Inputs) -> list[int]:
    """Return the number of tokens of each prompt, without padding."""
    counts: list[int] = inputs["attention_mask"].sum(-1).tolist()
    return counts


def append_tokens(inputs: Inputs, tokens: tuple[int, ...]) -> Inputs:
    """Return the inputs with `tokens` after each prompt. The prompts are padded on the right, and stay so."""
    import torch

    if not tokens:
        return inputs
    lengths = count_tokens(inputs)
    shape = inputs["input_ids"].shape

    def widen(name: str, values: "torch.Tensor") -> "torch.Tensor":
        wider = torch.cat([values, values[:, -1:].expand(-1, len(tokens))], dim=1).clone()
        new = torch.tensor(tokens) if name == "input_ids" else torch.full((len(tokens),), int(name == "attention_mask"))
        for row, length in enumerate(lengths):
            wider[row, length : length + len(tokens)] = new.to(values.dtype)
        return wider

    return {name: widen(name, values) if _is_per_token(values, shape) else values for name, values in inputs.items()}


def pad_left(inputs: Inputs) -> Inputs:
    """Return inputs that are padded on the right with the padding on the left, where replies need it."""
    import torch

    lengths, shape = count_tokens(inputs), inputs["input_ids"].shape

    def move(values: "torch.Tensor") -> "torch.Tensor":
        return torch.stack([row.roll(shape[1] - length, 0) for row, length in zip(values, lengths, strict=True)])

    return {name: move(values) if _is_per_token(values, shape) else values for name, values in inputs.items()}


def _is_per_token(values: Any, shape: "torch.Size") -> bool:
    return hasattr(values, "shape") and values.shape == shape
