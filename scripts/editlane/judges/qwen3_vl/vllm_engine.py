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
from typing import Any

from PIL import Image

from editlane.core.errors import JudgeFailed
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.chat import convert_load_errors
from editlane.judges.qwen3_vl.chat import check_architecture, encode_answers, make_messages, raise_pixel_limit
from editlane.judges.qwen3_vl.patches import PatchSettings, fit_blocks
from editlane.judges.vllm_runs import ENVIRONMENT, VllmParams, make_engine, make_reply, render_prompt, run_batch
from editlane.models import load_times
from editlane.models.devices import convert_model_errors
from editlane.models.no_torchvision import drop_video_processors


class VllmJudge:
    """One Qwen3-VL checkpoint in a vLLM engine."""

    VERSION = "1"
    """Bump when the same question would get other probabilities."""
    REPLIES_VERSION = "1"
    """Bump when the same question would get another reply, but the same probabilities."""
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
        with load_times.measure_phase("transfer"):
            with convert_load_errors(model, revision):
                self.processor = AutoProcessor.from_pretrained(
                    model, revision=revision or "main", trust_remote_code=False
                )
                raise_pixel_limit(self.processor.image_processor, self.params.max_image_side)
            self.engine = make_engine(model, revision, params, {"size": dict(self.processor.image_processor.size)})
        self.settings = PatchSettings.from_processor(self.processor.image_processor)
        self._resizers = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._rendering = threading.Lock()  # two threads prepare; the tokenizer and the renderer allow one
        self._names = map(str, itertools.count(1))

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
            return render_prompt(self.engine, tokens, images)

    def read_out(self, batch: list[list[Any]], answers: Sequence[str]) -> list[list[Readout]]:
        """Return the distribution over `answers`. Logits that are not finite give probabilities that are not finite.

        Raises UserError if an answer is not one token, and JudgeFailed for a prompt that the engine rejects. An error
        within the engine passes through, because it cannot continue after that.
        """
        from vllm import SamplingParams

        ids = self.find_answer_ids(answers)
        sampling = SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=ids, detokenize=False)
        outputs = run_batch(self.engine, batch, [[sampling] * len(questions) for questions in batch], self._names)
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
        outputs = run_batch(self.engine, batch, sampling, self._names)
        return [[make_reply(one, one.text) for one in own] for own in outputs]

    def find_answer_ids(self, answers: Sequence[str]) -> list[int]:
        """Return the token of each answer. Raises UserError if one is not a single token, or if two are the same
        token."""
        with self._rendering:
            return encode_answers(self.processor.tokenizer, answers, self.name)


def _make_readout(logprobs: Mapping[int, Any], ids: Sequence[int]) -> Readout:
    """Build a readout from log-probabilities by token, which also hold the sampled token."""
    legal = [math.exp(logprobs[token].logprob) for token in ids]
    mass = math.fsum(legal)
    top = max(logprobs[token].logprob for token in ids)
    weights = [math.exp(logprobs[token].logprob - top) for token in ids]
    return Readout(probabilities=tuple(weight / math.fsum(weights) for weight in weights), mass=mass)
