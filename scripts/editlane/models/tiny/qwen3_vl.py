"""Build tiny Qwen3-VL and Qwen3-VL-MoE models, the classes of the judge."""

from pathlib import Path
from typing import Any

from editlane.models.tiny.qwen_processor import build_qwen_processor, find_image_token_ids, save_qwen_processor
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

HIDDEN = 64
EXPERT_HIDDEN = 48
"""Neither `HIDDEN` nor half of it, see `_write_hub_expert_layout`."""

WEIGHT_FACTOR = 6.0
"""With the default initialisation (std 0.02) all logits are close to 0, and no answer depends on the input."""

ANSWER_FACTOR, OTHER_FACTOR = 6.0, 0.05
"""Factors of the output head. They put most of the probability on valid answers, so that the demo has scores."""

ATTENTION_FACTOR = 8.0
"""Factor of the query norms. Attention then selects tokens instead of averaging, so answers depend on the images."""

PIXELS = (32 * 32, 256 * 256)


def save_qwen3_vl(folder: Path) -> None:
    """Save a dense Qwen3-VL."""
    import transformers

    config, tokenizer = _build_config(transformers.Qwen3VLConfig, {})
    _save(transformers.Qwen3VLForConditionalGeneration(config), tokenizer, folder)


def save_qwen3_vl_moe(folder: Path) -> None:
    """Save a Qwen3-VL with 4 experts, 2 per token, in the file layout of the Hub."""
    import transformers

    experts = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": EXPERT_HIDDEN,
        "decoder_sparse_step": 1,
        "norm_topk_prob": True,  # transformers ignores it, vLLM requires it
    }
    config, tokenizer = _build_config(transformers.Qwen3VLMoeConfig, experts)
    _save(transformers.Qwen3VLMoeForConditionalGeneration(config), tokenizer, folder)
    _write_hub_expert_layout(folder / "model.safetensors")


def _build_config(config_class: Any, experts: dict[str, Any]) -> tuple[Any, Any]:
    tokenizer = build_qwen_tokenizer()
    text = {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_interleaved": True,
            "mrope_section": [8, 4, 4],  # sums to half of head_dim
        },
    }
    vision = {
        "depth": 4,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": HIDDEN,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [0, 1, 2],
    }
    ids = find_image_token_ids(tokenizer)
    config = config_class(text_config=text | experts, vision_config=vision, tie_word_embeddings=False, **ids)
    return config, tokenizer


def _save(model: Any, tokenizer: Any, folder: Path) -> None:
    import torch
    from transformers import GenerationConfig

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                parameter.mul_(WEIGHT_FACTOR)
            elif name.endswith("q_norm.weight"):
                parameter.mul_(ATTENTION_FACTOR)
        answers = tokenizer.convert_tokens_to_ids([*"0123456789", "Yes", "No"])
        head = model.lm_head.weight
        head.mul_(OTHER_FACTOR)
        head[answers] *= ANSWER_FACTOR / OTHER_FACTOR
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, tokenizer.pad_token_id],
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.save_pretrained(folder)
    save_qwen_processor(build_qwen_processor("Qwen3VLProcessor", tokenizer, patch=16, pixels=PIXELS), folder)


def _write_hub_expert_layout(path: Path) -> None:
    """Transpose the experts from (expert, out, in), as transformers 5 saves them, to (expert, in, out).

    The latter is the layout of the released files, and the only one that vLLM reads. transformers transposes it back on
    load, but only if the shapes distinguish the two layouts.
    """
    from safetensors.torch import load_file, save_file

    weights = {
        name: weight.transpose(1, 2).contiguous() if ".mlp.experts." in name else weight
        for name, weight in load_file(path).items()
    }
    save_file(weights, path, metadata={"format": "pt"})
