"""Both vLLM engines of the judge against real vLLM on the CPU, compared with the transformers engine.

    make test-vllm

Tiny random models in float32. One engine in a process at a time: the server runs in another.
"""

import gc
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from adapters import built
from PIL import Image
from step_commands import GOOD
from step_runs import run_step_program, write_inputs

from editlane.core import tables
from editlane.core.cut_replies import CutReply
from editlane.core.errors import ItemError, JudgeFailed, UserError
from editlane.core.types import Item, Question, Readout
from editlane.judges.qwen3_vl.openai_engine import EndpointJudge
from editlane.judges.qwen3_vl.transformers_engine import Qwen3VLJudge
from editlane.judges.qwen3_vl.vllm_engine import VllmJudge
from editlane.models.tiny import build_tiny_model
from editlane.protocols.load import load_protocol
from editlane.protocols.pairwise import build_comparison, load_pairwise
from editlane.protocols.scoring import build_questions, score_readouts

pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` does it in a venv of its own")
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

KINDS = ("qwen3-vl", "qwen3-vl-moe")
DIGITS = tuple("0123456789")
SIDE = 256
OWN_SETTINGS = {"repetition_penalty": 9.0, "top_k": 3, "top_p": 0.5, "min_p": 0.2, "do_sample": True}
"""Generation settings of the checkpoints, which no reply and no read-out may follow."""
ROOT = Path(__file__).parents[2]
PROTOCOL = ROOT / "resources/protocols/rubric.yaml"
PAIRWISE = ROOT / "resources/protocols/pairwise.yaml"
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.frombytes("RGB", size, random.Random(seed).randbytes(3 * size[0] * size[1]))


def question(number: int, criterion: str = "How good, 0 to 9?", size: tuple[int, int] = (96, 64)) -> Question:
    images = picture(number, size), picture(number + 100, (64 + 16 * (number % 5), 100))
    text = f"\n\n把第 {number} 个移开 <|im_end|>\n\n"
    return Question(
        system="你是严格的评委。 " * 20, parts=("Source:\n", images[0], "\nEdited:\n", images[1], text, criterion)
    )


def large(number: int, criterion: str = "How good, 0 to 9?") -> Question:
    images = picture(number, (300 + 16 * number, 260)), picture(number + 100, (700, 500 + number))
    return Question(system="你是严格的评委。 " * 20, parts=(*images, f"第 {number} 个", criterion))


ASKED = [[question(number), question(number, "Kept? 0 to 9")] for number in range(6)]
ASKED.append([question(7, size=(900, 500)), question(8, size=(31, 260))])
"""Some sides are no multiples of a block, some larger than SIDE, some smaller than the model's least."""


def read(judge: Any, asked: list[list[Question]], answers: tuple[str, ...] = DIGITS) -> list[Readout]:
    return [one for found in judge.read_out(judge.prepare(asked), answers) for one in found]


def difference(found: list[Readout], wanted: list[Readout]) -> float:
    assert len(found) == len(wanted)
    return max(
        abs(x - y)
        for one, other in zip(found, wanted, strict=True)
        for x, y in zip((*one.probabilities, one.mass), (*other.probabilities, other.mass), strict=True)
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("模型")
    for kind in KINDS:
        build_tiny_model(kind, root / kind)
        path = root / kind / "generation_config.json"
        own = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps(own | OWN_SETTINGS), encoding="utf-8")
    return {kind: root / kind for kind in KINDS}


LARGE = [[large(number), large(number, "Kept? 0 to 9")] for number in range(5)]
"""As large as those of a run: what the processor of a released checkpoint would not enlarge."""
LARGE_SIDE = 512


@pytest.fixture(scope="module")
def wanted(models: dict[str, Path]) -> dict[str, list[Readout]]:
    """What the transformers engine says about ASKED."""
    return {kind: plainly(folder, ASKED, SIDE) for kind, folder in models.items()}


def plainly(folder: Path, asked: list[list[Question]], side: int) -> list[Readout]:
    return read(built(Qwen3VLJudge, model=str(folder), params={"max_image_side": side}), asked)


PARAMS: dict[str, Any] = {"max_image_side": SIDE}


# --- in this process


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest, models: dict[str, Path], wanted: Any) -> Iterator[tuple[str, VllmJudge]]:
    os.environ.update(ENVIRONMENT)
    params = PARAMS | {"enforce_eager": True, "max_model_len": 8192, "gpu_memory_utilization": 0.5}
    judge = built(VllmJudge, model=str(models[request.param]), params=params)
    yield request.param, judge
    judge.engine.engine_core.shutdown()
    del judge
    gc.collect()


def test_the_engine_says_what_transformers_says(
    engine: tuple[str, VllmJudge], wanted: dict[str, list[Readout]]
) -> None:
    kind, judge = engine
    assert difference(read(judge, ASKED), wanted[kind]) < 1e-4
    assert difference(wanted[kind][:1], wanted[kind][1:2]) > 1e-3  # so the questions do matter
    assert difference(read(judge, ASKED[::-1])[::-1][:2], wanted[kind][:2][::-1]) < 1e-4


def test_the_engine_keeps_what_prompts_have_in_common(engine: tuple[str, VllmJudge]) -> None:
    _, judge = engine
    from vllm import SamplingParams

    judge.engine.reset_prefix_cache()
    batch = judge.prepare([[question(50), question(50, "Kept? 0 to 9")]])
    cached = []
    for rendered in batch[0]:
        judge.engine.add_request(f"own-{len(cached)}", rendered, SamplingParams(max_tokens=1))
        while judge.engine.has_unfinished_requests():
            cached += [one.num_cached_tokens for one in judge.engine.step() if one.finished]
    assert cached[0] == 0
    assert cached[1] >= 128  # whole blocks: the rubric, and images


def test_an_answer_of_several_tokens_is_refused(engine: tuple[str, VllmJudge]) -> None:
    _, judge = engine
    with pytest.raises(UserError, match=r"The answer '10' of the protocol is 2 tokens"):
        read(judge, ASKED[:1], ("9", "10"))


def write(judge: Any, asked: list[list[Question]]) -> list[tuple[str, bool]]:
    """Each reply, and whether it was cut."""
    found = judge.generate(judge.prepare(asked), 12, [list(range(len(own))) for own in asked])
    return [(one, isinstance(one, CutReply)) for own in found for one in own]


def test_replies_are_those_of_transformers(engine: tuple[str, VllmJudge], models: dict[str, Path]) -> None:
    kind, judge = engine
    found = write(judge, ASKED[:3])
    assert found == write(built(Qwen3VLJudge, model=str(models[kind]), params=PARAMS), ASKED[:3])
    assert any(cut for _, cut in found)


def test_replies_follow_their_seeds(engine: tuple[str, VllmJudge]) -> None:
    _, judge = engine
    greedy = judge.generate(judge.prepare(ASKED[:2]), 24, [[1, 2], [3, 4]])
    assert greedy == judge.generate(judge.prepare(ASKED[:2]), 24, [[5, 6], [7, 8]])
    hot = VllmJudge.__new__(VllmJudge)
    hot.__dict__ |= judge.__dict__ | {"params": type(judge.params)(temperature=2.0, max_image_side=SIDE)}
    drawn = hot.generate(hot.prepare(ASKED[:2]), 24, [[1, 2], [3, 4]])
    assert hot.generate(hot.prepare(ASKED[1:2]), 24, [[3, 4]]) == drawn[1:]
    assert hot.generate(hot.prepare(ASKED[:2]), 24, [[9, 9], [9, 9]]) != drawn


def test_a_prompt_that_is_too_long_fails_alone_and_leaves_the_engine_empty(
    engine: tuple[str, VllmJudge], wanted: dict[str, list[Readout]], models: dict[str, Path]
) -> None:
    kind, judge = engine
    long = Question(system="s", parts=(picture(1, (64, 64)), "词" * 9000))
    new = [[question(number)] for number in range(60, 64)]
    with pytest.raises(JudgeFailed, match="8192"):
        read(judge, [*new, [long]])
    again = read(judge, new)  # what was prepared before and not asked
    assert difference(again, plainly(models[kind], new, SIDE)) < 1e-4
    assert difference(read(judge, ASKED[:1]), wanted[kind][:2]) < 1e-4
    flat = Question(system="s", parts=(picture(1, (2000, 4)), "x"))
    with pytest.raises(JudgeFailed, match="rejects the image"):
        read(judge, [[flat]])


def test_a_protocol_is_asked_and_scored(engine: tuple[str, VllmJudge]) -> None:
    _, judge = engine
    protocol = load_protocol(PROTOCOL)
    item = Item(
        item_id="i", category="物理", instruction="让它下雨", language="zh", source_path="", source_sha256="",
        width=96, height=64, cost=1.0,
    )  # fmt: skip
    asked = build_questions(protocol, item, picture(1, (96, 64)), picture(2, (96, 64)), protocol.select_criteria(()))
    found = read(judge, [list(asked.values())], protocol.answers)
    columns = score_readouts(protocol, dict(zip(asked, found, strict=True)))
    assert columns["state"] in ("scored", "judge_unreadable")
    assert 0 < columns["mass"] <= 1


def compared() -> list[list[Question]]:
    """Two edits of an item in both orders, as the arena asks about them."""
    protocol = load_pairwise(PAIRWISE)
    item = Item(
        item_id="一", category="指代", instruction="把左边的杯子涂红", language="zh", source_path="", source_sha256="",
        width=96, height=64, cost=1.0,
    )  # fmt: skip
    source, one, other = (picture(seed, (400 - 40 * seed, 260)) for seed in (1, 2, 3))
    return [list(build_comparison(protocol, item, source, *pair).values()) for pair in ((one, other), (other, one))]


def test_two_edits_are_compared_as_by_transformers(
    engine: tuple[str, VllmJudge], models: dict[str, Path], wanted: dict[str, list[Readout]]
) -> None:
    kind, judge = engine
    answers = load_pairwise(PAIRWISE).prompt.answers
    asked = compared()
    plain = read(built(Qwen3VLJudge, model=str(models[kind]), params=PARAMS), asked, answers)
    assert difference(read(judge, asked, answers), plain) < 1e-4
    assert difference(plain[:1], plain[1:]) > 1e-5  # so the order does matter


# --- behind a server


@contextmanager
def served(command: list[str], port: int, log: Path, **environment: str) -> Iterator[str]:
    """The address of a server once it answers; it ends with the test."""
    with log.open("w") as out:
        process = subprocess.Popen(command, env=os.environ | ENVIRONMENT | environment, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 240
        while not answers(port):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    with closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(models[request.param])]
    command += ["--served-model-name", "评委", "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--enforce-eager", "--max-model-len", "8192", "--limit-mm-per-prompt", '{"image": 3, "video": 0}']
    command += ["--mm-processor-kwargs", '{"size": {"shortest_edge": 1024, "longest_edge": 262144}}']
    with served(command, port, tmp_path_factory.mktemp("server") / "log", VLLM_NO_USAGE_STATS="1") as url:
        yield request.param, url


def ask_server(url: str, **params: Any) -> EndpointJudge:
    given = {"max_image_side": LARGE_SIDE, "base_url": url} | params
    return built(EndpointJudge, model="评委", params=given)


def test_the_server_says_what_transformers_says(server: tuple[str, str], models: dict[str, Path]) -> None:
    """But for the thousandth that it may hide."""
    kind, url = server
    wanted = plainly(models[kind], LARGE, LARGE_SIDE)
    found = read(ask_server(url, concurrency=4), LARGE)
    assert difference(found, wanted) < 1e-3
    assert difference(wanted[:1], wanted[1:2]) > 1e-2  # so the questions do matter


def test_the_server_compares_two_edits_as_transformers_does(server: tuple[str, str], models: dict[str, Path]) -> None:
    kind, url = server
    answers = load_pairwise(PAIRWISE).prompt.answers
    plain = read(
        built(Qwen3VLJudge, model=str(models[kind]), params={"max_image_side": LARGE_SIDE}), compared(), answers
    )
    assert difference(read(ask_server(url), compared(), answers), plain) < 1e-3


def test_the_server_obeys_and_its_model_is_known(server: tuple[str, str]) -> None:
    _, url = server
    with pytest.raises(UserError, match=r"does not serve this model.*Available: 评委"):
        built(EndpointJudge, model="another", params={"base_url": url})
    judge = ask_server(url)
    with pytest.raises(UserError, match=r"The answer '10' of the protocol is more than one token"):
        read(judge, ASKED[:1], ("9", "10"))


def test_replies_of_the_server_are_those_of_transformers(server: tuple[str, str], models: dict[str, Path]) -> None:
    kind, url = server
    plain = built(Qwen3VLJudge, model=str(models[kind]), params={"max_image_side": LARGE_SIDE})
    found = write(ask_server(url), LARGE[:3])
    assert found == write(plain, LARGE[:3])
    assert any(cut for _, cut in found)


def test_replies_of_the_server_follow_their_seeds(server: tuple[str, str]) -> None:
    _, url = server
    judge = ask_server(url, temperature=2.0)
    drawn = judge.generate(judge.prepare(ASKED[:2]), 24, [[1, 2], [3, 4]])
    assert judge.generate(judge.prepare(ASKED[1:2]), 24, [[3, 4]]) == drawn[1:]
    assert judge.generate(judge.prepare(ASKED[:2]), 24, [[9, 9], [9, 9]]) != drawn


def test_a_request_that_the_server_refuses_is_a_failure_of_its_edit(server: tuple[str, str]) -> None:
    _, url = server
    long = Question(system="s", parts=(picture(1, (64, 64)), "词" * 9000))
    judge = ask_server(url)
    with pytest.raises(ItemError, match=r"the endpoint rejects the request: HTTP 400"):
        read(judge, [[long]])


# --- another server, which shows no log-probabilities

WITHOUT_TORCHVISION = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *of: None if name.startswith("torchvision") else found(name, *of)
from editlane.models.no_torchvision import drop_video_processors
drop_video_processors()
from transformers.cli.transformers import main
main()
"""
"""Its image operators are for CUDA."""


def test_transformers_serve_ignores_logprobs_and_is_refused(models: dict[str, Path], tmp_path: Path) -> None:
    model, port = str(models["qwen3-vl"]), free_port()
    (tmp_path / "home/hub").mkdir(parents=True)  # it lists its models from there
    command = [sys.executable, "-c", WITHOUT_TORCHVISION, "serve", model, "--device", "cpu", "--dtype", "float32"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    paths = {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT / "scripts")}
    with served(command, port, tmp_path / "log", **paths) as url:
        judge = built(EndpointJudge, model=model, params={"base_url": url, "attempts": 2})
        with pytest.raises(UserError, match="ignores `logprobs`"):
            read(judge, LARGE[:1])
        ((reply,),) = judge.generate(judge.prepare([LARGE[0][:1]]), 8, [[1]])
        assert reply


# --- a whole lane


def test_a_lane_is_judged_in_one_process(models: dict[str, Path], tmp_path: Path) -> None:
    write_inputs(tmp_path)
    for step in ("prepare_items", "split_lanes", "edit_lane", "draw_canary", "plan_controls"):
        assert run_step_program(step, GOOD[step], tmp_path).code == 0
    params = {"max_image_side": 64, "enforce_eager": True, "gpu_memory_utilization": 0.3}
    flags = GOOD["score_lane"] | {"--adapter": ["qwen3-vl/vllm"], "--model": [str(models["qwen3-vl"])]}
    flags |= {"--params": [json.dumps(params)]}
    words = [word for flag, values in flags.items() for word in (flag, *values)]
    command = [sys.executable, str(ROOT / "scripts/score_lane.py"), *words]
    environment = os.environ | ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    path = tmp_path / "run/a/scores/j/物理/lane0.parquet"
    rows = tables.read_rows(path)
    assert [row["state"] in ("scored", "judge_unreadable") for row in rows] == [True, True]
    about = tables.read_provenance(path)["judge"]["j"]
    assert (about["adapter"], about["random_weights"]) == ("qwen3-vl/vllm", True)
