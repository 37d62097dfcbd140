"""Build a tiny InstructPix2Pix, of Stable Diffusion and of SDXL."""

from pathlib import Path

from editlane.models.tiny.clip_and_vae import LATENT_CHANNELS, TEXT_HIDDEN, build_clip_text_encoder, build_kl_vae
from editlane.models.tiny.tokenizers import build_clip_tokenizer


def save_instruct_pix2pix(folder: Path) -> None:
    """Save a StableDiffusionInstructPix2PixPipeline without a safety checker."""
    import diffusers

    tokenizer = build_clip_tokenizer()
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=32,
        in_channels=2 * LATENT_CHANNELS,  # the noise and the source
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_HIDDEN,
        attention_head_dim=8,
    )
    scheduler = diffusers.EulerAncestralDiscreteScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    )
    pipeline = diffusers.StableDiffusionInstructPix2PixPipeline(
        unet=unet,
        vae=build_kl_vae(diffusers.AutoencoderKL),
        text_encoder=build_clip_text_encoder(tokenizer),
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)


def save_instruct_pix2pix_xl(folder: Path) -> None:
    """Save a StableDiffusionXLInstructPix2PixPipeline, which was trained on 128 x 128 pixels."""
    import diffusers

    tokenizer = build_clip_tokenizer()
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=16,
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=2 * TEXT_HIDDEN,  # two text encoders side by side
        attention_head_dim=8,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + TEXT_HIDDEN,  # six numbers about sizes, and a pooled text
    )
    pipeline = diffusers.StableDiffusionXLInstructPix2PixPipeline(
        unet=unet,
        vae=build_kl_vae(diffusers.AutoencoderKL),
        text_encoder=build_clip_text_encoder(tokenizer),
        text_encoder_2=build_clip_text_encoder(tokenizer, projected=True),
        tokenizer=tokenizer,
        tokenizer_2=build_clip_tokenizer(),
        scheduler=diffusers.EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading"
        ),
    )
    pipeline.save_pretrained(folder)
