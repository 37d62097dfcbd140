"""Qwen3-VL, dense and mixture of experts, through vLLM: one engine in this process, on its leased device.

The engine batches by itself and keeps the keys and values of what prompts begin with: the rubric of a category, and the
images of an edit for its other criteria. A score is read from the first token's log-probabilities, before temperature
and penalties, which are asked for by token; so the mass is that of the whole distribution, as in the other engines.

The model gets the same tokens and, image by image, the same pixels as in transformers: the images are resized here, to
whole blocks, and the processor within vLLM finds nothing left to resize. On tiny random models in float32 on the CPU
the two engines' probabilities agree to 1e-4. In bfloat16 they differ by its rounding, as the kernels are others.
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
from editlane.judges.qwen3_vl.patches import PatchSettings, fit_blocks
from editlane.models import load_times
from editlane.models.devices import convert_model_errors, pick_device, pick_dtype
from editlane.models.no_torchvision import drop_video_processors

MOST_IMAGES = 8
"""Of one question."""

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # no second process that could keep the device when this one is killed
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_HOST_IP": "127.0.0.1",  # torch's rendezvous of one; nobody else takes part
}
"""What vLLM reads when it is imported."""


class VllmParams(QwenJudgeParams):
    """The settings of this judge."""

    batch_size: Annotated[int, Field(ge=1), SPEED] = 16
    """Edits that the engine gets at once; it decides itself how many of them go through the model together. Two batches
    are in the host's memory, an image once for each question that shows it: in bfloat16 12.6 MB at 1024 x 1024."""
    max_model_len: Annotated[int, Field(ge=16), SPEED] = 16384
    """Tokens of a prompt with its images and its reply; a longer one fails. The engine must have room for one."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.01, le=1), SPEED] = 0.9
    """Share of the GPU's memory for weights and for keys and values."""
    enforce_eager: bool = False
    """Whether nothing is compiled and captured at the start."""
    dtype: Dtype | None = None
    """Of weights and activations; null is bfloat16 on a GPU and float32 on the CPU."""


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
        check_architecture(model, revision)
        with load_times.measure_phase("transfer"), load_errors(model, revision):
            self.processor = AutoProcessor.from_pretrained(model, revision=revision or "main")
            admit_images(self.processor.image_processor, self.params.max_image_side)
            self.engine = self._engine(model, revision)
        self.settings = PatchSettings.of(self.processor.image_processor)
        self._resizers = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._rendering = threading.Lock()  # two threads prepare
        self._asked = 0

    def _engine(self, model: str, revision: str | None) -> Any:
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
            enable_prefix_caching=True,
            limit_mm_per_prompt={"image": images, "video": 0},
            mm_processor_cache_gb=0,  # its halves drift apart where a prompt is prepared and then not asked
            mm_processor_kwargs={"size": dict(self.processor.image_processor.size)},
            disable_log_stats=True,
        )
        return LLMEngine.from_engine_args(arguments)

    @property
    def capacity(self) -> int:
        """Edits that the engine gets at once."""
        return self.params.batch_size

    def weigh(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """1: the engine counts the tokens itself."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[Any]]:
        """The questions as the engine takes them: tokens and tensors, on the CPU.

        Raises JudgeFailed for the whole batch where the model takes no such image, or no prompt of this length.
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
                [conversation(question)], add_generation_prompt=True, tokenize=False
            )[0]
            tokens = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
            prompt = {"prompt_token_ids": list(tokens), "multi_modal_data": {"image": images} if images else {}}
            (rendered,) = self.engine.renderer.render_cmpl([prompt])
        return rendered

    def read_out(self, batch: list[list[Any]], answers: Sequence[str]) -> list[list[Readout]]:
        """Logits that are not finite stay visible as probabilities that are not.

        Raises UserError where an answer is not one token, and JudgeFailed for a prompt that the engine does not take.
        Whatever fails within the engine passes through: it cannot go on after that.
        """
        from vllm import SamplingParams

        ids = self.answer_ids(answers)
        sampling = SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=ids, detokenize=False)
        outputs = self._run(batch, [[sampling] * len(questions) for questions in batch])
        return [[_readout(output.logprobs[0], ids) for output in own] for own in outputs]

    def generate(self, batch: list[list[Any]], max_new_tokens: int, seeds: Sequence[Sequence[int]]) -> list[list[str]]:
        """Decoding at the params' temperature, whatever the checkpoint's own generation settings are.

        A reply depends on its own seed, not on its neighbours (but for rounding). Raises like read_out.
        """
        from vllm import SamplingParams

        temperature = self.params.temperature
        sampling = [
            [SamplingParams(temperature=temperature, max_tokens=max_new_tokens, seed=seed) for seed in own]
            for own in seeds
        ]
        return [[output.text for output in own] for own in self._run(batch, sampling)]

    def answer_ids(self, answers: Sequence[str]) -> list[int]:
        """The token of each answer. Raises UserError where one is no single token, or two are the same token."""
        with self._rendering:
            return answer_tokens(self.processor.tokenizer, answers, self.name)

    def _run(self, batch: list[list[Any]], sampling: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """The engine's one output for each question."""
        names = [[self._name() for _ in questions] for questions in batch]
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

    def _name(self) -> str:
        self._asked += 1
        return str(self._asked)


def _readout(logprobs: Mapping[int, Any], ids: Sequence[int]) -> Readout:
    """From log-probabilities by token; that of the sampled token is among them, too."""
    legal = [math.exp(logprobs[token].logprob) for token in ids]
    mass = math.fsum(legal)
    top = max(logprobs[token].logprob for token in ids)
    weights = [math.exp(logprobs[token].logprob - top) for token in ids]
    return Readout(probabilities=tuple(weight / math.fsum(weights) for weight in weights), mass=mass)
