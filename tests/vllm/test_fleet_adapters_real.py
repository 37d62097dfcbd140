"""Adapters on a real vLLM server: which are refused before, which the smoke test finds, what the router lets through.

    make test-vllm

One server for all tests, with as many places for adapters as there are adapters. vLLM on the CPU then answers base
requests with the adapter in the last place; with an empty place it does not.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from editlane.core.errors import UserError
from editlane.fleet.adapters import publish_base, read_adapter, store_adapter
from editlane.fleet.smoke import run_smoke_test
from editlane.fleet.vllm_api import ServerError, VllmServer
from editlane.models.tiny import build_tiny_model

pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` does it in a venv of its own")
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

ADAPTERS = ["strict", "评委", "third"]
ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
}
LONG = "第 3 张图：把猫移开。 How good is it? " * 12
"""More than two of vLLM's blocks on the CPU, which have 128 tokens."""


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def process(command: list[str], log: Path, is_up: Callable[[], bool], **environment: str) -> Iterator[None]:
    """A program of its own session, which ends with all that it started."""
    with log.open("w") as out:
        begun = subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 400
        while not is_up():
            assert begun.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        yield
    finally:
        begun.terminate()
        with suppress(subprocess.TimeoutExpired):
            begun.wait(30)
        with suppress(ProcessLookupError):  # an engine outlives a server that was killed
            os.killpg(begun.pid, signal.SIGKILL)
        begun.wait()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the base model `模型`, and an adapter for it in each folder of `ADAPTERS`."""
    folder = tmp_path_factory.mktemp("fleet")
    build_tiny_model("qwen3-vl", folder / "模型")
    for seed, name in enumerate(ADAPTERS):
        build_tiny_model("lora", folder / name, seed=seed, base=folder / "模型")
    return folder


def read(root: Path, name: str) -> Any:
    return read_adapter(name, root / name, model=str(root / "模型"), revision=None, max_rank=16)


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[VllmServer]:
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(root / "模型")]
    command += ["--served-model-name", publish_base(str(root / "模型"), None, "base"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--dtype", "float32", "--enforce-eager", "--max-model-len", "8192"]
    command += ["--limit-mm-per-prompt", '{"image": 2, "video": 0}', "--max-num-batched-tokens", "32768"]
    command += ["--enable-lora", "--max-loras", str(len(ADAPTERS)), "--max-lora-rank", "16"]
    one = VllmServer(f"http://127.0.0.1:{port}")
    with process(command, root / "server.log", one.is_healthy, **ENVIRONMENT):
        yield one


@pytest.fixture(scope="module")
def published(root: Path, server: VllmServer) -> list[str]:
    """Names of the adapters that the server has."""
    stored = [store_adapter(read(root, name), root / "store") for name in ADAPTERS]
    for adapter in stored:
        server.load_adapter(adapter.published, str(adapter.path))
    return [adapter.published for adapter in stored]


@pytest.fixture(scope="module")
def base(root: Path) -> str:
    return publish_base(str(root / "模型"), None, "base")


def test_the_server_lists_them_with_their_paths(
    server: VllmServer, base: str, published: list[str], root: Path
) -> None:
    found = server.list_models()
    assert found == {base: str(root / "模型")} | {name: str(root / "store" / name) for name in published}
    server.check_generates(published[1])


def test_every_adapter_acts_for_itself(server: VllmServer, base: str, published: list[str]) -> None:
    found = run_smoke_test(server.first_tokens, published, base=base, serve_base=False)
    assert found.problems == []
    assert min(found.differences.values()) > 1
    assert found.noise < 1e-3


def test_the_wrong_answers_for_the_base_model_in_a_mixed_batch_are_found(
    server: VllmServer, base: str, published: list[str]
) -> None:
    (problem,) = run_smoke_test(server.first_tokens, published, base=base).problems
    assert "answers for the base model came with the weights of the adapter" in problem
    assert "`serve_base: false`" in problem


def remake(root: Path, name: str, change: Callable[[str, Any], tuple[str, Any]]) -> Path:
    """Copy the adapter `strict` with other tensors."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(root / "strict", root / name)
    weights = load_file(root / "strict/adapter_model.safetensors")
    changed = dict(change(key, weight) for key, weight in weights.items())
    save_file(changed, root / name / "adapter_model.safetensors", metadata={"format": "pt"})
    return root / name


def test_an_adapter_of_a_text_model_is_refused_and_if_forced_in_found_to_do_nothing(
    root: Path, server: VllmServer, base: str, published: list[str]
) -> None:
    """It has the same shapes; only the names of its layers are those of a model without a vision part."""
    folder = remake(root, "text", lambda key, weight: (key.replace("language_model.", ""), weight))
    with pytest.raises(UserError, match="was made for another model than"):
        read(root, "text")
    server.load_adapter("text", str(folder))
    try:
        (problem,) = run_smoke_test(server.first_tokens, ["text"], base=base, serve_base=False).problems
        assert problem.startswith("the adapter `text` changes nothing: it answers as the base model does")
    finally:
        server.unload_adapter("text")


def test_an_adapter_of_a_narrower_model_is_refused_though_the_server_takes_it(
    root: Path, server: VllmServer, published: list[str]
) -> None:
    """It acts, on a part of the features: no smoke test can know that."""
    folder = remake(root, "narrow", lambda key, one: (key, (one[:, :32] if "lora_A" in key else one[:32]).contiguous()))
    with pytest.raises(UserError, match=r"has 32 features in|is for 32 features in and 32 out, and that layer has"):
        read(root, "narrow")
    server.load_adapter("narrow", str(folder))
    server.first_tokens("narrow", LONG)
    server.unload_adapter("narrow")


def test_the_same_weights_under_two_names_are_found(server: VllmServer, published: list[str], root: Path) -> None:
    server.load_adapter("twin", str(root / "strict"))
    try:
        (problem,) = run_smoke_test(server.first_tokens, [published[0], "twin"]).problems
        assert "answer alike: they have the same weights" in problem
    finally:
        server.unload_adapter("twin")


def ask_remembering(server: VllmServer, model: str) -> dict[str, float]:
    """Ask with a long prompt whose blocks the server may have kept."""
    body = {"model": model, "prompt": LONG, "max_tokens": 1, "temperature": 0, "logprobs": 20}
    found = requests.post(f"{server.url}/v1/completions", json=body, timeout=60).json()
    return dict(found["choices"][0]["logprobs"]["top_logprobs"][0])


def apart(one: dict[str, float], other: dict[str, float]) -> float:
    return max(abs(one.get(token, -20) - other.get(token, -20)) for token in one | other)


def test_an_alias_answers_with_the_new_weights_after_it_was_replaced(
    root: Path, server: VllmServer, published: list[str]
) -> None:
    first, _, third = (str(root / "store" / name) for name in published)
    server.load_adapter("alias", first)
    assert apart(ask_remembering(server, "alias"), ask_remembering(server, published[0])) < 1e-3
    server.load_adapter("alias", third, replace=True)
    found = ask_remembering(server, "alias")
    assert apart(found, ask_remembering(server, published[2])) < 1e-3
    assert apart(found, ask_remembering(server, published[0])) > 0.1
    server.unload_adapter("alias")


def test_weights_that_were_replaced_under_their_path_are_mixed_with_what_the_server_remembers(
    root: Path, server: VllmServer, published: list[str]
) -> None:
    """This is why `store_adapter` has a folder for each version."""
    shutil.copytree(root / "strict", root / "retrained")
    server.load_adapter("retrained", str(root / "retrained"))
    ask_remembering(server, "retrained")
    shutil.copytree(root / "third", root / "retrained", dirs_exist_ok=True)
    server.load_adapter("retrained", str(root / "retrained"), replace=True)
    assert apart(ask_remembering(server, "retrained"), ask_remembering(server, published[2])) > 1e-3
    server.unload_adapter("retrained")


def test_more_adapters_than_places_wait_and_are_right(root: Path, server: VllmServer, published: list[str]) -> None:
    build_tiny_model("lora", root / "fourth", seed=9, base=root / "模型")
    server.load_adapter("fourth", str(root / "fourth"))
    assert run_smoke_test(server.first_tokens, [*published, "fourth"]).problems == []
    server.unload_adapter("fourth")


def test_what_the_server_says_is_told(server: VllmServer, published: list[str]) -> None:
    with pytest.raises(ServerError, match=r"HTTP 404: Loading lora x failed: No adapter found for /none") as told:
        server.load_adapter("x", "/none")
    assert told.value.status == 404
    with pytest.raises(ServerError, match="has already been loaded"):
        server.load_adapter(published[0], "/none")
    with pytest.raises(ServerError, match="cannot be found"):
        server.unload_adapter("x")


def test_its_figures_are_read(server: VllmServer, published: list[str]) -> None:
    before = server.read_metrics()
    server.first_tokens(published[1], LONG, 5)
    deadline = time.monotonic() + 10
    while (after := server.read_metrics()).requests == before.requests:
        assert time.monotonic() < deadline
    assert after.requests - before.requests == 1
    assert after.generated_tokens - before.generated_tokens == 5
    assert after.prompt_tokens - before.prompt_tokens > 256
    assert (after.running, after.waiting, after.failures) == (0, 0, before.failures)
    assert 0 < (after.find_latency(0.5) or 0) <= (after.find_latency(0.99) or 0)


def test_the_router_passes_on_what_a_judge_asks_for(root: Path, server: VllmServer, published: list[str]) -> None:
    port, metrics = free_port(), free_port()
    command = [sys.executable, "-m", "vllm_router.launch_router", "--worker-urls", server.url, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--prometheus-port", str(metrics), "--policy", "consistent_hash"]
    router = VllmServer(f"http://127.0.0.1:{port}")
    with process([*command, "--log-level", "error"], root / "router.log", router.is_healthy):
        content = "第 3 张图 How good, 0 to 9?"
        body = {"model": published[1], "messages": [{"role": "user", "content": content}], "max_tokens": 1}
        body |= {"temperature": 0, "logprobs": True, "top_logprobs": 20}
        free, forced = (
            requests.post(f"{router.url}/v1/chat/completions", json=body | more, timeout=60).json()
            for more in ({}, {"structured_outputs": {"choice": ["7"]}})
        )
        assert forced["model"] == published[1]
        assert forced["choices"][0]["message"]["content"] == "7" != free["choices"][0]["message"]["content"]
        assert len(free["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 20
        assert router.first_tokens(published[0], LONG, 4) == server.first_tokens(published[0], LONG, 4)
        assert router.list_models() == server.list_models()
    assert json.dumps(content, ensure_ascii=False)[1:9] not in (root / "router.log").read_text()
