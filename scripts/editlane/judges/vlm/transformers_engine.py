"""Any chat VLM that transformers has, without code for a family: one forward pass over its own chat template.

A score is read from the probabilities of the legal answers as the next tokens. The prompts of a pass are padded on the
right: every token then has the place and the past that it has alone, whatever a family does with padding. Answers of
several tokens take one more pass for each of their beginnings that no other beginning continues (see answers.py).
"""

import inspect
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from PIL.Image import Image
from pydantic import Field

from editlane.core.errors import JudgeFailed
from editlane.core.params import SPEED, AllowPickle, Dtype
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.chat import ChatJudgeParams, convert_load_errors
from editlane.judges.decoding import draw_tokens, no_cudnn_attention
from editlane.judges.vlm.answers import AnswerTokens, Tokens
from editlane.judges.vlm.checkpoints import check_architecture
from editlane.judges.vlm.inputs import Inputs, append_tokens, count_tokens, pad_left
from editlane.judges.vlm.prompts import drop_thoughts, find_tokens_after, open_prompts
from editlane.models import load_times
from editlane.models.devices import convert_model_errors, pick_device, pick_dtype, set_allocator
from editlane.models.no_torchvision import replace_video_processors

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class VlmParams(ChatJudgeParams):
    """Settings of this judge."""

    batch_size: Annotated[int, Field(ge=1), SPEED] = 8
    """Questions per forward pass, and edits prepared at once."""
    dtype: Dtype | None = None
    """Number format of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    allow_pickle: AllowPickle = False
    attn_implementation: Literal["eager", "flash_attention_2", "flash_attention_3", "sdpa"] | None = None
    """Attention kernel, by its name in transformers; null for the family's own choice."""


class Prepared(NamedTuple):
    """Prepared batch."""

    passes: list[Inputs]
    """Tensors of `batch_size` questions each, on the CPU, padded on the right."""
    counts: list[int]
    """Questions of each edit."""


class VlmJudge:
    """One checkpoint on the device of this process."""

    VERSION = "1"
    """Bump when the same question would get other probabilities."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = VlmParams

    def __init__(self, *, model: str, revision: str | None, params: VlmParams) -> None:
        set_allocator()
        with load_times.measure_phase("imports"):
            from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401 (takes seconds)
            from transformers.utils import logging as transformers_logging

            replace_video_processors()
        self.params = params
        self.name = model
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        check_architecture(model, revision, allow_pickle=params.allow_pickle)
        self.device = pick_device()
        with convert_load_errors(model, revision):
            self._load(model, revision or "main")
        self.prompts = open_prompts(self.processor, model)
        self._threads = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._tokenizing = threading.Lock()  # two threads use the tokenizer, which allows one
        self._answers: dict[tuple[str, ...], AnswerTokens] = {}

    def _load(self, model: str, revision: str) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        with load_times.measure_phase("transfer"):
            self.processor = AutoProcessor.from_pretrained(model, revision=revision, trust_remote_code=False)
            self.model = AutoModelForImageTextToText.from_pretrained(
                model,
                revision=revision,
                dtype=pick_dtype(self.params.dtype, self.device),
                device_map=self.device,  # the weights go straight to the device
                attn_implementation=self.params.attn_implementation,
                use_safetensors=None if self.params.allow_pickle else True,
                trust_remote_code=False,
            ).eval()
        self._keeps_logits = "logits_to_keep" in inspect.signature(self.model.forward).parameters

    @property
    def max_batch_cost(self) -> int:
        """Edits prepared at once."""
        return self.params.batch_size

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1, because families count the tokens of an image in ways of their own."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Prepared:
        """Shrink the images and let the processor make tensors, on the CPU.

        Raises JudgeFailed for the whole batch if the processor rejects an image.
        """
        questions = [question for edit in asked for question in edit]
        images = {id(part): part for one in questions for part in one.parts if not isinstance(part, str)}
        shrunk = dict(zip(images, self._threads.map(self._shrink, images.values()), strict=True))  # each once
        chats = [self.prompts.make_chat(question, shrunk) for question in questions]
        size = self.params.batch_size
        with self._tokenizing, convert_model_errors(JudgeFailed):
            passes = [self._encode(chats[start : start + size]) for start in range(0, len(chats), size)]
        return Prepared(passes=passes, counts=[len(edit) for edit in asked])

    def _shrink(self, image: Image) -> Image:
        return fit_within(image, self.params.max_image_side)

    def _encode(self, chats: list[list[dict[str, Any]]]) -> Inputs:
        return dict(self.prompts.encode(chats, padding=True, padding_side="right"))

    def read_out(self, batch: Prepared, answers: Sequence[str]) -> list[list[Readout]]:
        """Compute the log-probabilities in float32. Logits that are not finite give probabilities that are not finite.

        Raises UserError if an answer cannot be read, OutOfMemory, and JudgeFailed for another failure of this batch.
        An error that breaks the device for the whole process passes through.
        """
        tokens = self.find_answer_tokens(answers)
        with convert_model_errors(JudgeFailed):
            found = [readout for inputs in batch.passes for readout in self._read(inputs, tokens)]
        return _group(found, batch.counts)

    def _read(self, inputs: Inputs, answers: AnswerTokens) -> list[Readout]:
        """Return a readout for each prompt of a pass."""
        wanted, rows = answers.beginnings, len(inputs["input_ids"])
        known: list[dict[Tokens, dict[int, float]]] = [{} for _ in range(rows)]
        for path in answers.paths:
            logprobs = self._compute_logprobs(inputs, path)
            for end in range(len(path) + 1):
                beginning = path[:end]
                values = logprobs[:, end, list(wanted[beginning])].tolist()
                for row in range(rows):
                    known[row].setdefault(beginning, dict(zip(wanted[beginning], values[row], strict=True)))
        return [answers.read(one) for one in known]

    def _compute_logprobs(self, inputs: Inputs, path: Tokens) -> "torch.Tensor":
        """Return the log-probabilities of the next token after each prompt and after each token of `path` behind it.

        Shape (prompts, 1 + tokens of the path, vocabulary), float32.
        """
        import torch

        ends = torch.tensor(count_tokens(inputs)) - 1
        places = ends[:, None] + torch.arange(len(path) + 1)
        kept, own = torch.unique(places, return_inverse=True)
        with torch.inference_mode():
            ready = self._to_device(append_tokens(inputs, path))
            only = {"logits_to_keep": kept.to(self.device)} if self._keeps_logits else {}
            logits = self.model(**ready, **only, use_cache=False).logits
            shown = own if self._keeps_logits else places
            rows = torch.arange(len(places))[:, None]
            return torch.log_softmax(logits[rows.to(logits.device), shown.to(logits.device)].float(), dim=-1)

    def _to_device(self, inputs: Inputs) -> Inputs:
        """Copy the tensors; those that are no whole numbers get the model's number format."""
        return {
            name: values.to(self.device, self.model.dtype if values.is_floating_point() else values.dtype)
            for name, values in inputs.items()
        }

    def generate(self, batch: Prepared, max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        """Decode at the params' temperature, and ignore the checkpoint's own generation settings.

        A reply depends on its own seed, not on its neighbours in the batch (except for rounding). Thoughts are left
        out. Raises like read_out.
        """
        own = [seed for edit in seeds for seed in edit]
        replies: list[str] = []
        with convert_model_errors(JudgeFailed):
            for inputs in batch.passes:
                rows = len(inputs["input_ids"])
                replies += self._write(inputs, max_new_tokens, own[len(replies) : len(replies) + rows])
        return _group(replies, batch.counts)

    def _write(self, inputs: Inputs, max_new_tokens: int, seeds: Sequence[int]) -> list[str]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        tokenizer = self.processor.tokenizer
        greedy = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=self.model.generation_config.eos_token_id or tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        drawn = LogitsProcessorList()
        if self.params.temperature:
            drawn.append(draw_tokens(self.params.temperature, seeds))
        with torch.inference_mode(), no_cudnn_attention():
            ready = self._to_device(pad_left(inputs))
            tokens = self.model.generate(**ready, generation_config=greedy, logits_processor=drawn)
        written = self.processor.batch_decode(tokens[:, ready["input_ids"].shape[1] :], skip_special_tokens=True)
        return [drop_thoughts(reply, opened=self.prompts.opens_thought) for reply in written]

    def find_answer_tokens(self, answers: Sequence[str]) -> AnswerTokens:
        """Return the tokens of each answer after this checkpoint's chat template. Raises UserError if it has none."""
        if tuple(answers) not in self._answers:
            with self._tokenizing:
                self._answers[tuple(answers)] = find_tokens_after(self.prompts, answers)
        return self._answers[tuple(answers)]


def _group(found: Sequence[Any], counts: Sequence[int]) -> list[list[Any]]:
    """Return what was found for each question, by edit."""
    left = iter(found)
    return [[next(left) for _ in range(count)] for count in counts]
