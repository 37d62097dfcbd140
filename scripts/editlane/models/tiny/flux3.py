"""Build a tiny FLUX.3, a checkpoint of a modular pipeline, without its prompt upsampler."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editlane.models.tiny.clip_and_vae import LATENT_CHANNELS, build_kl_vae
from editlane.models.tiny.qwen3_vl_encoder import TEXT_HIDDEN, build_qwen3_vl_encoder
from editlane.models.tiny.qwen_processor import save_qwen_processor

TEXT_LAYERS = 32
READ_LAYERS = 8
"""The pipeline reads every fourth of the text encoder's layers."""


def save_flux3(folder: Path) -> None:
    """Save a Flux3ModularPipeline."""
    import diffusers

    encoder, processor = build_qwen3_vl_encoder(layers=TEXT_LAYERS)
    transformer = diffusers.Flux3Transformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        cond_in_channels=4 * LATENT_CHANNELS,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=READ_LAYERS * TEXT_HIDDEN,
        axes_dims_rope=(4, 4, 4, 4),  # sums to attention_head_dim
    )
    components = {
        "transformer": transformer,
        "vae": build_kl_vae(diffusers.AutoencoderKLFlux2),
        "text_encoder": encoder,
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(),
    }
    for name, component in components.items():
        component.save_pretrained(folder / name)
    save_qwen_processor(processor, folder / "tokenizer")
    _write_index(folder, components | {"tokenizer": processor})


def _write_index(folder: Path, components: Mapping[str, Any]) -> None:
    """Write the index as in releases, which name their repository."""
    import diffusers

    index: dict[str, Any] = {
        "_blocks_class_name": "Flux3AutoBlocks",
        "_class_name": "Flux3ModularPipeline",
        "_diffusers_version": diffusers.__version__,
    }
    for name, component in sorted(components.items()):
        kind = [type(component).__module__.partition(".")[0], type(component).__name__]
        place = {"pretrained_model_name_or_path": "editlane/tiny-flux3", "subfolder": name, "type_hint": kind}
        index[name] = [*kind, place | {"revision": None, "variant": None}]
    (folder / "modular_model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
