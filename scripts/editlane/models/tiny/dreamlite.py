"""Build a tiny DreamLite."""

from pathlib import Path

from editlane.models.tiny.qwen3_vl_encoder import TEXT_HIDDEN, build_qwen3_vl_encoder
from editlane.models.tiny.qwen_processor import save_qwen_processor

LATENT_CHANNELS = 4


def save_dreamlite(folder: Path) -> None:
    """Save a DreamLitePipeline."""
    _save("DreamLitePipeline", folder)


def save_dreamlite_mobile(folder: Path) -> None:
    """Save a DreamLiteMobilePipeline, which was distilled to four steps without guidance."""
    _save("DreamLiteMobilePipeline", folder)


def _save(pipeline_class: str, folder: Path) -> None:
    import diffusers

    encoder, processor = build_qwen3_vl_encoder()
    unet = diffusers.DreamLiteUNetModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
        up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
        block_out_channels=(16, 32),
        cross_attention_dim=TEXT_HIDDEN,
        attention_head_dim=8,
        layers_per_block=1,
        norm_num_groups=8,
    )
    vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
        latent_channels=LATENT_CHANNELS,
    )
    pipeline = getattr(diffusers, pipeline_class)(
        text_encoder=encoder,
        tokenizer=processor.tokenizer,
        processor=processor,
        vae=vae,
        unet=unet,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )
    pipeline.save_pretrained(folder)
    save_qwen_processor(processor, folder / "processor")
