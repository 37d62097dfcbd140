"""Save tiny chat VLMs of any family with answers that depend on what is shown."""

import json
from pathlib import Path
from typing import Any

from editlane.models.tiny.qwen_processor import save_qwen_processor

WEIGHT_FACTOR = 4.0
"""With the default initialisation (std 0.02) all logits are close to 0, and no answer depends on the input."""

ANSWER_FACTOR, OTHER_FACTOR = 6.0, 0.05
"""Factors of the output head. They put most of the probability on valid answers."""


def save_chat_vlm(model: Any, processor: Any, folder: Path) -> None:
    """Make the answers of a model depend on its input, and save it with its processor."""
    import torch
    from transformers import GenerationConfig

    tokenizer = processor.tokenizer
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(WEIGHT_FACTOR)
        head = model.get_output_embeddings().weight
        answers = [one for one in map(tokenizer.convert_tokens_to_ids, [*"0123456789", "Yes", "No"]) if one is not None]
        head.mul_(OTHER_FACTOR)
        head[answers] *= ANSWER_FACTOR / OTHER_FACTOR
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    model.save_pretrained(folder)
    if type(processor).__name__.startswith("Qwen"):
        save_qwen_processor(processor, folder)
        return
    processor.save_pretrained(folder)
    path = folder / "processor_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    name = type(processor).__name__.replace("Processor", "VideoProcessor").replace("V4_7", "V4_6")
    config["video_processor"] = config.get("video_processor") or {
        "video_processor_type": name
    }  # needed with torchvision
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
