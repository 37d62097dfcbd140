"""Qwen3-VL, dense and mixture of experts, through vLLM: one engine in this process, on its leased device.

The engine batches by itself and caches prefixes: the rubric of a category, and the images of an edit for its other
criteria. A score is read from the first token's log-probabilities before temperature and penalties, requested by token
id. So the mass is that of the whole distribution, as in the other engines.

The model gets the same tokens and pixels as in transformers: images are resized here to whole blocks, so that the
processor within vLLM has nothing left to resize. On tiny random models in float32 on the CPU the two engines'
probabilities agree to 1e-4. In bfloat16 they differ by rounding, because the kernels differ.
"""

import itertools
import math
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

from PIL import Image
from pydantic import Field

from editlane.core.errors import JudgeFailed
from editlane.core.params import SPEED, AllowPickle, Dtype
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.chat import ChatJudgeParams, convert_load_errors
from editlane.judges.qwen3_vl.chat import (
    check_architecture,
    encode_answers,
    make_messages,
    raise_pixel_limit,
)
from editlane.judges.qwen3_vl.patches import PatchSettings, fit_blocks
from editlane.models import load_times
from editlane.models.devices import convert_model_errors, pick_device, pick_dtype
from editlane.models.no_torchvision import drop_video_processors

MOST_IMAGES = 8
"""Maximum images per question."""

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a second process would hold the device after this one is killed
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_HOST_IP": "127.0.0.1",  # torch's rendezvous has a single process
}
"""Settings that vLLM reads at import."""


class VllmParams(ChatJudgeParams):
    """Settings of this judge."""

    batch_size: Annotated[int, Field(ge=1), SPEED] = 16
    """Edits given to the engine at once; it decides how many go through the model together. Host memory holds two
    batches, with an image once per question that shows it: 12.6 MB at 1024 x 1024 in bfloat16."""
    max_model_len: Annotated[int, Field(ge=16), SPEED] = 16384
    """Maximum tokens of a prompt with its images and its reply; a longer one fails. The engine needs room for one."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.01, le=1), SPEED] = 0.9
    """Share of the GPU's memory for weights, keys and values."""
    enforce_eager: bool = False
    """Skip compilation and graph capture at the start."""
    dtype: Dtype | None = None
    """Number format of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""
    allow_pickle: AllowPickle = False


class VllmJudge:
    """One Qwen3-VL checkpoint in a vLLM engine."""

    VERSION = "1"
    """Bump when the same question would get other probabilities."""
    RUNS_ON = RunsOn.DEVICE
    PARAMS = VllmParams

    def __init__(self, *, model: str, revision: str | None, params: VllmParams) -> None:
        self.params = params
        self.name = model
        os.environ.update(ENVIRONMENT)
        with load_times.measure_phase("imports"):
            import vllm  # noqa: F401 (takes seconds)
            from transformers import AutoProcessor

            drop_video_processors()
        check_architecture(model, revision, allow_pickle=params.allow_pickle)
        with load_times.measure_phase("transfer"), convert_load_errors(model, revision):
            self.processor = AutoProcessor.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
            raise_pixel_limit(self.processor.image_processor, self.params.max_image_side)
            self.engine = self._make_engine(model, revision)
        self.settings = PatchSettings.from_processor(self.processor.image_processor)
        self._resizers = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._rendering = threading.Lock()  # two threads prepare; the tokenizer and the renderer allow one
        self._asked = 0

    def _make_engine(self, model: str, revision: str | None) -> Any:
        from vllm import EngineArgs, LLMEngine

        side = self.params.max_image_side
        images = {"count": MOST_IMAGES, "width": side, "height": side}
        arguments = EngineArgs(
            model=model,
            revision=revision,
            tokenizer_revision=revision,
            dtype=str(pick_dtype(self.params.dtype, pick_device())).removeprefix("torch."),
            max_model_len=self.params.max_model_len,
            gpu_memory_utilization=self.params.gpu_memory_utilization,
            enforce_eager=self.params.enforce_eager,
            load_format="auto" if self.params.allow_pickle else "safetensors",
            trust_remote_code=False,
            enable_prefix_caching=True,
            limit_mm_per_prompt={"image": images, "video": 0},
            mm_processor_cache_gb=0,  # its two halves get out of step if a prepared prompt is never asked
            mm_processor_kwargs={"size": dict(self.processor.image_processor.size)},
            disable_log_stats=True,
        )
        return LLMEngine.from_engine_args(arguments)

    @property
    def max_batch_cost(self) -> int:
        """Edits given to the engine at once."""
        return self.params.batch_size

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1, because the engine counts the tokens itself."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[Any]]:
        """Convert the questions to the engine's inputs: tokens and tensors, on the CPU.

        Raises JudgeFailed for the whole batch if the model rejects an image, or a prompt of this length.
        """
        parts = itertools.chain.from_iterable(question.parts for questions in asked for question in questions)
        images = {id(part): part for part in parts if not isinstance(part, str)}
        fitted = dict(zip(images, self._resizers.map(self._fit, images.values()), strict=True))
        return [[self._render(question, fitted) for question in questions] for questions in asked]

    def _fit(self, image: Image.Image) -> Image.Image:
        return fit_blocks(fit_within(image, self.params.max_image_side), self.settings)

    def _render(self, question: Question, fitted: Mapping[int, Image.Image]) -> Any:
        images = [fitted[id(part)] for part in question.parts if not isinstance(part, str)]
        with self._rendering, convert_model_errors(JudgeFailed):
            text = self.processor.apply_chat_template(
                [make_messages(question)], add_generation_prompt=True, tokenize=False
            )[0]
            tokens = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
            prompt = {"prompt_token_ids": list(tokens), "multi_modal_data": {"image": images} if images else {}}
            (rendered,) = self.engine.renderer.render_cmpl([prompt])
        return rendered

    def read_out(self, batch: list[list[Any]], answers: Sequence[str]) -> list[list[Readout]]:
        """Return the distribution over `answers`. Logits that are not finite give probabilities that are not finite.

        Raises UserError if an answer is not one token, and JudgeFailed for a prompt that the engine rejects. An error
        within the engine passes through, because it cannot continue after that.
        """
        from vllm import SamplingParams

        ids = self.find_answer_ids(answers)
        sampling = SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=ids, detokenize=False)
        outputs = self._run(batch, [[sampling] * len(questions) for questions in batch])
        return [[_make_readout(output.logprobs[0], ids) for output in own] for own in outputs]

    def generate(self, batch: list[list[Any]], max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        """Decode at the params' temperature, and ignore the checkpoint's own generation settings.

        A reply depends on its own seed, not on its neighbours (except for rounding). Raises like read_out.
        """
        from vllm import SamplingParams

        temperature = self.params.temperature
        sampling = [
            [SamplingParams(temperature=temperature, max_tokens=max_new_tokens, seed=seed) for seed in own]
            for own in seeds
        ]
        return [[output.text for output in own] for own in self._run(batch, sampling)]

    def find_answer_ids(self, answers: Sequence[str]) -> list[int]:
        """Return the token of each answer. Raises UserError if one is not a single token, or if two are the same
        token."""
        with self._rendering:
            return encode_answers(self.processor.tokenizer, answers, self.name)

    def _run(self, batch: list[list[Any]], sampling: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Run the batch. Return the engine's one output per question."""
        names = [[self._next_request_id() for _ in questions] for questions in batch]
        added: list[str] = []
        with convert_model_errors(JudgeFailed):
            try:
                for questions, own, settings in zip(batch, names, sampling, strict=True):
                    for rendered, name, chosen in zip(questions, own, settings, strict=True):
                        added.append(self.engine.add_request(name, rendered, chosen))
            except Exception:
                self.engine.abort_request(added, internal=True)  # the next batch finds an empty engine
                raise
        found: dict[str, Any] = {}
        while self.engine.has_unfinished_requests():
            found |= {done.request_id: done.outputs[0] for done in self.engine.step() if done.finished}
        return [[found[name] for name in own] for own in names]

    def _next_request_id(self) -> str:
        self._asked += 1
        return str(self._asked)


def _make_readout(logprobs: Mapping[int, Any], ids: Sequence[int]) -> Readout:
    """Build a readout from log-probabilities by token, which also hold the sampled token."""
    legal = [math.exp(logprobs[token].logprob) for token in ids]
    mass = math.fsum(legal)
    top = max(logprobs[token].logprob for token in ids)
    weights = [math.exp(logprobs[token].logprob - top) for token in ids]
    return Readout(probabilities=tuple(weight / math.fsum(weights) for weight in weights), mass=mass)
