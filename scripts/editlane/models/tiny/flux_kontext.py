"""Build a tiny FLUX.1 Kontext."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.clip_and_vae import LATENT_CHANNELS, TEXT_HIDDEN, build_clip_text_encoder, build_kl_vae
from editlane.models.tiny.tokenizers import build_clip_tokenizer, build_t5_tokenizer


def save_flux_kontext(folder: Path) -> None:
    """Save a FluxKontextPipeline."""
    import diffusers

    clip, t5 = build_clip_tokenizer(), build_t5_tokenizer()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096
    )
    vae = build_kl_vae(
        diffusers.AutoencoderKL,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1159,
        scaling_factor=0.3611,
    )
    pipeline = diffusers.FluxKontextPipeline(
        transformer=_build_transformer(),
        vae=vae,
        text_encoder=build_clip_text_encoder(clip),
        tokenizer=clip,
        text_encoder_2=_build_t5_encoder(t5),
        tokenizer_2=t5,
        scheduler=scheduler,
        image_encoder=None,
        feature_extractor=None,
    )
    pipeline.save_pretrained(folder)


def _build_transformer() -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_HIDDEN,
        pooled_projection_dim=TEXT_HIDDEN,
        axes_dims_rope=(4, 6, 6),  # sums to attention_head_dim
        guidance_embeds=True,
    )


def _build_t5_encoder(tokenizer: Any) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(tokenizer), d_model=TEXT_HIDDEN, d_kv=8, d_ff=2 * TEXT_HIDDEN, num_layers=2, num_heads=4
    )
    return T5EncoderModel(config)
