"""Build a tiny LoRA with random weights for a checkpoint, as PEFT saves one, without loading the model."""

import json
from pathlib import Path

from editlane.core.errors import UserError
from editlane.models.checkpoints import check_checkpoint, read_safetensors_header
from editlane.models.weight_files import list_part_files

RANK = 8

STD = 0.3
"""Standard deviation of both factors. Then the tiny models' answers differ clearly from those without the LoRA."""

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a language model. Experts that are one tensor for all are none."""


def save_lora(folder: Path, base: Path) -> None:
    """Save a LoRA of rank `RANK` for the language model of the checkpoint folder `base` into an empty folder.

    B is random, too, where PEFT begins with zeros, so that the LoRA acts. Its config names the folder of the base
    alone, without the path to it, which another machine does not have. Raises UserError if `base` is no checkpoint, or
    has no layers for a LoRA.
    """
    import torch
    from safetensors.torch import save_file

    check_checkpoint(str(base))
    shapes = _find_layers(base)
    if not shapes:
        raise UserError(f"{base} has no layers such as q_proj, so it gets no LoRA. Use the folder of a language model.")
    weights = {}
    for layer, (outs, ins) in sorted(shapes.items()):
        for part, shape in (("A", (RANK, ins)), ("B", (outs, RANK))):
            weights[f"base_model.model.{layer}.lora_{part}.weight"] = STD * torch.randn(shape)
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "base_model_name_or_path": base.resolve().name,
        "bias": "none",
        "lora_alpha": 2 * RANK,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": sorted({layer.rpartition(".")[2] for layer in shapes}),
        "task_type": "CAUSAL_LM",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2), encoding="utf-8")


def _find_layers(base: Path) -> dict[str, tuple[int, int]]:
    """Find the layers that get a LoRA: name -> (features out, features in)."""
    tensors = [pair for path in list_part_files(base) for pair in read_safetensors_header(path)[1].items()]
    layers = {name.removesuffix(".weight"): entry["shape"] for name, entry in tensors if name.endswith(".weight")}
    return {name: (shape[0], shape[1]) for name, shape in layers.items() if _is_target(name)}


def _is_target(layer: str) -> bool:
    return layer.rpartition(".")[2] in TARGETS and "visual" not in layer
