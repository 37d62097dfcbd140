"""Checkpoints of pi0, tiny and random, with made-up statistics in the formats of transformers and LeRobot."""

import json
from pathlib import Path
from typing import Any

import numpy as np

STATE_MEAN, STATE_STD = np.linspace(-0.4, 0.3, 8), np.linspace(0.5, 1.2, 8)
ACTIONS_MEAN, ACTIONS_STD = np.linspace(0.1, 0.7, 7), np.linspace(0.2, 0.8, 7)
LOW, HIGH = np.linspace(-2, -1, 7), np.linspace(1, 2.5, 7)
STATISTICS = {
    "state_mean": STATE_MEAN.tolist(),
    "state_std": STATE_STD.tolist(),
    "actions_mean": ACTIONS_MEAN.tolist(),
    "actions_std": ACTIONS_STD.tolist(),
}
WORDS = ["move", "to", "the", "red", "goal", "green"]


def make_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Save random weights and a tokenizer, without statistics."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PI0ForConditionalGeneration, PreTrainedTokenizerFast

    from editlane.robots.tiny_pi0 import IMAGE_TOKEN, make_tiny_config

    torch.manual_seed(seed)
    PI0ForConditionalGeneration(make_tiny_config()).save_pretrained(folder)
    vocab = {word: place for place, word in enumerate(["<pad>", "<bos>", "<unk>", *WORDS])}
    vocab |= {f"word{place}": place for place in range(len(vocab), IMAGE_TOKEN)}  # `<image>` comes next
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    specials = {"pad_token": "<pad>", "bos_token": "<bos>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **specials).save_pretrained(folder)
    return folder


def add_transformers(folder: Path, **changes: Any) -> Path:
    """Add statistics as PI0Processor saves them."""
    content = {"processor_class": "PI0Processor", "chunk_size": 10, "max_state_dim": 32} | STATISTICS | changes
    (folder / "processor_config.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def add_lerobot(folder: Path, how: str = "MEAN_STD", steps: tuple[dict[str, Any], ...] = ()) -> Path:
    """Add statistics as LeRobot saves them; `how` the actions are scaled, and further steps before the model."""
    from safetensors.numpy import save_file

    tensors = {
        "observation.state.mean": STATE_MEAN,
        "observation.state.std": STATE_STD,
        "action.mean": ACTIONS_MEAN,
        "action.std": ACTIONS_STD,
        **{f"action.{name}": LOW for name in ("min", "q01")},
        **{f"action.{name}": HIGH for name in ("max", "q99")},
    }
    files = [f"{name}.safetensors" for name in ("policy_preprocessor_step_5", "policy_postprocessor_step_0")]
    for file in files:
        save_file({name: value.astype(np.float32) for name, value in tensors.items()}, folder / file)
    norm_map = {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": how}
    scaling = {"eps": 1e-8, "features": {}, "norm_map": norm_map}
    before = [
        {"registry_name": "rename_observations_processor", "config": {"rename_map": {}}},
        {"registry_name": "to_batch_processor", "config": {}},
        *steps,
        {"registry_name": "pi0_new_line_processor", "config": {}},
        {"registry_name": "tokenizer_processor", "config": {"tokenizer_name": "google/paligemma-3b-pt-224"}},
        {"registry_name": "device_processor", "config": {"device": "cpu"}},
        {"registry_name": "normalizer_processor", "config": scaling, "state_file": files[0]},
    ]
    after = [
        {"registry_name": "unnormalizer_processor", "config": scaling, "state_file": files[1]},
        {"registry_name": "device_processor", "config": {"device": "cpu"}},
    ]
    for name, listed in (("policy_preprocessor", before), ("policy_postprocessor", after)):
        content = {"name": name, "steps": listed}
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def observe_scene(seed: int = 0, prompt: str = "move to the red goal") -> dict[str, Any]:
    drawn = np.random.default_rng(seed)
    pictures = {
        f"observation/{name}": drawn.integers(0, 256, (224, 224, 3), np.uint8) for name in ("image", "wrist_image")
    }
    return pictures | {"observation/state": np.linspace(-0.5, 0.5, 8), "prompt": prompt}
