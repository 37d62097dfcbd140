"""Build a tiny Bria FIBO Edit."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.tokenizers import build_qwen_tokenizer

TEXT_HIDDEN = 16
LATENT_CHANNELS = 16


def save_bria_fibo_edit(folder: Path) -> None:
    """Save a BriaFiboEditPipeline.

    Its vocabulary is too small for the token that the pipeline puts in the place of an empty negative prompt, so set
    `guidance_scale: 1` or a `negative_prompt`.
    """
    import diffusers

    tokenizer = build_qwen_tokenizer()
    pipeline = diffusers.BriaFiboEditPipeline(
        transformer=_build_transformer(),
        vae=_build_vae(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder=_build_text_encoder(tokenizer),
        tokenizer=tokenizer,
    )
    pipeline.save_pretrained(folder)


def _build_transformer() -> Any:
    from diffusers.models.transformers.transformer_bria_fibo import BriaFiboTransformer2DModel

    return BriaFiboTransformer2DModel(
        patch_size=1,
        in_channels=LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=2 * TEXT_HIDDEN,  # two layers side by side
        text_encoder_dim=TEXT_HIDDEN,
        axes_dims_rope=[4, 6, 6],  # sums to attention_head_dim
    )


def _build_vae() -> Any:
    import diffusers

    return diffusers.AutoencoderKLWan(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    )


def _build_text_encoder(tokenizer: Any) -> Any:
    from transformers import SmolLM3Config, SmolLM3ForCausalLM

    config = SmolLM3Config(
        hidden_size=TEXT_HIDDEN,
        intermediate_size=2 * TEXT_HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return SmolLM3ForCausalLM(config)
