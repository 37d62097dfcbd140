"""Build the Qwen-VL processor of the tiny models. The editor's text encoder and the judge use the same kind."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editlane.models.no_torchvision import drop_video_processors

if TYPE_CHECKING:
    from transformers import ProcessorMixin, Qwen2Tokenizer

VIDEO_SIZE = {"shortest_edge": 128 * 1024, "longest_edge": 768 * 1024}


def build_qwen_processor(class_name: str, tokenizer: "Qwen2Tokenizer", *, patch: int, pixels: tuple[int, int]) -> Any:
    """Build a `class_name` processor for patches of `patch` pixels. It resizes images to `pixels` (least, most)."""
    import transformers

    without_torchvision = drop_video_processors()
    is_qwen3 = class_name == "Qwen3VLProcessor"
    options: dict[str, Any] = {
        "patch_size": patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": pixels[0], "longest_edge": pixels[1]},
    }
    if is_qwen3:  # Qwen2.5-VL uses the statistics of CLIP
        options |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    image_class = "Qwen2VLImageProcessorPil" if without_torchvision else "Qwen2VLImageProcessor"
    halves = [getattr(transformers, image_class)(**options), tokenizer]
    if not without_torchvision:
        video_class = "Qwen3VLVideoProcessor" if is_qwen3 else "Qwen2VLVideoProcessor"
        halves.append(getattr(transformers, video_class)(patch_size=patch))
    return getattr(transformers, class_name)(*halves, chat_template=tokenizer.chat_template)


def save_qwen_processor(processor: "ProcessorMixin", folder: Path) -> None:
    """Call `save_pretrained`, and add a video processor if this Python could not build one.

    With torchvision, transformers and vLLM require a video processor, so the folder also loads there.
    """
    processor.save_pretrained(folder)
    path = folder / "processor_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if "video_processor" in config:
        return
    is_qwen3 = type(processor).__name__ == "Qwen3VLProcessor"
    image = {key: value for key, value in config["image_processor"].items() if key != "image_processor_type"}
    config["video_processor"] = image | {
        "video_processor_type": "Qwen3VLVideoProcessor" if is_qwen3 else "Qwen2VLVideoProcessor",
        "do_sample_frames": is_qwen3,
        "min_frames": 4,
        "max_frames": 768,
        "return_metadata": False,
        "size": VIDEO_SIZE,
        **({"fps": 2} if is_qwen3 else {}),
    }
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def find_image_token_ids(tokenizer: "Qwen2Tokenizer") -> dict[str, int]:
    """Return the entries of a Qwen-VL config for the tokens that mark images in the text."""
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}
