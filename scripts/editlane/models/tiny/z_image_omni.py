"""Build a tiny Z-Image-Omni."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.clip_and_vae import build_kl_vae
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

TEXT_HIDDEN = 16
IMAGE_HIDDEN = 16
LATENT_CHANNELS = 16
PATCHES = 64
"""Most patches of 16 pixels that the image encoder sees."""


def save_z_image_omni(folder: Path) -> None:
    """Save a ZImageOmniPipeline."""
    import diffusers

    tokenizer = build_qwen_tokenizer()
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=LATENT_CHANNELS,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=TEXT_HIDDEN,
        siglip_feat_dim=IMAGE_HIDDEN,
        axes_dims=[4, 6, 6],  # sums to the head dimension
    )
    vae = build_kl_vae(
        diffusers.AutoencoderKL,
        latent_channels=LATENT_CHANNELS,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1159,
        scaling_factor=0.3611,
    )
    pipeline = diffusers.ZImageOmniPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=_build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        transformer=transformer,
        siglip=_build_image_encoder(),
        siglip_processor=_build_image_processor(),
    )
    pipeline.save_pretrained(folder)


def _build_text_encoder(tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        hidden_size=TEXT_HIDDEN,
        intermediate_size=2 * TEXT_HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen3Model(config)


def _build_image_encoder() -> Any:
    from transformers import Siglip2VisionConfig, Siglip2VisionModel

    config = Siglip2VisionConfig(
        hidden_size=IMAGE_HIDDEN,
        intermediate_size=2 * IMAGE_HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=16,
        num_patches=PATCHES,
    )
    return Siglip2VisionModel(config)


def _build_image_processor() -> Any:
    """Build the processor that works without torchvision, if there is none."""
    import transformers

    from editlane.models.no_torchvision import drop_video_processors

    name = "Siglip2ImageProcessorPil" if drop_video_processors() else "Siglip2ImageProcessor"
    return getattr(transformers, name)(patch_size=16, max_num_patches=PATCHES)
