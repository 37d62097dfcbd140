"""Qwen3-VL, dense and mixture of experts, through transformers.

A score is read without decoding: the distribution of the next token after the prompt, looked at on the legal answers
only. What questions have in common is computed once (see prefill.py); images are cut on the CPU (see patches.py).
"""

import hashlib
import itertools
import json
import logging
import platform
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from PIL.Image import Image
from pydantic import Field

from editlane.core.errors import JudgeFailed
from editlane.core.params import SPEED, Dtype
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.qwen3_vl.chat import (
    QwenJudgeParams,
    admit_images,
    answer_tokens,
    check_architecture,
    conversation,
    load_errors,
)
from editlane.judges.qwen3_vl.feature_store import FeatureStore
from editlane.judges.qwen3_vl.patches import Patches, PatchSettings, cut_patches
from editlane.judges.qwen3_vl.prefill import Feed, Prefill
from editlane.judges.qwen3_vl.prompt_trees import Stem, StemBatch, make_stem
from editlane.judges.qwen3_vl.sampling import draw_tokens
from editlane.models import checkpoints, load_times
from editlane.models.devices import convert_model_errors, pick_device, pick_dtype
from editlane.models.no_torchvision import drop_video_processors

log = logging.getLogger(__name__)


class Qwen3VLParams(QwenJudgeParams):
    """The settings of this judge."""

    batch_tokens: Annotated[int, Field(ge=1), SPEED] = 16384
    """Tokens per forward pass, padding and both images counted, of a read-out without the category's rubric. An edit
    with more of its own stands alone. Keys and values take memory for all of them, once more for each criterion."""
    dtype: Dtype | None = None
    """Of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    attn_implementation: Literal["eager", "flash_attention_2", "flash_attention_3", "sdpa"] = "sdpa"
    """The code that computes the attention, by its name in transformers."""
    features_dir: Annotated[str | None, Field(min_length=1), SPEED] = None
    """The path of a folder in which to keep what was seen in every image but a question's last, which is the edit in
    most protocols, for the judging of other editors."""
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Of generated replies; 0 takes the likeliest token each time. Read-outs do not sample."""


class Prepared(NamedTuple):
    """A batch that can be asked."""

    questions: StemBatch
    feed: Feed


class Qwen3VLJudge:
    """One Qwen3-VL checkpoint on the device of this process."""

    VERSION = "2"
    """Bump when the same question would get other probabilities."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = Qwen3VLParams

    def __init__(self, *, model: str, revision: str | None, params: Qwen3VLParams) -> None:
        with load_times.measure_phase("imports"):
            from transformers import AutoModelForImageTextToText, AutoProcessor  # noqa: F401 (takes seconds)
            from transformers.utils import logging as transformers_logging

            drop_video_processors()
        self.params = params
        self.name = model
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        check_architecture(model, revision)
        self.device = pick_device()
        with load_errors(model, revision):
            self._load(model, revision or "main")
        admit_images(self.processor.image_processor, self.params.max_image_side)
        self.settings = PatchSettings.of(self.processor.image_processor)
        self.prefill = Prefill(self.model, self.settings, self._feature_store(model, revision))
        self._threads = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._tokenizing = threading.Lock()  # two threads use the tokenizer
        self._answer_ids: dict[tuple[str, ...], list[int]] = {}

    def _load(self, model: str, revision: str) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        with load_times.measure_phase("transfer"):
            self.processor = AutoProcessor.from_pretrained(model, revision=revision)
            self.model = AutoModelForImageTextToText.from_pretrained(
                model,
                revision=revision,
                dtype=pick_dtype(self.params.dtype, self.device),
                device_map=self.device,  # the weights go straight to the device
                attn_implementation=self.params.attn_implementation,
            ).eval()

    def _feature_store(self, model: str, revision: str | None) -> FeatureStore | None:
        """None unless asked for. What is kept depends on all that could change a bit of it."""
        import torch
        import transformers

        if self.params.features_dir is None:
            return None
        maker = [
            self.VERSION,
            checkpoints.fingerprint_model(model, revision),
            getattr(self.model.config, "_commit_hash", None),  # what the hub's branch was at the time
            str(self.model.dtype),
            self.params.attn_implementation,
            torch.cuda.get_device_name() if self.device == "cuda" else platform.machine(),
            torch.__version__,
            transformers.__version__,
        ]
        key = hashlib.sha256(json.dumps(maker).encode()).hexdigest()[:16]
        return FeatureStore(Path(self.params.features_dir) / key)

    @property
    def capacity(self) -> int:
        """Tokens per forward pass."""
        return self.params.batch_tokens

    def weigh(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """About how many tokens these are; a token is some three bytes of text, in either language."""
        return sum(self._image_tokens(size) for size in sizes) + len(text.encode()) // 3

    def _image_tokens(self, size: tuple[int, int]) -> int:
        """Tokens of an image of this width and height; small ones are enlarged."""
        width, height = (min(side, round(side * self.params.max_image_side / max(size))) for side in size)
        return -(-max(self.settings.least, width * height) // (self.settings.side * self.settings.merge) ** 2)

    def prepare(self, asked: Sequence[Sequence[Question]]) -> Prepared:
        """The questions as tokens and bytes, on their way to the device.

        Raises JudgeFailed for the whole batch where the model takes no such image (longer than 200 times its height),
        and OutOfMemory.
        """
        images = {id(part): part for part in itertools.chain(*map(_parts, asked)) if not isinstance(part, str)}
        cut = dict(zip(images, self._threads.map(self._cut, images.values()), strict=True))  # each once
        stems: list[Stem] = []
        places: list[list[tuple[int, int]]] = []
        for questions in asked:
            place: dict[int, tuple[int, int]] = {}
            for group in _with_same_stem(questions):
                for ending, number in enumerate(group):
                    place[number] = (len(stems), ending)
                stems.append(self._stem([questions[number] for number in group], cut))
            places.append([place[number] for number in range(len(questions))])
        with convert_model_errors(JudgeFailed):
            return Prepared(StemBatch(stems=stems, places=places), self.prefill.feed(stems))

    def _cut(self, image: Image) -> Patches:
        return cut_patches(fit_within(image, self.params.max_image_side), self.settings)

    def _stem(self, questions: Sequence[Question], cut: Mapping[int, Patches]) -> Stem:
        images = [cut[id(part)] for part in questions[0].parts if not isinstance(part, str)]
        prompts = [self._prompt(question) for question in questions]
        return make_stem(prompts, images, self.prefill.image_token, self.settings.merge)

    def _prompt(self, question: Question) -> list[int]:
        """The tokens of a question, one for each image."""
        with self._tokenizing:
            text = self.processor.apply_chat_template(
                [conversation(question)], add_generation_prompt=True, tokenize=False
            )[0]
            return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def read_out(self, batch: Prepared, answers: Sequence[str]) -> list[list[Readout]]:
        """The softmax is taken in float32. Logits that are not finite stay visible as probabilities that are not.

        Raises UserError where an answer is not one token, OutOfMemory, and JudgeFailed for another failure of this
        batch; an error that breaks the device for the whole process passes through.
        """
        import torch

        ids = self.answer_ids(answers)
        with convert_model_errors(JudgeFailed), torch.inference_mode():
            logits = self.prefill.logits(batch.feed)
            probabilities = logits[:, ids].softmax(-1).tolist()
            masses = logits.softmax(-1)[:, ids].sum(-1).tolist()
        pairs = zip(probabilities, masses, strict=True)
        return batch.questions.in_order([Readout(probabilities=tuple(row), mass=mass) for row, mass in pairs])

    def generate(self, batch: Prepared, max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
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
        drawn = LogitsProcessorList()
        if self.params.temperature:
            drawn.append(draw_tokens(self.params.temperature, batch.questions.by_ending(seeds)))
        with convert_model_errors(JudgeFailed), torch.inference_mode():
            whole = self.prefill.whole(batch.questions.stems, self.processor.tokenizer.pad_token_id)
            tokens = self.model.generate(**whole, generation_config=greedy, logits_processor=drawn)
        replies = tokens[:, whole["input_ids"].shape[1] :]
        return batch.questions.in_order(list(self.processor.batch_decode(replies, skip_special_tokens=True)))

    def answer_ids(self, answers: Sequence[str]) -> list[int]:
        """The token of each answer. Raises UserError where one is no single token, or two are the same token."""
        known = self._answer_ids.get(tuple(answers))
        if known is not None:
            return known
        with self._tokenizing:
            ids = answer_tokens(self.processor.tokenizer, answers, self.name)
        self._answer_ids[tuple(answers)] = ids
        return ids


def _parts(questions: Sequence[Question]) -> Iterator[str | Image]:
    for question in questions:
        yield from question.parts


def _with_same_stem(questions: Sequence[Question]) -> list[list[int]]:
    """The numbers of the questions, those together that are the same up to their last image."""
    groups: dict[tuple[str | int, ...], list[int]] = {}
    for number, question in enumerate(questions):
        places = [place for place, part in enumerate(question.parts) if not isinstance(part, str)]
        shown = question.parts[: places[-1] + 1] if places else ()
        stem = (question.system, *(part if isinstance(part, str) else id(part) for part in shown))
        groups.setdefault(stem, []).append(number)
    return list(groups.values())
