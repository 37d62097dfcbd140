"""Decode replies in transformers: by the params of the judge alone, each with its own random generator."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from editlane.core.cut_replies import CutReply

if TYPE_CHECKING:
    import torch


def forget_generation_settings(model: Any, tokenizer: Any) -> None:
    """Leave of the checkpoint's own generation settings only the tokens that end a reply and that pad one.

    transformers fills each setting that a call leaves out from these: penalties, beams, tokens that are suppressed.
    """
    from transformers import GenerationConfig

    ends = model.generation_config.eos_token_id
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id if ends is None else ends, pad_token_id=tokenizer.pad_token_id
    )


def write_replies(
    model: Any,
    inputs: dict[str, Any],
    max_new_tokens: int,
    temperature: float,
    seeds: Sequence[int],
    decode: Callable[["torch.Tensor"], list[str]],
) -> list[str]:
    """Return a reply to each prompt, from a model without generation settings of its own.

    `inputs`: padded on the left. `seeds`: one per prompt, for a temperature above 0. `decode`: makes texts of tokens. A
    reply without a token that ends it is a `CutReply`.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    greedy = GenerationConfig(do_sample=False, max_new_tokens=max_new_tokens)
    drawn = LogitsProcessorList([draw_tokens(temperature, seeds)] if temperature else [])
    with torch.inference_mode(), no_cudnn_attention():
        tokens = model.generate(**inputs, generation_config=greedy, logits_processor=drawn)
    written = tokens[:, inputs["input_ids"].shape[1] :]
    ends = model.generation_config.eos_token_id
    ended = torch.isin(written, written.new_tensor([] if ends is None else ends)).any(-1).tolist()
    return [text if whole else CutReply(text) for text, whole in zip(decode(written), ended, strict=True)]


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
