"""The configs of the released models, and of smaller ones of the same families.

Those of full size are written from what is known of the released files; their numbers of weights are checked.
"""

from typing import Any

VISION: dict[str, Any] = {"patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}
VISION |= {"num_position_embeddings": 2304}
TEXT: dict[str, Any] = {"max_position_embeddings": 262144}


def _judge(vision: dict[str, Any], text: dict[str, Any], section: list[int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": True, "mrope_section": section}
    vision = VISION | vision | {"out_hidden_size": text["hidden_size"]}
    return {"vision_config": vision, "text_config": TEXT | text | {"rope_parameters": rope}}


def _sizes(
    hidden: int, inner: int, layers: int, heads: int, kv_heads: int, head: int, vocabulary: int
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head,
        "vocab_size": vocabulary,
    }


def _experts(count: int, used: int, inner: int) -> dict[str, Any]:
    return {
        "num_experts": count,
        "num_experts_per_tok": used,
        "moe_intermediate_size": inner,
        "decoder_sparse_step": 1,
        "norm_topk_prob": True,
    }


def _seeing(depth: int, hidden: int, inner: int, heads: int, deeper: list[int]) -> dict[str, Any]:
    return {
        "depth": depth,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_heads": heads,
        "deepstack_visual_indexes": deeper,
    }


FULL_VISION = _seeing(27, 1152, 4304, 16, [8, 16, 24])
MID_VISION = _seeing(12, 512, 2048, 8, [3, 6, 9])
TINY_VISION = _seeing(4, 32, 64, 2, [0, 1, 2])

JUDGES: dict[tuple[str, str], dict[str, Any]] = {
    ("full", "dense"): _judge(FULL_VISION, _sizes(4096, 12288, 36, 32, 8, 128, 151936), [24, 20, 20]),
    ("full", "moe"): _judge(
        FULL_VISION, _sizes(2048, 6144, 48, 32, 4, 128, 151936) | _experts(128, 8, 768), [24, 20, 20]
    ),
    ("mid", "dense"): _judge(MID_VISION, _sizes(1024, 3072, 18, 16, 8, 64, 4096), [12, 10, 10]),
    ("mid", "moe"): _judge(MID_VISION, _sizes(1024, 3072, 18, 16, 8, 64, 4096) | _experts(8, 2, 768), [12, 10, 10]),
    ("tiny", "dense"): _judge(TINY_VISION, _sizes(64, 128, 3, 2, 1, 32, 512), [8, 4, 4]),
    ("tiny", "moe"): _judge(TINY_VISION, _sizes(64, 128, 3, 2, 1, 32, 512) | _experts(4, 2, 48), [8, 4, 4]),
}
"""Scale and kind -> config. full: Qwen3-VL-8B and Qwen3-VL-30B-A3B; mid: 0.3 B and 0.4 B."""


def _drawing(layers: int, heads: int, head: int, text: int, latents: int, axes: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "patch_size": 2,
        "in_channels": 4 * latents,
        "out_channels": latents,
        "num_layers": layers,
        "attention_head_dim": head,
        "num_attention_heads": heads,
        "joint_attention_dim": text,
        "guidance_embeds": False,
        "axes_dims_rope": axes,
    }


def _small_vae(base: int) -> dict[str, Any]:
    """As deep as the released one, so that an image shrinks by 8; only narrower."""
    sizes = {"base_dim": base, "z_dim": 4, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 1}
    return sizes | {"temperal_downsample": [False, True, True], "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}


def _reading(text: dict[str, Any], vision: dict[str, Any], section: list[int]) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section}
    text = {name: value for name, value in text.items() if name != "head_dim"}
    vision = vision | {"out_hidden_size": text["hidden_size"], "patch_size": 14, "window_size": 112}
    return {"text_config": text | {"rope_parameters": rope}, "vision_config": vision}


EDITORS: dict[str, dict[str, dict[str, Any]]] = {
    "full": {
        "transformer": _drawing(60, 24, 128, 3584, 16, (16, 56, 56)),
        "vae": {},  # diffusers' defaults are the released ones
        "text_encoder": _reading(
            _sizes(3584, 18944, 28, 28, 4, 128, 152064),
            {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
            | {"fullatt_block_indexes": [7, 15, 23, 31]},
            [16, 24, 24],
        ),
    },
    "mid": {
        "transformer": _drawing(8, 8, 64, 512, 4, (8, 28, 28)),
        "vae": _small_vae(16),
        "text_encoder": _reading(
            _sizes(512, 1536, 8, 8, 2, 64, 1024),
            {"depth": 8, "hidden_size": 320, "intermediate_size": 960, "num_heads": 4}
            | {"fullatt_block_indexes": [3, 7]},
            [8, 12, 12],
        ),
    },
    "tiny": {
        "transformer": _drawing(2, 2, 32, 32, 4, (8, 12, 12)),
        "vae": _small_vae(2),
        "text_encoder": _reading(
            _sizes(32, 64, 2, 2, 1, 16, 512),
            {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "fullatt_block_indexes": [1]},
            [2, 2, 4],
        ),
    },
}
"""Scale -> configs of the parts. full: Qwen-Image-Edit-Plus with its text encoder, Qwen2.5-VL-7B."""
