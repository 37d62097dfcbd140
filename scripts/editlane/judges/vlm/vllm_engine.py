"""Any chat VLM through vLLM: one engine in this process, on its leased device.

A score is read from log-probabilities before temperature and penalties, requested by token id. Answers of several
tokens take one more request for each of their beginnings (see answers.py), for which the engine has the prompt cached.
"""

import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from PIL.Image import Image

from editlane.core.errors import JudgeFailed
from editlane.core.types import Question, Readout, RunsOn
from editlane.images.files import PREPARING_THREADS, fit_within
from editlane.judges.chat import convert_load_errors
from editlane.judges.vllm_runs import ENVIRONMENT, VllmParams, make_engine, make_reply, render_prompt, run_batch
from editlane.judges.vlm.answers import AnswerTokens, Tokens
from editlane.judges.vlm.checkpoints import check_architecture
from editlane.judges.vlm.prompts import find_tokens_after, open_prompts
from editlane.models import load_times
from editlane.models.devices import convert_model_errors
from editlane.models.no_torchvision import replace_video_processors


class Prompt(NamedTuple):
    """A question in the engine's form, and what it was made of, for beginnings of answers behind it."""

    rendered: Any
    tokens: list[int]
    images: list[Image]


class VlmVllmJudge:
    """One checkpoint in a vLLM engine."""

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

            replace_video_processors()
        check_architecture(model, revision, allow_pickle=params.allow_pickle)
        with load_times.measure_phase("transfer"):
            with convert_load_errors(model, revision):
                processor = AutoProcessor.from_pretrained(model, revision=revision or "main", trust_remote_code=False)
                self.prompts = open_prompts(processor, model)
            self.engine = make_engine(model, revision, params, {})
        self._threads = ThreadPoolExecutor(PREPARING_THREADS, thread_name_prefix="images")
        self._rendering = threading.Lock()  # two threads prepare; the tokenizer and the renderer allow one
        self._names = map(str, itertools.count(1))
        self._answers: dict[tuple[str, ...], AnswerTokens] = {}

    @property
    def max_batch_cost(self) -> int:
        """Edits given to the engine at once."""
        return self.params.batch_size

    def batch_cost(self, sizes: Sequence[tuple[int, int]], text: str) -> int:
        """Return 1, because the engine counts the tokens itself."""
        return 1

    def prepare(self, asked: Sequence[Sequence[Question]]) -> list[list[Prompt]]:
        """Convert the questions to the engine's inputs: tokens and tensors, on the CPU.

        Raises JudgeFailed for the whole batch if the model rejects an image, or a prompt of this length.
        """
        parts = itertools.chain.from_iterable(question.parts for questions in asked for question in questions)
        images = {id(part): part for part in parts if not isinstance(part, str)}
        shrunk = dict(zip(images, self._threads.map(self._shrink, images.values()), strict=True))
        return [[self._render(question, shrunk) for question in questions] for questions in asked]

    def _shrink(self, image: Image) -> Image:
        return fit_within(image, self.params.max_image_side)

    def _render(self, question: Question, shrunk: Mapping[int, Image]) -> Prompt:
        images = [shrunk[id(part)] for part in question.parts if not isinstance(part, str)]
        with self._rendering, convert_model_errors(JudgeFailed):
            text = self.prompts.render(self.prompts.make_chat(question, shrunk))
            tokens = list(self.prompts.processor.tokenizer(text, add_special_tokens=False)["input_ids"])
            return Prompt(render_prompt(self.engine, tokens, images), tokens, images)

    def read_out(self, batch: list[list[Prompt]], answers: Sequence[str]) -> list[list[Readout]]:
        """Return the distribution over `answers`. Logits that are not finite give probabilities that are not finite.

        Raises UserError if an answer cannot be read, and JudgeFailed for a prompt that the engine rejects. An error
        within the engine passes through, because it cannot continue after that.
        """
        tokens = self.find_answer_tokens(answers)
        wanted = tokens.beginnings
        asked = [
            [self._continue(prompt, beginning) for beginning in wanted] for questions in batch for prompt in questions
        ]
        sampling = [_read_only(list(wanted[beginning])) for beginning in wanted]
        outputs = iter(run_batch(self.engine, asked, [sampling] * len(asked), self._names))
        return [[tokens.read(_take_logprobs(wanted, next(outputs))) for _ in questions] for questions in batch]

    def _continue(self, prompt: Prompt, beginning: Tokens) -> Any:
        if not beginning:
            return prompt.rendered
        with self._rendering, convert_model_errors(JudgeFailed):
            return render_prompt(self.engine, [*prompt.tokens, *beginning], prompt.images)

    def generate(
        self, batch: list[list[Prompt]], max_new_tokens: int, seeds: Sequence[Sequence[int]]
    ) -> list[list[str]]:
        """Decode at the params' temperature, and ignore the checkpoint's own generation settings.

        A reply depends on its own seed, not on its neighbours (except for rounding). Thoughts are left out. Raises like
        read_out.
        """
        from vllm import SamplingParams

        temperature = self.params.temperature
        options = {"temperature": temperature, "max_tokens": max_new_tokens, "skip_special_tokens": False}
        sampling = [[SamplingParams(**options, seed=seed) for seed in own] for own in seeds]
        rendered = [[prompt.rendered for prompt in questions] for questions in batch]
        outputs = run_batch(self.engine, rendered, sampling, self._names)
        return [[make_reply(one, self.prompts.clean_reply(one.text)) for one in own] for own in outputs]

    def find_answer_tokens(self, answers: Sequence[str]) -> AnswerTokens:
        """Return the tokens of each answer after this checkpoint's chat template. Raises UserError if it has none."""
        if tuple(answers) not in self._answers:
            with self._rendering:
                self._answers[tuple(answers)] = find_tokens_after(self.prompts, answers)
        return self._answers[tuple(answers)]


def _read_only(ids: list[int]) -> Any:
    from vllm import SamplingParams

    return SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=ids, detokenize=False)


def _take_logprobs(wanted: Mapping[Tokens, tuple[int, ...]], outputs: Sequence[Any]) -> dict[Tokens, dict[int, float]]:
    """Return the log-probability of each wanted token, from one output for each beginning."""
    return {
        beginning: {token: output.logprobs[0][token].logprob for token in ids}
        for (beginning, ids), output in zip(wanted.items(), outputs, strict=True)
    }
