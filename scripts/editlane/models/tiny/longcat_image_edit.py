"""Build a tiny LongCat-Image-Edit."""

from pathlib import Path

from editlane.models.tiny.clip_and_vae import build_kl_vae
from editlane.models.tiny.qwen_image_edit import PIXELS, TEXT_HIDDEN, build_text_encoder
from editlane.models.tiny.qwen_processor import build_qwen_processor, save_qwen_processor
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

LATENT_CHANNELS = 16
"""The pipeline has this number in its code."""


def save_longcat_image_edit(folder: Path) -> None:
    """Save a LongCatImageEditPipeline."""
    import diffusers

    tokenizer = build_qwen_tokenizer()
    processor = build_qwen_processor("Qwen2VLProcessor", tokenizer, patch=14, pixels=PIXELS)
    transformer = diffusers.LongCatImageTransformer2DModel(
        patch_size=1,
        in_channels=4 * LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=TEXT_HIDDEN,
        pooled_projection_dim=TEXT_HIDDEN,
        axes_dims_rope=[4, 6, 6],  # sums to attention_head_dim
    )
    vae = build_kl_vae(
        diffusers.AutoencoderKL,
        latent_channels=LATENT_CHANNELS,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1159,
        scaling_factor=0.3611,
    )
    pipeline = diffusers.LongCatImageEditPipeline(
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder=build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        text_processor=processor,
    )
    pipeline.save_pretrained(folder)
    save_qwen_processor(processor, folder / "text_processor")
