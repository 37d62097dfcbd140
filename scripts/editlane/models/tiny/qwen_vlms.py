"""Build tiny Qwen2.5-VL, Qwen3.5 and Qwen3.5-MoE models."""

import itertools
from pathlib import Path
from typing import Any

from editlane.models.tiny.chat_vlms import save_chat_vlm
from editlane.models.tiny.qwen_processor import build_qwen_processor, find_image_token_ids
from editlane.models.tiny.tokenizers import QWEN_CHAT_TEMPLATE, build_qwen_tokenizer

HIDDEN = 64
PIXELS = (32 * 32, 256 * 256)

THINKING_TEMPLATE = QWEN_CHAT_TEMPLATE.removesuffix("{%- endif %}") + (
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}"
    "{%- else %}{{- '<think>\n' }}{%- endif %}{%- endif %}"
)
"""Ends a prompt like the released Qwen3.5 template: within a thought, or after an empty one."""


def save_qwen2_5_vl(folder: Path) -> None:
    """Save a Qwen2.5-VL."""
    import transformers

    tokenizer = build_qwen_tokenizer()
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [1],
    }
    config = transformers.Qwen2_5_VLConfig(
        text_config=_describe_text(tokenizer, rope), vision_config=vision, **find_image_token_ids(tokenizer)
    )
    processor = build_qwen_processor("Qwen2_5_VLProcessor", tokenizer, patch=14, pixels=PIXELS)
    save_chat_vlm(transformers.Qwen2_5_VLForConditionalGeneration(config), processor, folder)


def save_reward_model(folder: Path) -> None:
    """Save a Qwen2.5-VL with a reward head of three layers and two outputs, as EditReward has, and its reward token."""
    from safetensors.torch import load_file, save_file

    save_qwen2_5_vl(folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights |= _make_head("rm_head", (HIDDEN, 32, 8, 2))
    save_file(weights, path, metadata={"format": "pt"})


def _make_head(name: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return the weights of linear layers in a Sequential, with two other modules after each."""
    import torch

    found = {}
    for number, (size, new) in enumerate(itertools.pairwise(sizes)):
        found[f"{name}.{3 * number}.weight"] = torch.randn(new, size) * (2 / size) ** 0.5
        found[f"{name}.{3 * number}.bias"] = torch.randn(new) * 0.1
    return found


def save_qwen3_5(folder: Path) -> None:
    """Save a dense Qwen3.5, whose layers are three of linear attention and one of full attention."""
    import transformers

    _save_qwen3_5("Qwen3_5", transformers, {}, folder)


def save_qwen3_5_moe(folder: Path) -> None:
    """Save a Qwen3.5 with 4 experts, 2 per token, and a shared one."""
    import transformers

    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "shared_expert_intermediate_size": 48,
    }
    _save_qwen3_5("Qwen3_5Moe", transformers, experts, folder)


def _save_qwen3_5(name: str, transformers: Any, experts: dict[str, int], folder: Path) -> None:
    tokenizer = build_qwen_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = THINKING_TEMPLATE
    rope = {
        "rope_type": "default",
        "rope_theta": 1e7,
        "partial_rotary_factor": 0.5,
        "mrope_interleaved": True,
        "mrope_section": [4, 2, 2],
    }
    linear = {
        "num_hidden_layers": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "num_position_embeddings": 2304,
    }
    text = _describe_text(tokenizer, rope) | linear | experts
    config = getattr(transformers, f"{name}Config")(
        text_config=text, vision_config=vision, **find_image_token_ids(tokenizer)
    )
    processor = build_qwen_processor("Qwen3VLProcessor", tokenizer, patch=16, pixels=PIXELS)
    save_chat_vlm(getattr(transformers, f"{name}ForConditionalGeneration")(config), processor, folder)


def _describe_text(tokenizer: Any, rope: dict[str, Any]) -> dict[str, Any]:
    return {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": rope,
    }
