"""Build a tiny FLUX.2 Klein."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.clip_and_vae import LATENT_CHANNELS, build_kl_vae
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

TEXT_HIDDEN = 16
TEXT_LAYERS = 28
"""The pipeline reads the text encoder after layers 9, 18 and 27."""

WEIGHT_FACTOR = 2.0
"""With the default initialisation an instruction changes the result by less than one 8-bit level."""


def save_flux2_klein(folder: Path) -> None:
    """Save a Flux2KleinPipeline."""
    _save("Flux2KleinPipeline", folder)


def save_flux2_klein_kv(folder: Path) -> None:
    """Save a Flux2KleinKVPipeline, which keeps the keys and values of the references from step to step."""
    _save("Flux2KleinKVPipeline", folder)


def _save(pipeline_class: str, folder: Path) -> None:
    import diffusers
    import torch

    tokenizer = build_qwen_tokenizer()
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * TEXT_HIDDEN,  # three layers side by side
        timestep_guidance_channels=256,
        axes_dims_rope=(4, 4, 4, 4),  # sums to attention_head_dim
        guidance_embeds=False,
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(WEIGHT_FACTOR)
    pipeline = getattr(diffusers, pipeline_class)(
        transformer=transformer,
        vae=build_kl_vae(diffusers.AutoencoderKLFlux2),
        text_encoder=_build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    pipeline.save_pretrained(folder)


def _build_text_encoder(tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        hidden_size=TEXT_HIDDEN,
        intermediate_size=2 * TEXT_HIDDEN,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3ForCausalLM(config)
