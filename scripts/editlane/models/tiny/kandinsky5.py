"""Build a tiny Kandinsky 5 for image editing."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.clip_and_vae import TEXT_HIDDEN as CLIP_HIDDEN
from editlane.models.tiny.clip_and_vae import build_clip_text_encoder, build_kl_vae
from editlane.models.tiny.qwen_image_edit import PIXELS, TEXT_HIDDEN, build_text_encoder
from editlane.models.tiny.qwen_processor import build_qwen_processor, save_qwen_processor
from editlane.models.tiny.tokenizers import build_clip_tokenizer, build_qwen_tokenizer

LATENT_CHANNELS = 16

MODULATION_STD = 0.3
"""The modulation begins with zeros, with which no block would change anything."""


def save_kandinsky5_i2i(folder: Path) -> None:
    """Save a Kandinsky5I2IPipeline."""
    import diffusers

    tokenizer, clip = build_qwen_tokenizer(), build_clip_tokenizer()
    processor = build_qwen_processor("Qwen2VLProcessor", tokenizer, patch=14, pixels=PIXELS)
    transformer = _build_transformer()
    vae = build_kl_vae(
        diffusers.AutoencoderKL,
        latent_channels=LATENT_CHANNELS,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1159,
        scaling_factor=0.3611,
    )
    pipeline = diffusers.Kandinsky5I2IPipeline(
        transformer=transformer,
        vae=vae,
        text_encoder=build_text_encoder(tokenizer),
        tokenizer=processor,
        text_encoder_2=build_clip_text_encoder(clip),
        tokenizer_2=clip,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    )
    pipeline.save_pretrained(folder)
    save_qwen_processor(processor, folder / "tokenizer")


def _build_transformer() -> Any:
    import diffusers
    import torch

    transformer = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=LATENT_CHANNELS,
        in_text_dim=TEXT_HIDDEN,
        in_text_dim2=CLIP_HIDDEN,
        time_dim=16,
        out_visual_dim=LATENT_CHANNELS,
        patch_size=(1, 2, 2),
        model_dim=16,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
        visual_cond=True,
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim >= 2 and not parameter.any():
                parameter.normal_(std=MODULATION_STD)
    return transformer
