"""The judge `vlm` in vLLM, with an engine in its place whose probabilities follow from the tokens of a prompt."""

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from adapters import built
from PIL import Image

from editlane.core.cut_replies import CutReply
from editlane.core.errors import JudgeFailed
from editlane.core.types import Question
from editlane.judges.vlm.vllm_engine import VlmVllmJudge

VOCABULARY = 300


def logprobs(tokens: tuple[int, ...]) -> list[float]:
    chance = random.Random(str(tokens))
    logits = [chance.gauss(0, 1) for _ in range(VOCABULARY)]
    norm = math.log(math.fsum(map(math.exp, logits)))
    return [logit - norm for logit in logits]


class Engine:
    """What the judge uses of vLLM's LLMEngine."""

    def __init__(self, arguments: Any) -> None:
        self.arguments = arguments
        self.waiting: list[tuple[str, Any, Any]] = []
        self.asked: list[Any] = []
        self.sampled: list[Any] = []
        self.renderer = SimpleNamespace(render_cmpl=self._render)

    @classmethod
    def from_engine_args(cls, arguments: Any) -> "Engine":
        return cls(arguments)

    def _render(self, prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(prompts[0]["prompt_token_ids"]) > self.arguments.max_model_len:
            raise ValueError("the prompt is too long")
        return prompts

    def add_request(self, name: str, prompt: Any, sampling: Any) -> str:
        self.waiting.append((name, prompt, sampling))
        self.asked.append(prompt)
        self.sampled.append(sampling)
        return name

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list[Any]:
        name, prompt, sampling = self.waiting.pop()  # the last first: order is not what tells answers apart
        found = logprobs(tuple(prompt["prompt_token_ids"]))
        asked = {token: SimpleNamespace(logprob=found[token]) for token in sampling.logprob_token_ids or ()}
        ended = "length" if sampling.seed == 3 else "stop"
        text = f"<think>no</think>Score: {sampling.seed}<|im_end|>"
        output = SimpleNamespace(logprobs=[asked], text=text, finish_reason=ended)
        return [SimpleNamespace(request_id=name, finished=True, outputs=[output])]


def make_namespace(**options: Any) -> SimpleNamespace:
    return SimpleNamespace(**({"logprob_token_ids": None, "seed": None} | options))


@pytest.fixture
def judge(tiny_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> VlmVllmJudge:
    fake = ModuleType("vllm")
    fake.LLMEngine, fake.EngineArgs, fake.SamplingParams = Engine, make_namespace, make_namespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", fake)
    folder = str(tiny_model("qwen3.5"))
    return built(VlmVllmJudge, model=folder, params={"max_image_side": 64, "max_model_len": 2000})


def picture(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, "grey")


ASKED = Question(system="严格", parts=("Source:\n", picture((128, 96)), "\nEdited:\n", picture((40, 40)), "\n0 to 10?"))


def test_answers_of_several_tokens_take_a_request_for_each_beginning(judge: VlmVllmJudge) -> None:
    answers = (*"0123456789", "10")
    batch = judge.prepare([[ASKED], [ASKED]])
    ((first,), (second,)) = judge.read_out(batch, answers)
    assert first == second
    assert len(judge.engine.asked) == 4
    prompt = tuple(batch[0][0].tokens)
    one, nought = judge.find_answer_tokens(answers).sequences[10]
    begun = {answer: math.exp(logprobs(prompt)[ids[0]]) for answer, ids in zip(
        answers, judge.find_answer_tokens(answers).sequences[:10], strict=False
    )}  # fmt: skip
    ten = begun["1"] * math.exp(logprobs((*prompt, one))[nought])
    mass = math.fsum(begun.values())
    assert first.mass == pytest.approx(mass)
    assert first.probabilities[10] == pytest.approx(ten / mass)
    assert first.probabilities[1] == pytest.approx((begun["1"] - ten) / mass)


def test_single_tokens_take_one_request_each(judge: VlmVllmJudge) -> None:
    judge.read_out(judge.prepare([[ASKED, ASKED]]), tuple("0123456789"))
    assert len(judge.engine.asked) == 2
    images = judge.engine.asked[0]["multi_modal_data"]["image"]
    assert [image.size for image in images] == [(64, 48), (40, 40)]


def test_replies_have_their_seeds_and_no_thoughts(judge: VlmVllmJudge) -> None:
    replies = judge.generate(judge.prepare([[ASKED, ASKED], [ASKED]]), 16, [[1, 2], [3]])
    assert replies == [["Score: 1", "Score: 2"], ["Score: 3"]]
    assert [type(one) for own in replies for one in own] == [str, str, CutReply]
    assert [one.skip_special_tokens for one in judge.engine.sampled] == [False] * 3


def test_the_engine_loads_safetensors_and_no_code(judge: VlmVllmJudge) -> None:
    arguments = judge.engine.arguments
    assert (arguments.load_format, arguments.trust_remote_code) == ("safetensors", False)
    assert arguments.mm_processor_kwargs is None


def test_a_prompt_that_is_too_long_fails(judge: VlmVllmJudge) -> None:
    with pytest.raises(JudgeFailed, match="the prompt is too long"):
        judge.prepare([[Question(system="", parts=("词" * 2000,))]])
