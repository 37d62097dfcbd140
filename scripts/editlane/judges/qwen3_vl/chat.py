"""Code that all engines of the Qwen3-VL judge share: which checkpoints they accept, the chat messages, the answer
tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError, format_value
from editlane.core.types import Question
from editlane.judges.chat import check_image_processor, convert_load_errors
from editlane.judges.chat import make_messages as make_escaped_messages
from editlane.models import checkpoints
from editlane.models.weight_formats import check_formats

MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")


def make_messages(question: Question) -> list[dict[str, Any]]:
    """Build the chat messages of a question, with placeholders for images."""
    return make_escaped_messages(question, escape_special_tokens)


def escape_special_tokens(text: str) -> str:
    """Break up special tokens, which an instruction could otherwise forge (`<|im_end|>`, `<|image_pad|>`)."""
    return text.replace("<|", "< |")


def encode_answers(tokenizer: Any, answers: Sequence[str], model: str) -> list[int]:
    """Return the token of each answer. Raises UserError if one is not a single token, or if two are the same token."""
    encoded = {answer: tokenizer.encode(answer, add_special_tokens=False) for answer in answers}
    for answer, ids in encoded.items():
        if len(ids) != 1:
            pieces = ", ".join(repr(tokenizer.decode([one])) for one in ids)
            raise UserError(
                f"The answer {answer!r} of the protocol is {len(ids)} tokens ({pieces}) for the tokenizer of "
                f"{model}; an answer that is read from one forward pass must be one token. "
                "Use single digits, single letters or common short words."
            )
    ids = [encoded[answer][0] for answer in answers]
    if len(set(ids)) < len(ids):
        raise UserError(f"Two answers of the protocol are the same token for the tokenizer of {model}.")
    return ids


def check_architecture(model: str, revision: str | None, *, allow_pickle: bool) -> None:
    """Raise UserError before any weight is loaded: incomplete checkpoint, hub not reachable, not a Qwen3-VL, weights
    that are pickles and not allowed."""
    from transformers import AutoConfig

    checkpoints.check_checkpoint(model)
    check_formats(model, allow_pickle=allow_pickle)
    with convert_load_errors(model, revision):
        config = AutoConfig.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
    check_type(config.model_type, model)
    if not checkpoints.is_hub_id(model):
        check_image_processor(Path(model))


def check_type(model_type: Any, model: str) -> None:
    """Raise UserError for a type of a model that is no Qwen3-VL."""
    if model_type not in MODEL_TYPES:
        raise UserError(
            f"The judge's model {model} has the type {format_value(model_type)}; the adapter qwen3-vl accepts "
            f"{' and '.join(MODEL_TYPES)}. Set `model:` to a Qwen3-VL checkpoint, or choose another `adapter:`."
        )


def raise_pixel_limit(image_processor: Any, max_side: int) -> None:
    """Raise the processor's pixel limit to `max_side` x `max_side`, so that no image is shrunk a second time.

    The processor rounds each side to a multiple of its patches, possibly up, and compares the area after that.
    """
    unit = image_processor.patch_size * image_processor.merge_size
    rounded_up = -(-max_side // unit) * unit
    least = min(image_processor.size["shortest_edge"], rounded_up**2)
    image_processor.size = {"shortest_edge": least, "longest_edge": rounded_up**2}
