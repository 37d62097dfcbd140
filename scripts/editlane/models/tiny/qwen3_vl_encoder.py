"""Build the tiny Qwen3-VL that encodes the prompts of several editors, with its processor."""

from typing import Any

from editlane.models.tiny.qwen_processor import build_qwen_processor, find_image_token_ids
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

TEXT_HIDDEN = 32
PIXELS = (32 * 32, 256 * 256)


def build_qwen3_vl_encoder(layers: int = 2) -> tuple[Any, Any]:
    """Return (Qwen3VLForConditionalGeneration with states of size `TEXT_HIDDEN`, its Qwen3VLProcessor)."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = build_qwen_tokenizer()
    text = {
        "hidden_size": TEXT_HIDDEN,
        "intermediate_size": 2 * TEXT_HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_interleaved": True,
            "mrope_section": [4, 2, 2],  # sums to half of head_dim
        },
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": TEXT_HIDDEN,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **find_image_token_ids(tokenizer))
    processor = build_qwen_processor("Qwen3VLProcessor", tokenizer, patch=16, pixels=PIXELS)
    return Qwen3VLForConditionalGeneration(config), processor
