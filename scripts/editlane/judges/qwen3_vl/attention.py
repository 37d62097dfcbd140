"""Causal attention of many tokens over a longer past, without a mask: torch has fast kernels for it, and transformers
makes a mask for which they do not work.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "causal_over_past"


def use_causal_attention(language_model: Any) -> None:
    """Let a model of transformers that runs on `sdpa` attend so wherever it is given no mask. Others stay as they
    are."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    if language_model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _mask)
    language_model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    **settings: Any,
) -> tuple["torch.Tensor", None]:
    """(rows, heads, tokens, size) each to (rows, tokens, heads, size). Without a mask the last token attends to all
    keys, the one before it to all but the last, and so on."""
    import torch
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    tokens, keys = query.shape[2], key.shape[2]
    if attention_mask is not None or tokens in (1, keys):
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
        return found
    groups = module.num_key_value_groups
    attended = torch.nn.functional.scaled_dot_product_attention(
        query,
        repeat_kv(key, groups),
        repeat_kv(value, groups),
        attn_mask=_lower_right(tokens, keys),
        scale=settings.get("scaling"),
    )
    return attended.transpose(1, 2).contiguous(), None


@lru_cache(maxsize=64)
def _lower_right(tokens: int, keys: int) -> "torch.Tensor":
    """What torch takes for a mask and never makes one; equal for all layers."""
    from torch.nn.attention.bias import causal_lower_right

    bias: torch.Tensor = causal_lower_right(tokens, keys)
    return bias


def _mask(*arguments: Any, attention_mask: Any = None, **settings: Any) -> Any:
    """None where nothing is padded; else transformers' own."""
    from transformers.masking_utils import sdpa_mask

    return None if attention_mask is None else sdpa_mask(*arguments, attention_mask=attention_mask, **settings)
