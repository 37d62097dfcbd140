"""Compute the rotary embedding of diffusers' Qwen-Image transformer in real numbers.

diffusers multiplies complex numbers, for which inductor generates no code. The arithmetic is the same. On the CPU the
results are bit-identical; a GPU may round its complex product differently, so only compiled blocks use this module.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Positions = tuple["torch.Tensor", "torch.Tensor"]
"""Cosine and sine of each token's angles, each (tokens, 1, head dimension / 2) float32."""


def use_real_positions(transformer: Any) -> None:
    """Change this transformer in place. Other transformers of the process keep diffusers' code."""
    transformer.pos_embed.forward = partial(_embed_in_reals, transformer.pos_embed.forward)
    for block in transformer.transformer_blocks:
        block.attn.processor = RealAttention(block.attn.processor._attention_backend)


def _embed_in_reals(positions: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Positions, Positions]:
    """Split the complex embeddings of image tokens and text tokens into real parts."""
    image, text = positions(*arguments, **named)
    return _split_complex(image), _split_complex(text)


def _split_complex(angles: "torch.Tensor") -> Positions:
    return angles.real[:, None].contiguous(), angles.imag[:, None].contiguous()


def rotate(x: "torch.Tensor", positions: Positions) -> "torch.Tensor":
    """Rotate each pair of neighbours in `x`, (batch, tokens, heads, head dimension), by its angle. Keep the dtype of
    `x`."""
    import torch

    cos, sin = positions
    real, imaginary = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)
    return turned.flatten(-2).type_as(x)


class RealAttention:
    """Works like QwenDoubleStreamAttnProcessor2_0 of diffusers 0.42, except for the rotation. It takes no mask: an edit
    has one prompt, so nothing is padded."""

    _parallel_config = None

    def __init__(self, backend: Any) -> None:
        from diffusers.models.attention_dispatch import dispatch_attention_fn

        self._attention_backend, self._attend = backend, dispatch_attention_fn

    def __call__(
        self,
        attn: Any,
        hidden_states: "torch.Tensor",
        encoder_hidden_states: "torch.Tensor",
        encoder_hidden_states_mask: "torch.Tensor | None" = None,
        attention_mask: "torch.Tensor | None" = None,
        image_rotary_emb: tuple[Positions, Positions] | None = None,
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Let image tokens and text tokens, (batch, tokens, width) each, attend to both. Return both."""
        import torch

        assert encoder_hidden_states_mask is attention_mask is None
        assert image_rotary_emb is not None
        size = (-1, attn.inner_dim // attn.heads)
        image = [project(hidden_states).unflatten(-1, size) for project in (attn.to_q, attn.to_k, attn.to_v)]
        projections = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
        text = [project(encoder_hidden_states).unflatten(-1, size) for project in projections]
        norms = ((image, (attn.norm_q, attn.norm_k)), (text, (attn.norm_added_q, attn.norm_added_k)))
        for (states, pair), positions in zip(norms, image_rotary_emb, strict=True):
            for index, norm in enumerate(pair):
                states[index] = rotate(norm(states[index]), positions)
        query, key, value = (torch.cat(parts, dim=1) for parts in zip(text, image, strict=True))
        joined = self._attend(query, key, value, backend=self._attention_backend).flatten(2, 3).to(query.dtype)
        words = encoder_hidden_states.shape[1]
        image_out = attn.to_out[1](attn.to_out[0](joined[:, words:].contiguous()))
        return image_out, attn.to_add_out(joined[:, :words].contiguous())
