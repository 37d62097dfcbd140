"""Build a tiny ChronoEdit, a video model whose last frame is the edit."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.joyimage_edit import LATENT_CHANNELS, build_wan_vae
from editlane.models.tiny.tokenizers import build_t5_tokenizer

TEXT_HIDDEN = 32
IMAGE_HIDDEN = 32
CLIP_SIDE = 32


def save_chronoedit(folder: Path) -> None:
    """Save a ChronoEditPipeline."""
    import diffusers
    from transformers import CLIPImageProcessor, UMT5Config, UMT5EncoderModel

    tokenizer = build_t5_tokenizer()
    text_encoder = UMT5EncoderModel(
        UMT5Config(
            vocab_size=len(tokenizer), d_model=TEXT_HIDDEN, d_kv=8, d_ff=2 * TEXT_HIDDEN, num_layers=2, num_heads=4
        )
    )
    image_encoder = _build_image_encoder()
    transformer = diffusers.ChronoEditTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=2 * LATENT_CHANNELS + 4,  # the noise, the first frame, and which frames are given
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_HIDDEN,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        image_dim=IMAGE_HIDDEN,
        added_kv_proj_dim=24,  # heads times their dimension
    )
    pipeline = diffusers.ChronoEditPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        image_encoder=image_encoder,
        image_processor=CLIPImageProcessor(size=CLIP_SIDE, crop_size=CLIP_SIDE),
        transformer=transformer,
        vae=build_wan_vae(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )
    pipeline.save_pretrained(folder)


def _build_image_encoder() -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    return CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=IMAGE_HIDDEN,
            intermediate_size=2 * IMAGE_HIDDEN,
            projection_dim=IMAGE_HIDDEN,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=CLIP_SIDE,
            patch_size=8,
        )
    )
