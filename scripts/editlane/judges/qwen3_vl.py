"""Qwen3-VL, dense and mixture of experts, through transformers.

A score is read from one forward pass without decoding: the distribution of the next token after the prompt, looked at
on the legal answers only. Batches are padded on the left, so the last position of every row is the next token.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import TYPE_CHECKING, Any

from editlane import checkpoints
from editlane.devices import memory_errors, pick_device, pick_dtype
from editlane.errors import ItemError, JudgeFailed, UserError
from editlane.images import fit_within
from editlane.params import check_choice, check_integer, check_names_list, check_number, read_params
from editlane.torchvision_free import drop_video_processors
from editlane.types import Question, Readout

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

OWNER = "the judge qwen3-vl"
MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")
DTYPES = ("bfloat16", "float16", "float32")
ATTENTION = ("eager", "flash_attention_2", "flash_attention_3", "sdpa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3VLParams:
    """The settings of this judge."""

    batch_size: int = 8
    """Edits per forward pass."""
    max_image_side: int = 1024
    """Pixels; larger images are shrunk to this before the judge sees them."""
    dtype: str | None = None
    """Of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    attn_implementation: str = "sdpa"
    optional_criteria: Sequence[str] = ()
    """The optional criteria of the protocol that are asked as well."""
    temperature: float = 0.0
    """Of generated replies; 0 takes the likeliest token each time. Read-outs do not sample."""

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 1)
        check_integer("max_image_side", self.max_image_side, 32)
        if self.dtype is not None:
            check_choice("dtype", self.dtype, DTYPES)
        check_choice("attn_implementation", self.attn_implementation, ATTENTION)
        check_names_list("optional_criteria", self.optional_criteria)
        check_number("temperature", self.temperature, 0, 100)


class Qwen3VLJudge:
    """One Qwen3-VL checkpoint on the device of this process."""

    VERSION = "1"
    """Bump when the same question would get other probabilities."""
    NEEDS_MODEL = True
    SPEED_PARAMS = frozenset({"batch_size"})

    def __init__(self, *, model: str, revision: str | None, params: Mapping[str, Any]) -> None:
        from transformers.utils import logging as transformers_logging

        self.params = read_params(Qwen3VLParams, OWNER, params)
        self.name = model
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        _check_architecture(model, revision)
        self.device = pick_device()
        with _load_errors(model, revision):
            self._load(model, revision or "main")
        self.processor.tokenizer.padding_side = "left"
        _admit_images(self.processor.image_processor, self.params.max_image_side)
        self._tokenizing = threading.Lock()  # padding is a state of the tokenizer, and two threads use it
        self._answer_ids: dict[tuple[str, ...], list[int]] = {}

    def _load(self, model: str, revision: str) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        drop_video_processors()
        self.processor = AutoProcessor.from_pretrained(model, revision=revision)
        self.model = AutoModelForImageTextToText.from_pretrained(
            model,
            revision=revision,
            dtype=pick_dtype(self.params.dtype, self.device),
            device_map=self.device,  # the weights go straight to the device
            attn_implementation=self.params.attn_implementation,
        ).eval()

    @classmethod
    def check_params(cls, params: Mapping[str, Any]) -> None:
        """Raises UserError for a name or a value that this judge does not take. Needs no model library."""
        read_params(Qwen3VLParams, OWNER, params)

    @classmethod
    def samples(cls, params: Mapping[str, Any]) -> bool:
        """Whether, with these params, the same question again may get another reply."""
        return read_params(Qwen3VLParams, OWNER, params).temperature > 0

    @property
    def batch_size(self) -> int:
        """How many questions this judge is asked at once."""
        return self.params.batch_size

    def prepare(self, questions: Sequence[Question]) -> dict[str, "torch.Tensor"]:
        """The processor's tensors on the CPU, padded on the left to one length.

        `input_ids`, `attention_mask`, `mm_token_type_ids`: (questions, tokens) int64. `pixel_values`: (patches of all
        images, values per patch) float32. `image_grid_thw`: (images, 3) int64. Raises JudgeFailed for the whole batch
        where the processor refuses an image (longer than 200 times its height).
        """
        conversations = [self._conversation(question) for question in questions]
        try:
            with self._tokenizing:
                batch = self.processor.apply_chat_template(
                    conversations,
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=True,
                    return_tensors="pt",
                    processor_kwargs={"padding": True},
                )
        except ValueError as error:
            raise JudgeFailed(f"the processor refuses the question: {error}", kind="question") from error
        return dict(batch)

    def read_out(self, batch: Mapping[str, "torch.Tensor"], answers: Sequence[str]) -> list[Readout]:
        """One forward pass over the batch; the softmax is taken in float32. Logits that are not finite stay visible as
        probabilities that are not.

        Raises UserError where an answer is not one token, OutOfMemory, and JudgeFailed for another failure of this
        batch; an error that breaks the device for the whole process passes through.
        """
        import torch

        ids = self.answer_ids(answers)
        with _batch_errors(), torch.inference_mode():
            logits = self.model(**self._on_device(batch), logits_to_keep=1, use_cache=False).logits[:, -1].float()
            probabilities = logits[:, ids].softmax(-1).tolist()
            masses = logits.softmax(-1)[:, ids].sum(-1).tolist()
        return [Readout(probabilities=tuple(row), mass=mass) for row, mass in zip(probabilities, masses, strict=True)]

    def generate(self, batch: Mapping[str, "torch.Tensor"], max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        """Decoding at the params' temperature, whatever the checkpoint's own generation settings are.

        A reply depends on its own seed, not on its neighbours in the batch (but for rounding). Raises like read_out.
        """
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        own = self.model.generation_config
        greedy = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=own.eos_token_id,
            pad_token_id=self.processor.tokenizer.pad_token_id,
        )
        drawn = LogitsProcessorList([_draw_tokens(self.params.temperature, seeds)] if self.params.temperature else [])
        with _batch_errors(), torch.inference_mode():
            tokens = self.model.generate(**self._on_device(batch), generation_config=greedy, logits_processor=drawn)
        replies = tokens[:, batch["input_ids"].shape[1] :]
        return list(self.processor.batch_decode(replies, skip_special_tokens=True))

    def answer_ids(self, answers: Sequence[str]) -> list[int]:
        """The token of each answer. Raises UserError where one is no single token, or two are the same token."""
        known = self._answer_ids.get(tuple(answers))
        if known is not None:
            return known
        tokenizer = self.processor.tokenizer
        with self._tokenizing:
            encoded = {answer: tokenizer.encode(answer, add_special_tokens=False) for answer in answers}
        for answer, ids in encoded.items():
            if len(ids) != 1:
                pieces = ", ".join(repr(tokenizer.decode([one])) for one in ids)
                raise UserError(
                    f"The answer {answer!r} of the protocol is {len(ids)} tokens ({pieces}) for the tokenizer of "
                    f"{self.name}; an answer that is read from one forward pass must be one token. "
                    "Use single digits, single letters or common short words."
                )
        ids = [encoded[answer][0] for answer in answers]
        if len(set(ids)) < len(ids):
            raise UserError(f"Two answers of the protocol are the same token for the tokenizer of {self.name}.")
        self._answer_ids[tuple(answers)] = ids
        return ids

    def _conversation(self, question: Question) -> list[dict[str, Any]]:
        parts = [
            {"type": "text", "text": _plain(part)}
            if isinstance(part, str)
            else {"type": "image", "image": fit_within(part, self.params.max_image_side)}
            for part in question.parts
        ]
        user = {"role": "user", "content": parts}
        if not question.system:
            return [user]
        return [{"role": "system", "content": [{"type": "text", "text": _plain(question.system)}]}, user]

    def _on_device(self, batch: Mapping[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
        return {name: tensor.to(self.device) for name, tensor in batch.items()}


def _draw_tokens(temperature: float, seeds: Sequence[int]) -> Callable[..., "torch.Tensor"]:
    """A step of decoding that leaves one token per row: drawn at this temperature by the row's own seed.

    transformers' own sampling draws for the whole batch, so that a reply would depend on its neighbours.
    """
    import torch

    generators = [random.Random(seed) for seed in seeds]

    def draw(input_ids: "torch.Tensor", logits: "torch.Tensor") -> "torch.Tensor":
        cumulated = (logits.double() / temperature).softmax(-1).cumsum(-1)
        points = torch.tensor([[one.random()] for one in generators], dtype=torch.double, device=logits.device)
        chosen = torch.searchsorted(cumulated, points * cumulated[:, -1:], right=True)
        return torch.full_like(logits, -torch.inf).scatter_(-1, chosen.clamp_(max=logits.shape[-1] - 1), 0.0)

    return draw


def _plain(text: str) -> str:
    """The text without special tokens, which an instruction could otherwise forge (`<|im_end|>`, `<|image_pad|>`)."""
    return text.replace("<|", "< |")


def _check_architecture(model: str, revision: str | None) -> None:
    """Raises UserError before any weight is loaded: no complete checkpoint, hub not reached, not a Qwen3-VL."""
    from transformers import AutoConfig

    checkpoints.check_checkpoint(model)
    with _load_errors(model, revision):
        found = AutoConfig.from_pretrained(model, revision=revision or "main").model_type
    if found not in MODEL_TYPES:
        raise UserError(
            f"The judge's model {model} is of type {found!r}; the adapter qwen3-vl takes {' and '.join(MODEL_TYPES)}. "
            "Set `model:` to a Qwen3-VL checkpoint, or choose another `adapter:`."
        )


@contextmanager
def _load_errors(model: str, revision: str | None) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError:  # the registry names the missing package
        raise
    except (OSError, ValueError, ImportError) as error:  # ImportError: attention code that is not installed
        reason = " ".join(str(error).split())
        if checkpoints.is_hub_id(model) and not isinstance(error, ImportError):
            raise checkpoints.hub_error(model, revision, reason) from error
        raise UserError(f"The judge's model {model} cannot be loaded: {reason}") from error


def _admit_images(image_processor: Any, max_side: int) -> None:
    """Raise the processor's pixel limit to an image of `max_side` x `max_side`, so that it shrinks none a second time.

    It rounds each side to a multiple of its patches first, possibly up, and compares the area after that.
    """
    unit = image_processor.patch_size * image_processor.merge_size
    rounded_up = -(-max_side // unit) * unit
    least = min(image_processor.size["shortest_edge"], rounded_up**2)
    image_processor.size = {"shortest_edge": least, "longest_edge": rounded_up**2}


@contextmanager
def _batch_errors() -> Iterator[None]:
    """An ordinary failure ends its batch as JudgeFailed; after a broken CUDA context nothing works, so that passes."""
    import torch

    try:
        with memory_errors():
            yield
    except (ItemError, torch.AcceleratorError):
        raise
    except Exception as error:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # raises where an earlier kernel broke the context
        log.info("the model failed on this batch", exc_info=True)
        clear_frames(error.__traceback__)  # their variables are the tensors of the failed call
        raise JudgeFailed(f"{type(error).__name__}: {' '.join(str(error).split())}") from error
