"""Build a tiny Qwen-Image-Edit in its three releases: the first, -Plus (2509), and 2511."""

import shutil
from pathlib import Path
from typing import Any

from editlane.models.tiny.qwen_processor import build_qwen_processor, find_image_token_ids, save_qwen_processor
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

LATENT_CHANNELS = 4
TEXT_HIDDEN = 32
HEAD_DIM = 16
LORA_RANK = 4
PIXELS = (28 * 28, 28 * 28 * 64)


def save_qwen_image_edit(folder: Path) -> None:
    """Save the first release: QwenImageEditPipeline."""
    _save("QwenImageEditPipeline", folder, zero_cond_t=False)


def save_qwen_image_edit_plus(folder: Path) -> None:
    """Save the 2509 release: QwenImageEditPlusPipeline."""
    _save("QwenImageEditPlusPipeline", folder, zero_cond_t=False)


def save_qwen_image_edit_2511(folder: Path) -> None:
    """Save the 2511 release: QwenImageEditPlusPipeline whose reference tokens are modulated at timestep 0."""
    _save("QwenImageEditPlusPipeline", folder, zero_cond_t=True)


def save_lightning_lora(file: Path, *, seed: int = 0) -> None:
    """Save a LoRA for any of the three to `file` (.safetensors), with the tensor names of Lightning LoRAs."""
    import torch
    from safetensors.torch import save_file

    chance = torch.Generator().manual_seed(seed)
    weights = {}
    for name, layer in _build_transformer(zero_cond_t=False).transformer_blocks.named_modules(
        prefix="transformer_blocks"
    ):
        if isinstance(layer, torch.nn.Linear):
            weights[f"{name}.lora_down.weight"] = torch.randn(LORA_RANK, layer.in_features, generator=chance) / 4
            weights[f"{name}.lora_up.weight"] = torch.randn(layer.out_features, LORA_RANK, generator=chance) / 4
            weights[f"{name}.alpha"] = torch.tensor(float(LORA_RANK))
    save_file(weights, file)


def save_deeper(model: Path, folder: Path, *, blocks: int) -> Path:
    """Save a copy of the checkpoint `model`, one of the three, with `blocks` transformer blocks. Returns `folder`."""
    import torch
    from diffusers import QwenImageTransformer2DModel

    shutil.copytree(model, folder)
    config = QwenImageTransformer2DModel.load_config(folder / "transformer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = QwenImageTransformer2DModel.from_config({**config, "num_layers": blocks})
    transformer.save_pretrained(folder / "transformer")
    return folder


def _save(pipeline_class: str, folder: Path, *, zero_cond_t: bool) -> None:
    import diffusers

    tokenizer = build_qwen_tokenizer()
    processor = build_qwen_processor("Qwen2VLProcessor", tokenizer, patch=14, pixels=PIXELS)
    pipeline = getattr(diffusers, pipeline_class)(
        transformer=_build_transformer(zero_cond_t),
        vae=_build_vae(),
        scheduler=_build_scheduler(),
        text_encoder=build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        processor=processor,
    )
    pipeline.save_pretrained(folder)
    save_qwen_processor(processor, folder / "processor")


def _build_transformer(zero_cond_t: bool) -> Any:
    from diffusers import QwenImageTransformer2DModel

    return QwenImageTransformer2DModel(
        patch_size=2,
        in_channels=4 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=2,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=1,
        joint_attention_dim=TEXT_HIDDEN,
        guidance_embeds=False,
        axes_dims_rope=(8, 4, 4),  # sums to HEAD_DIM
        zero_cond_t=zero_cond_t,
    )


def _build_vae() -> Any:
    """Build a narrow VAE with the released block layout, so that it also shrinks images by 8."""
    from diffusers import AutoencoderKLQwenImage

    return AutoencoderKLQwenImage(
        base_dim=2,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
    )


def _build_scheduler() -> Any:
    """Build the scheduler with the released `scheduler_config.json`."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(
        base_image_seq_len=256,
        base_shift=0.5,
        max_image_seq_len=8192,
        max_shift=0.9,
        num_train_timesteps=1000,
        shift=1.0,
        shift_terminal=0.02,
        time_shift_type="exponential",
        use_dynamic_shifting=True,
    )


def build_text_encoder(tokenizer: Any) -> Any:
    """Build a Qwen2_5_VLForConditionalGeneration with states of size `TEXT_HIDDEN`."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "hidden_size": TEXT_HIDDEN,
        "intermediate_size": 2 * TEXT_HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 2, 4]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": TEXT_HIDDEN,
        "fullatt_block_indexes": [1],
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **find_image_token_ids(tokenizer))
    return Qwen2_5_VLForConditionalGeneration(config)
