"""Models of any size with random weights, built on the device from the configs of the released ones: nothing is
downloaded or read from a disk.

The project's own judge and editor run on them. Their tokenizer and processors are those of the tiny models, which make
a token of every byte: texts have to be cut to the length that counts in tokens. Random weights give the work of real
ones, but say nothing about quality, nor about caches that skip what did not change.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from model_sizes import EDITORS, JUDGES

from editlane.judges.qwen3_vl.chat import raise_pixel_limit
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge, Qwen3VLParams
from editlane.models.tiny import build_tiny_model
from editlane.models.tiny.qwen_processor import build_qwen_processor, find_image_token_ids
from editlane.models.tiny.tokenizers import build_qwen_tokenizer

TINY_KINDS = {"dense": "qwen3-vl", "moe": "qwen3-vl-moe"}


@contextmanager
def straight_to(device: str, dtype: Any) -> Iterator[None]:
    """Modules that are built inside have their weights there, in this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), torch.no_grad():
            yield
    finally:
        torch.set_default_dtype(before)


def built(make: Any, device: str, dtype: Any) -> Any:
    """The module that `make()` gives, ready to be used, with a number in every weight."""
    torch.manual_seed(0)
    with straight_to(device, dtype):
        model = make()
        for weight in model.parameters():
            start = weight.flatten()[:1024]
            if weight.ndim > 1 and not (torch.isfinite(start).all() and start.any()):  # memory as it was found
                weight.normal_(0, 0.02)
    return model.eval().requires_grad_(False)


def scale_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scale", choices=["tiny", "mid", "full"], default="full", help="of the model")


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The flags; ends this process where the full size was asked for and there is no GPU to hold it."""
    args = parser.parse_args()
    if args.scale == "full" and not (args.device == "cuda" and torch.cuda.is_available()):
        parser.exit(2, "error: The full size needs a GPU: none can be used here. Try --scale tiny or mid.\n")
    return args


class Built(NamedTuple):
    """A judge's parts."""

    model: Any
    processor: Any
    folder: Path
    """A tiny checkpoint of the same family; only its config is read."""

    def judge(self, **params: Any) -> Qwen3VLJudge:
        """The project's judge around these weights."""
        parts = self

        class BuiltJudge(Qwen3VLJudge):
            def _load(self, model: str, revision: str) -> None:
                self.model, self.processor = parts.model, parts.processor

        return BuiltJudge(model=str(self.folder), revision=None, params=Qwen3VLParams(**params))


def build_judge(scale: str, kind: str, device: str, dtype: Any, side: int, folder: Path) -> Built:
    """`kind` is dense or moe; images of up to `side` x `side` pixels are not shrunk."""
    import transformers

    out = folder / TINY_KINDS[kind]
    build_tiny_model(TINY_KINDS[kind], out)
    tokenizer = build_qwen_tokenizer()
    processor = build_qwen_processor("Qwen3VLProcessor", tokenizer, patch=16, pixels=(32 * 32, 256 * 256))
    raise_pixel_limit(processor.image_processor, side)
    name = {"dense": "Qwen3VL", "moe": "Qwen3VLMoe"}[kind]
    config = getattr(transformers, f"{name}Config")(
        **JUDGES[scale, kind], tie_word_embeddings=False, **find_image_token_ids(tokenizer)
    )
    family = getattr(transformers, f"{name}ForConditionalGeneration")
    model = built(lambda: family._from_config(config, dtype=dtype, attn_implementation="sdpa"), device, dtype)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.eos_token_id = None  # random weights may end a reply at any token
    return Built(model, processor, out)


def build_editor(scale: str, device: str, dtype: Any, folder: Path) -> dict[str, Any]:
    """The parts of a QwenImageEditPlusPipeline; the scheduler is that of the tiny checkpoint, which goes into
    `folder` and is the released one."""
    import diffusers
    import transformers

    sizes = EDITORS[scale]
    build_tiny_model("qwen-image-edit-plus", folder)
    tokenizer = build_qwen_tokenizer()
    reading = transformers.Qwen2_5_VLConfig(**sizes["text_encoder"], **find_image_token_ids(tokenizer))
    classes = {"transformer": diffusers.QwenImageTransformer2DModel, "vae": diffusers.AutoencoderKLQwenImage}
    parts = {
        name: built(lambda made=made, name=name: made(**sizes[name]), device, dtype) for name, made in classes.items()
    }
    return parts | {
        "text_encoder": built(lambda: transformers.Qwen2_5_VLForConditionalGeneration(reading), device, dtype),
        "tokenizer": tokenizer,
        "processor": build_qwen_processor("Qwen2VLProcessor", tokenizer, patch=14, pixels=(56 * 56, 28 * 28 * 1280)),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
    }
