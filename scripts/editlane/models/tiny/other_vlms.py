"""Build tiny InternVL, GLM-4.6V, Gemma 4 and MiniCPM-V models, each with the special tokens of its family."""

from pathlib import Path
from typing import Any

from editlane.models.no_torchvision import replace_video_processors
from editlane.models.tiny.chat_vlms import save_chat_vlm
from editlane.models.tiny.tokenizers import build_gemma_tokenizer, build_qwen_tokenizer

HIDDEN = 64
TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 2 * HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 32768,
}
VISION = {"hidden_size": 32, "intermediate_size": 64}

_PARTS = (
    "{%- if m.content is string %}{{- m.content }}{%- else %}{%- for c in m.content %}"
    "{%- if c.type == 'image' %}{{- IMAGE }}{%- else %}{{- c.text }}{%- endif %}{%- endfor %}{%- endif %}"
)

INTERNVL_TEMPLATE = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}"
    + _PARTS.replace("IMAGE", "'<IMG_CONTEXT>\n'")
    + "{{- '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)

GLM_TEMPLATE = (
    "{{- '[gMASK]<sop>' }}{%- for m in messages %}{{- '<|' + m.role + '|>\n' }}"
    + _PARTS.replace("IMAGE", "'<|begin_of_image|><|image|><|end_of_image|>'")
    + "{%- if m.role == 'user' and enable_thinking is defined and not enable_thinking %}{{- '/nothink' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{- '<think></think>\n' }}{%- endif %}{%- endif %}"
)
"""Turns thinking off like the released GLM-4.6V template."""

GEMMA_TEMPLATE = (
    "{{- bos_token }}{%- for m in messages %}"
    "{%- if m.role == 'system' %}{{- raise_exception('System role not supported') }}{%- endif %}"
    "{{- '<|turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    + _PARTS.replace("IMAGE", "'<|image|>'")
    + "{{- '<turn|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|turn>model\n' }}{%- endif %}"
)
"""Has no system role, like the templates of Gemma 2 and 3."""

MINICPM_TEMPLATE = (
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}"
    + _PARTS.replace("IMAGE", "'<|image_pad|>'")
    + "{{- '<|im_end|>\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}"
    "{%- else %}{{- '<think>\n' }}{%- endif %}{%- endif %}"
)


def save_internvl(folder: Path) -> None:
    """Save an InternVL with a Qwen2 as its language model, as InternVL3 and 3.5 have. Images are cut into tiles."""
    import transformers

    tokens = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = build_qwen_tokenizer(tokens, INTERNVL_TEMPLATE)
    text = TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)} | _find_ends(tokenizer)
    vision = VISION | {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": (56, 56),
        "patch_size": (14, 14),
    }
    config = transformers.InternVLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    images = transformers.GotOcr2ImageProcessorPil(
        size={"height": 56, "width": 56}, crop_to_patches=True, max_patches=4
    )
    processor = transformers.InternVLProcessor(
        images,
        tokenizer,
        _build_video_processor("InternVLVideoProcessor"),
        image_seq_length=4,
        chat_template=INTERNVL_TEMPLATE,
    )
    save_chat_vlm(transformers.InternVLForConditionalGeneration(config), processor, folder)


def save_glm46v(folder: Path) -> None:
    """Save a dense GLM-4.6V."""
    import transformers

    tokenizer, ids = _build_glm_tokenizer()
    config = transformers.Glm46VConfig(
        text_config=_describe_glm(tokenizer) | {"model_type": "glm4v_text"},
        vision_config=_describe_glm_vision() | {"model_type": "glm4v_vision"},
        **ids,
    )
    processor = transformers.Glm46VProcessor(
        _build_glm_images(transformers.Glm46VImageProcessorPil),
        tokenizer,
        _build_video_processor("Glm46VVideoProcessor"),
        chat_template=GLM_TEMPLATE,
    )
    save_chat_vlm(transformers.Glm46VForConditionalGeneration(config), processor, folder)


def save_glm4v_moe(folder: Path) -> None:
    """Save a GLM-4.5V, the class of GLM-4.6V with experts."""
    import transformers

    tokenizer, ids = _build_glm_tokenizer()
    experts = {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "moe_intermediate_size": 48,
        "first_k_dense_replace": 1,
    }
    config = transformers.Glm4vMoeConfig(
        text_config=_describe_glm(tokenizer) | experts, vision_config=_describe_glm_vision(), **ids
    )
    processor = transformers.Glm4vProcessor(
        _build_glm_images(transformers.Glm4vImageProcessorPil),
        tokenizer,
        _build_video_processor("Glm4vVideoProcessor"),
        chat_template=GLM_TEMPLATE,
    )
    save_chat_vlm(transformers.Glm4vMoeForConditionalGeneration(config), processor, folder)


def _build_glm_tokenizer() -> tuple[Any, dict[str, int]]:
    names = {
        "image_token_id": "<|image|>",
        "video_token_id": "<|video|>",
        "image_start_token_id": "<|begin_of_image|>",
        "image_end_token_id": "<|end_of_image|>",
        "video_start_token_id": "<|begin_of_video|>",
        "video_end_token_id": "<|end_of_video|>",
    }
    turns = ("[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>", "/nothink")
    tokenizer = build_qwen_tokenizer({}, GLM_TEMPLATE, (*names.values(), *turns))
    return tokenizer, {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def _describe_glm(tokenizer: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5, "mrope_section": [2, 3, 3]}
    return TEXT | {"vocab_size": len(tokenizer), "rope_parameters": rope} | _find_ends(tokenizer)


def _describe_glm_vision() -> dict[str, Any]:
    return VISION | {"depth": 2, "num_heads": 2, "image_size": 56, "out_hidden_size": HIDDEN}


def _build_glm_images(image_processor: Any) -> Any:
    return image_processor(size={"shortest_edge": 56 * 56, "longest_edge": 256 * 256})


def save_gemma4(folder: Path) -> None:
    """Save a Gemma 4, with a tokenizer that has spaces within its tokens, and no system role."""
    import transformers

    tokenizer = build_gemma_tokenizer(GEMMA_TEMPLATE)
    config = transformers.Gemma4Config(
        text_config=_describe_gemma_text(tokenizer),
        vision_config=_describe_gemma_vision(),
        audio_config=None,
        image_token_id=tokenizer.image_token_id,
        boi_token_id=tokenizer.boi_token_id,
        eoi_token_id=tokenizer.eoi_token_id,
        audio_token_id=None,
        video_token_id=None,
        tie_word_embeddings=False,
    )
    processor = transformers.Gemma4Processor(
        transformers.Gemma4AudioFeatureExtractor(),
        transformers.Gemma4ImageProcessorPil(max_soft_tokens=70),
        tokenizer,
        _build_video_processor("Gemma4VideoProcessor"),
        chat_template=GEMMA_TEMPLATE,
    )
    save_chat_vlm(transformers.Gemma4ForConditionalGeneration(config), processor, folder)


def _describe_gemma_text(tokenizer: Any) -> dict[str, Any]:
    return TEXT | {
        "vocab_size": len(tokenizer),
        "vocab_size_per_layer_input": len(tokenizer),
        "hidden_size_per_layer_input": 8,
        "global_head_dim": 32,
        "sliding_window": 32,
        "layer_types": ["sliding_attention", "full_attention"],
        "use_bidirectional_attention": "vision",
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "tie_word_embeddings": False,
    }


def _describe_gemma_vision() -> dict[str, Any]:
    return VISION | {
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "position_embedding_size": 512,
    }


def save_minicpm_v(folder: Path) -> None:
    """Save a MiniCPM-V 4.7, whose language model is that of Qwen3.5. Large images are cut into slices."""
    import transformers

    tokens = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "image_start_token": "<image>",
        "image_end_token": "</image>",
        "slice_start_token": "<slice>",
        "slice_end_token": "</slice>",
        "image_id_start_token": "<image_id>",
        "image_id_end_token": "</image_id>",
    }
    tokenizer = build_qwen_tokenizer(tokens, MINICPM_TEMPLATE, ("<think>", "</think>"))
    vision = VISION | {"num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 112, "patch_size": 14}
    config = transformers.MiniCPMV4_7Config(
        text_config=_describe_minicpm_text(tokenizer),
        vision_config=vision,
        insert_layer_id=1,
        image_size=112,
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        image_start_id=tokenizer.image_start_token_id,
        image_end_id=tokenizer.image_end_token_id,
        slice_start_id=tokenizer.slice_start_token_id,
        slice_end_id=tokenizer.slice_end_token_id,
        newline_id=tokenizer.convert_tokens_to_ids("Ċ"),
    )
    images = transformers.MiniCPMV4_6ImageProcessorPil(scale_resolution=112, max_slice_nums=4)
    processor = transformers.MiniCPMV4_7Processor(
        images, _build_video_processor("MiniCPMV4_6VideoProcessor"), tokenizer, chat_template=MINICPM_TEMPLATE
    )
    save_chat_vlm(transformers.MiniCPMV4_7ForConditionalGeneration(config), processor, folder)


def _describe_minicpm_text(tokenizer: Any) -> dict[str, Any]:
    rope = {"rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.5, "mrope_section": [4, 2, 2]}
    text = TEXT | {
        "model_type": "qwen3_5_text",
        "num_hidden_layers": 4,
        "vocab_size": len(tokenizer),
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "rope_parameters": rope | {"mrope_interleaved": True},
    }
    return text | _find_ends(tokenizer)


def _build_video_processor(name: str) -> Any:
    import transformers

    return replace_video_processors() or getattr(transformers, name)()


def _find_ends(tokenizer: Any) -> dict[str, int]:
    return {
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
