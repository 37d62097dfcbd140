"""Attention of the judge: many new tokens over a longer cached past without a mask.

torch has fast kernels for causal attention over a past. transformers builds an explicit mask, which rules them out.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "causal_over_past"


def use_causal_attention(language_model: Any) -> None:
    """Use this attention in a transformers model that runs on `sdpa`, if it gets no mask. Leave other models
    unchanged."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    if language_model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _make_mask)
    language_model.set_attn_implementation(NAME)


def attend(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    **settings: Any,
) -> tuple["torch.Tensor", None]:
    """Compute attention; (rows, heads, tokens, size) each becomes (rows, tokens, heads, size).

    Without a mask the last token attends to all keys, and each earlier token to one key fewer.
    """
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
        attn_mask=_make_lower_right_bias(tokens, keys),
        scale=settings.get("scaling"),
    )
    return attended.transpose(1, 2).contiguous(), None


@lru_cache(maxsize=64)
def _make_lower_right_bias(tokens: int, keys: int) -> "torch.Tensor":
    """Return the causal mask that torch recognises by its type and never materialises. It is equal for all layers."""
    from torch.nn.attention.bias import causal_lower_right

    bias: torch.Tensor = causal_lower_right(tokens, keys)
    return bias


def _make_mask(*arguments: Any, attention_mask: Any = None, **settings: Any) -> Any:
    """Return None if nothing is padded, else transformers' own mask."""
    from transformers.masking_utils import sdpa_mask

    return None if attention_mask is None else sdpa_mask(*arguments, attention_mask=attention_mask, **settings)
