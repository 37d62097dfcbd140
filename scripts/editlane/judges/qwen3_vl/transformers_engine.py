"""Qwen3-VL, dense and mixture of experts, through transformers.

A score is read without decoding, from the probabilities of the legal answers as the next token. Common prefixes are
computed once (see prefill.py), and images are cut on the CPU (see patches.py).
"""

import itertools
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from PIL.Image import Image
from pydantic import Field

from editlane.core.errors import JudgeFailed
from editlane.core.params import SPEED, AllowPickle, Dtype
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.chat import ChatJudgeParams, convert_load_errors, set_padding
from editlane.judges.decoding import forget_generation_settings, write_replies
from editlane.judges.qwen3_vl.chat import (
    check_architecture,
    encode_answers,
    make_messages,
    raise_pixel_limit,
)
from editlane.judges.qwen3_vl.patches import Patches, PatchSettings, cut_patches
from editlane.judges.qwen3_vl.prefill import DeviceBatch, Prefill
from editlane.judges.qwen3_vl.prompt_trees import PromptTree, PromptTreeBatch, make_prompt_tree
from editlane.models import load_times
from editlane.models.devices import convert_model_errors, pick_device, pick_dtype, set_allocator
from editlane.models.no_torchvision import drop_video_processors

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


class Qwen3VLParams(ChatJudgeParams):
    """Settings of this judge."""

    RETIRED = frozenset({"features_dir"})
    """A folder for image features, from when each editor's edits were judged in a process of their own."""

    batch_tokens: Annotated[int, Field(ge=1), SPEED] = 16384
    """Tokens per forward pass of a read-out, with padding and both images, without the category's rubric. A larger edit
    is judged alone. Keys and values take memory for all of them, once more for each criterion."""
    dtype: Dtype | None = None
    """Number format of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    allow_pickle: AllowPickle = False
    attn_implementation: Literal["eager", "flash_attention_2", "flash_attention_3", "sdpa"] = "sdpa"
    """Attention kernel, by its name in transformers."""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Sampling temperature of generated replies; 0 takes the likeliest token each time. Read-outs do not sample."""


class Prepared(NamedTuple):
    """Prepared batch."""

    questions: PromptTreeBatch
    staged: DeviceBatch


class Qwen3VLJudge:
    """One Qwen3-VL checkpoint on the device of this process."""

    VERSION = "3"
    """Bump when the same question would get other probabilities."""
    REPLIES_VERSION = "1"
    """Bump when the same question would get another reply, but the same probabilities."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = Qwen3VLParams

    def __init__(self, *, model: str, revision: str | None, params: Qwen3VLParams) -> None:
        set_allocator()
        with load_times.measure_phase("imports"):
            from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401 (takes seconds)
            from transformers.utils import logging as transformers_logging

            drop_video_processors()
        self.params = params
        self.name = model
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        check_architecture(model, revision, allow_pickle=params.allow_pickle)
        self.device = pick_device()
        with convert_load_errors(model, revision):
            self._load(model, revision or "main")
        raise_pixel_limit(self.processor.image_processor, self.params.max_image_side)
        self.settings = PatchSettings.from_processor(self.processor.image_processor)
        self.prefill = Prefill(self.model, self.settings)
        self._threads = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._tokenizing = threading.Lock()  # two threads use the tokenizer, which allows one
        self._answer_ids: dict[tuple[str, ...], list[int]] = {}

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
        set_padding(self.processor.tokenizer)
        forget_generation_settings(self.model, self.processor.tokenizer)

    @property
    def max_batch_cost(self) -> int:
        """Tokens per forward pass."""
        return self.params.batch_tokens

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Estimate the number of tokens; one per three bytes of text, in either language."""
        return sum(self._count_image_tokens(size) for size in sizes) + len(text.encode()) // 3

    def _count_image_tokens(self, size: tuple[int, int]) -> int:
        """Count the tokens of an image of this (width, height). Small images are enlarged."""
        width, height = (min(side, round(side * self.params.max_image_side / max(size))) for side in size)
        return -(-max(self.settings.least, width * height) // (self.settings.side * self.settings.merge) ** 2)

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Prepared:
        """Tokenize the questions, cut the images, and start copying both to the device.

        Raises OutOfMemory. Raises JudgeFailed for the whole batch if the model rejects an image (aspect ratio above
        200).
        """
        images = {id(part): part for part in itertools.chain(*map(_iterate_parts, asked)) if not isinstance(part, str)}
        cut = dict(zip(images, self._threads.map(self._cut, images.values()), strict=True))  # each once
        trees: list[PromptTree] = []
        places: list[list[tuple[int, int]]] = []
        for questions in asked:
            place: dict[int, tuple[int, int]] = {}
            for group in _group_by_prefix(questions):
                for suffix, number in enumerate(group):
                    place[number] = (len(trees), suffix)
                trees.append(self._make_tree([questions[number] for number in group], cut))
            places.append([place[number] for number in range(len(questions))])
        with convert_model_errors(JudgeFailed):
            return Prepared(PromptTreeBatch(trees=trees, places=places), self.prefill.stage(trees))

    def _cut(self, image: Image) -> Patches:
        return cut_patches(fit_within(image, self.params.max_image_side), self.settings)

    def _make_tree(self, questions: Sequence[Question], cut: Mapping[int, Patches]) -> PromptTree:
        images = [cut[id(part)] for part in questions[0].parts if not isinstance(part, str)]
        prompts = [self._tokenize(question) for question in questions]
        return make_prompt_tree(prompts, images, self.prefill.image_token, self.settings.merge)

    def _tokenize(self, question: Question) -> list[int]:
        """Tokenize a question, with one token for each image."""
        with self._tokenizing:
            text = self.processor.apply_chat_template(
                [make_messages(question)], add_generation_prompt=True, tokenize=False
            )[0]
            return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def read_out(self, batch: Prepared, answers: Sequence[str]) -> list[list[Readout]]:
        """Compute the softmax in float32. Logits that are not finite give probabilities that are not finite.

        Raises UserError if an answer is not one token, OutOfMemory, and JudgeFailed for another failure of this batch.
        An error that breaks the device for the whole process passes through.
        """
        import torch

        ids = self.find_answer_ids(answers)
        with convert_model_errors(JudgeFailed), torch.inference_mode():
            logits = self.prefill.compute_logits(batch.staged)
            probabilities = logits[:, ids].softmax(-1).tolist()
            masses = logits.softmax(-1)[:, ids].sum(-1).tolist()
        pairs = zip(probabilities, masses, strict=True)
        return batch.questions.group_by_edit([Readout(probabilities=tuple(row), mass=mass) for row, mass in pairs])

    def generate(self, batch: Prepared, max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        """Decode at the params' temperature, and ignore the checkpoint's own generation settings.

        A reply depends on its own seed, not on its neighbours in the batch (except for rounding). Raises like read_out.
        """
        tokenizer, trees = self.processor.tokenizer, batch.questions.trees
        own = batch.questions.order_by_suffix(seeds)
        with convert_model_errors(JudgeFailed):
            whole = self.prefill.pad_whole_prompts(trees, tokenizer.pad_token_id)
            replies = write_replies(self.model, whole, max_new_tokens, self.params.temperature, own, self._decode)
        return batch.questions.group_by_edit(replies)

    def _decode(self, tokens: "torch.Tensor") -> list[str]:
        return list(self.processor.batch_decode(tokens, skip_special_tokens=True))

    def find_answer_ids(self, answers: Sequence[str]) -> list[int]:
        """Return the token of each answer. Raises UserError if one is not a single token, or if two are the same
        token."""
        known = self._answer_ids.get(tuple(answers))
        if known is not None:
            return known
        with self._tokenizing:
            ids = encode_answers(self.processor.tokenizer, answers, self.name)
        self._answer_ids[tuple(answers)] = ids
        return ids


def _iterate_parts(questions: Sequence[Question]) -> Iterator[str | Image]:
    for question in questions:
        yield from question.parts


def _group_by_prefix(questions: Sequence[Question]) -> list[list[int]]:
    """Group the indices of questions that are equal up to their last image."""
    groups: dict[tuple[str | int, ...], list[int]] = {}
    for number, question in enumerate(questions):
        places = [place for place, part in enumerate(question.parts) if not isinstance(part, str)]
        shown = question.parts[: places[-1] + 1] if places else ()
        prefix = (question.system, *(part if isinstance(part, str) else id(part) for part in shown))
        groups.setdefault(prefix, []).append(number)
    return list(groups.values())
