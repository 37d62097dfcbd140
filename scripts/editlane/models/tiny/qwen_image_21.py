"""Build a tiny Qwen-Image 2.1, which edits and makes pictures with transparency."""

from pathlib import Path

from editlane.models.tiny.qwen3_vl_encoder import TEXT_HIDDEN, build_qwen3_vl_encoder
from editlane.models.tiny.qwen_processor import save_qwen_processor

LATENT_CHANNELS = 8
"""Not 4: the pipeline would take an RGBA picture for latents."""


def save_qwen_image_21(folder: Path) -> None:
    """Save a QwenImage21Pipeline."""
    import diffusers

    encoder, processor = build_qwen3_vl_encoder()
    # The transformer wants as many places as the resized source has, so the processor must not resize it again.
    processor.image_processor.size = {"shortest_edge": 32 * 32, "longest_edge": 4096 * 4096}
    transformer = diffusers.QwenImage21Transformer2DModel(
        patch_size=1,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        context_in_dim=TEXT_HIDDEN,
        mlp_ratio=2,
        axes_dims_rope=(4, 6, 6),  # sums to attention_head_dim
    )
    vae = diffusers.AutoencoderKLQwenImage21(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 1, 1, 1],  # four times a half: 16 pixels to a latent
        num_res_blocks=1,
        temperal_downsample=[False, True, True, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )
    pipeline = diffusers.QwenImage21Pipeline(
        transformer=transformer,
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        text_encoder=encoder,
        processor=processor,
    )
    pipeline.save_pretrained(folder)
    save_qwen_processor(processor, folder / "processor")
