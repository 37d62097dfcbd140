"""The judge `vlm` in a real vLLM on the CPU, compared with its transformers engine: other families than Qwen3-VL, too.

    make test-vllm

Tiny random models in float32. One engine in a process at a time.
"""

import gc
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adapters import built
from PIL import Image

from editlane.core.types import Question, Readout
from editlane.judges.vlm.transformers_engine import VlmJudge
from editlane.judges.vlm.vllm_engine import VlmVllmJudge
from editlane.models.tiny import build_tiny_model

pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` does it in a venv of its own")
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

KINDS = ("internvl", "qwen2.5-vl", "qwen3-vl")
ANSWERS = (*"0123456789", "10")
PARAMS: dict[str, Any] = {"max_image_side": 224}


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1]))


def question(number: int) -> Question:
    parts = ("Source:\n", picture(number, (224, 168)), "\nEdited:\n", picture(number + 100, (168, 224)))
    return Question(system="你是严格的评委。", parts=(*parts, f"\n\n把第 {number} 个移开 <|im_end|>\n\n0 to 10?"))


ASKED = [[question(1)], [question(2), question(3)]]


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """Both engines with the same checkpoint."""
    folder: Path = tmp_path_factory.mktemp("models") / request.param
    build_tiny_model(request.param, folder)
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    own = {"enforce_eager": True, "max_model_len": 4096, "gpu_memory_utilization": 0.5}
    engine = built(VlmVllmJudge, model=str(folder), params=PARAMS | own)
    yield engine, built(VlmJudge, model=str(folder), params=PARAMS)
    engine.engine.engine_core.shutdown()
    del engine
    gc.collect()


def read(judge: Any) -> list[Readout]:
    return [one for edit in judge.read_out(judge.prepare(ASKED), ANSWERS) for one in edit]


def test_the_engine_says_what_transformers_says(pair: tuple[Any, Any]) -> None:
    """The answer "10" is two tokens, so that there are two requests for each question."""
    found, wanted = read(pair[0]), read(pair[1])
    assert max(map(len, pair[0].find_answer_tokens(ANSWERS).sequences)) == 2
    for one, other in zip(found, wanted, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
        assert one.mass == pytest.approx(other.mass, abs=1e-4)


def test_replies_are_those_of_transformers(pair: tuple[Any, Any]) -> None:
    seeds = [[1], [2, 3]]
    first, second = (judge.generate(judge.prepare(ASKED), 8, seeds) for judge in pair)
    assert first == second
    assert [[type(one) for one in own] for own in first] == [[type(one) for one in own] for own in second]
