"""Build the parts shared by the Stable Diffusion and FLUX families: CLIP's text encoder and the KL autoencoder."""

from typing import Any

TEXT_HIDDEN = 32
LATENT_CHANNELS = 4


def build_clip_text_encoder(tokenizer: Any, *, projected: bool = False) -> Any:
    """Build a CLIPTextModel with embeddings of size `TEXT_HIDDEN`; `projected` gives it the layer after pooling."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_HIDDEN,
        intermediate_size=2 * TEXT_HIDDEN,
        num_attention_heads=2,
        num_hidden_layers=2,
        projection_dim=TEXT_HIDDEN,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def build_kl_vae(vae_class: Any, *, latent_channels: int = LATENT_CHANNELS, **options: Any) -> Any:
    """Build a narrow VAE with the released block layout, so that it also shrinks images by 8."""
    return vae_class(
        in_channels=3,
        out_channels=3,
        block_out_channels=(8,) * 4,
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=64,
        **options,
    )
