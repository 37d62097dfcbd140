"""A base model of one layer and adapters for it, as files: what the fleet checks before a server loads anything."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SIDE = 8
LAYER = "model.layers.0.self_attn.q_proj"


def make_base(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": SIDE}
    (folder / "config.json").write_text(json.dumps(config))
    weights = {f"{LAYER}.weight": np.ones((SIDE, SIDE), np.float32)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def make_adapter(folder: Path, seed: int, *, base: str = "base", acts: bool = True, side: int = SIDE) -> Path:
    """An adapter with weights of its own. One that does not act is such that the double of vLLM ignores it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "bias": "none",
        "task_type": "CAUSAL_LM",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    draw = np.random.default_rng(seed)
    weights = {
        f"base_model.model.{LAYER}.lora_A.weight": draw.normal(size=(4, side)).astype(np.float32),
        f"base_model.model.{LAYER}.lora_B.weight": draw.normal(size=(side, 4)).astype(np.float32),
    }
    note = "" if acts else "made for another model"
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt", "note": note})
    return folder
