"""Build a tiny JoyImage-Edit and JoyImage-Edit-Plus."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.qwen3_vl_encoder import TEXT_HIDDEN, build_qwen3_vl_encoder
from editlane.models.tiny.qwen_processor import save_qwen_processor

LATENT_CHANNELS = 16


def save_joyimage_edit(folder: Path) -> None:
    """Save a JoyImageEditPipeline."""
    _save("JoyImageEditPipeline", "JoyImageEditTransformer3DModel", folder)


def save_joyimage_edit_plus(folder: Path) -> None:
    """Save a JoyImageEditPlusPipeline."""
    _save("JoyImageEditPlusPipeline", "JoyImageEditPlusTransformer3DModel", folder)


def build_wan_vae() -> Any:
    """Build a narrow AutoencoderKLWan that also shrinks images by 8."""
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=4,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )


def _save(pipeline_class: str, transformer_class: str, folder: Path) -> None:
    import diffusers

    encoder, processor = build_qwen3_vl_encoder()
    transformer = getattr(diffusers, transformer_class)(
        patch_size=[1, 2, 2],
        in_channels=LATENT_CHANNELS,
        hidden_size=32,
        num_attention_heads=2,
        text_dim=TEXT_HIDDEN,
        num_layers=1,
        rope_dim_list=[4, 6, 6],  # sums to the head dimension
    )
    pipeline = getattr(diffusers, pipeline_class)(
        transformer=transformer,
        vae=build_wan_vae(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        text_encoder=encoder,
        tokenizer=processor.tokenizer,
        processor=processor,
    )
    pipeline.save_pretrained(folder)
    save_qwen_processor(processor, folder / "processor")
