"""Rotary positions of diffusers' Qwen-Image transformer in real numbers.

diffusers multiplies complex numbers, for which inductor generates no code. The arithmetic is the same and on the CPU
so is every bit; a GPU may round its complex product differently, so this is for compiled blocks only.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Positions = tuple["torch.Tensor", "torch.Tensor"]
"""Cosine and sine of each token's angles, (tokens, 1, head dimension / 2), float32."""


def use_real_positions(transformer: Any) -> None:
    """Change this transformer in place; others of the process stay as they are."""
    transformer.pos_embed.forward = partial(_real_positions, transformer.pos_embed.forward)
    for block in transformer.transformer_blocks:
        block.attn.processor = RealAttention(block.attn.processor._attention_backend)


def _real_positions(positions: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[Positions, Positions]:
    """Of the images' tokens and of the text's, what diffusers' embedding gives, taken apart."""
    image, text = positions(*arguments, **named)
    return _parts(image), _parts(text)


def _parts(angles: "torch.Tensor") -> Positions:
    return angles.real[:, None].contiguous(), angles.imag[:, None].contiguous()


def rotated(x: "torch.Tensor", positions: Positions) -> "torch.Tensor":
    """`x`, (batch, tokens, heads, head dimension), with each pair of neighbours turned by its angle; dtype of `x`."""
    import torch

    cos, sin = positions
    real, imaginary = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)
    return turned.flatten(-2).type_as(x)


class RealAttention:
    """As QwenDoubleStreamAttnProcessor2_0 of diffusers 0.42, up to the rotation. Takes no mask: an edit has one prompt,
    which needs none.
    """

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
        """The attention of image and text tokens, (batch, tokens, width) each, over both."""
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
                states[index] = rotated(norm(states[index]), positions)
        query, key, value = (torch.cat(parts, dim=1) for parts in zip(text, image, strict=True))
        joined = self._attend(query, key, value, backend=self._attention_backend).flatten(2, 3).to(query.dtype)
        words = encoder_hidden_states.shape[1]
        image_out = attn.to_out[1](attn.to_out[0](joined[:, words:].contiguous()))
        return image_out, attn.to_add_out(joined[:, :words].contiguous())
