"""The calls to one vLLM server: what is sent, what is read, and what is told of a server that does otherwise."""

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from editlane.fleet.vllm_api import ServerError, VllmServer
from editlane.fleet.vllm_metrics import VllmMetrics, read_metrics

Reply = tuple[int, bytes]


class Double(ThreadingHTTPServer):
    """Answers each path as it is told, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: dict[str, Reply] = {}
        self.wait = 0.0
        self.sent: list[tuple[str, str, Any, str | None]] = []
        """(method, path, body, Authorization)."""


class Handler(BaseHTTPRequestHandler):
    server: Double
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        sent = json.loads(body) if body else None
        self.server.sent.append((self.command, self.path, sent, self.headers.get("Authorization")))
        time.sleep(self.server.wait)
        status, content = self.server.replies.get(self.path, (404, b'{"detail":"Not Found"}'))
        with suppress(OSError):  # the client is gone
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def double() -> Iterator[Double]:
    with Double() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def vllm(double: Double) -> VllmServer:
    return VllmServer(f"http://127.0.0.1:{double.server_port}")


def to_json(found: Any) -> Reply:
    return 200, json.dumps(found, ensure_ascii=False).encode()


def refuse(call: Any, *args: Any, **options: Any) -> ServerError:
    with pytest.raises(ServerError) as refused:
        call(*args, **options)
    return refused.value


def test_a_server_is_healthy_if_it_says_so_and_without_a_body(double: Double, vllm: VllmServer) -> None:
    double.replies["/health"] = (200, b"")
    assert vllm.is_healthy()
    double.replies["/health"] = (503, b"")
    assert not vllm.is_healthy()
    double.replies["/health"], double.wait = (200, b""), 1
    assert not vllm.is_healthy(seconds=0.1)
    assert not VllmServer("http://127.0.0.1:1").is_healthy()


def test_models_are_listed_with_their_paths(double: Double, vllm: VllmServer) -> None:
    models = [
        {"id": "base@0123", "root": "Qwen/Q"},
        {"id": "评委", "root": "/店/评委@1", "parent": "base@0123"},
        {"id": "x"},
    ]
    double.replies["/v1/models"] = to_json({"object": "list", "data": models})
    assert vllm.list_models() == {"base@0123": "Qwen/Q", "评委": "/店/评委@1", "x": ""}
    for wrong in ({}, [], {"data": [1]}, {"data": [{}]}):
        double.replies["/v1/models"] = to_json(wrong)
        assert str(refuse(vllm.list_models)) == "/v1/models: the answer is no list of models"


def answer(places: Any) -> Reply:
    return to_json({"choices": [{"text": "a", "logprobs": {"top_logprobs": places}}]})


def test_tokens_are_asked_for_without_a_seed_and_read_anew(double: Double, vllm: VllmServer) -> None:
    double.replies["/v1/completions"] = answer([{"token_id:5": -0.5, "token_id:7": -1}, {"token_id:1": 0}])
    assert vllm.first_tokens("评委", "第一", 2) == [{"token_id:5": -0.5, "token_id:7": -1.0}, {"token_id:1": 0.0}]
    vllm.first_tokens("评委", "第一")
    (_, _, first, _), (_, _, second, _) = double.sent
    assert first.pop("cache_salt") != second.pop("cache_salt")
    assert (first.pop("max_tokens"), second.pop("max_tokens")) == (2, 1)
    assert first == second
    assert first == {
        "model": "评委", "prompt": "第一", "temperature": 0, "logprobs": 20, "return_tokens_as_token_ids": True,
        "ignore_eos": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    "places", [None, [], [{}], [{"a": None}], [["a"]], [{"a": math.nan}], [{"a": -math.inf}], [{"a": 10**400}]]
)
def test_an_answer_without_numbers_is_none(places: Any, double: Double, vllm: VllmServer) -> None:
    double.replies["/v1/completions"] = answer(places)
    assert "log-probabilities" in str(refuse(vllm.first_tokens, "a", "b"))


def test_a_server_that_generates_is_told_from_one_that_does_not(double: Double, vllm: VllmServer) -> None:
    double.replies["/v1/completions"] = to_json({"choices": [{"text": ""}]})
    vllm.check_generates("base")
    assert double.sent[0][2] == {"model": "base", "prompt": "1", "max_tokens": 1, "temperature": 0}
    double.wait = 1
    assert str(refuse(vllm.check_generates, "base", seconds=0.1)) == "/v1/completions: no answer within 0.1 s"
    double.wait, double.replies["/v1/completions"] = 0, to_json({"choices": []})
    assert "the answer has no text" in str(refuse(vllm.check_generates, "base"))


def test_adapters_are_loaded_replaced_and_forgotten(double: Double, vllm: VllmServer) -> None:
    double.replies["/v1/load_lora_adapter"] = double.replies["/v1/unload_lora_adapter"] = (200, b"Success: ...")
    vllm.load_adapter("评委", "/店/a")
    vllm.load_adapter("评委", "/店/b", replace=True)
    vllm.unload_adapter("评委")
    assert [(path, body) for _, path, body, _ in double.sent] == [
        ("/v1/load_lora_adapter", {"lora_name": "评委", "lora_path": "/店/a"}),
        ("/v1/load_lora_adapter", {"lora_name": "评委", "lora_path": "/店/b", "load_inplace": True}),
        ("/v1/unload_lora_adapter", {"lora_name": "评委"}),
    ]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((404, b'{"error":{"message":"No adapter\\nfound","code":404}}'), "HTTP 404: No adapter found"),
        ((404, b'{"detail":"Not Found"}'), "HTTP 404: Not Found"),
        ((422, b'{"detail":[{"msg":"x"}]}'), 'HTTP 422: [{"msg": "x"}]'),
        ((500, b"Internal \x1b[31mError"), r"HTTP 500: Internal \x1b[31mError"),
        ((500, b""), "HTTP 500: no message"),
        ((302, b""), "HTTP 302: no message"),
        ((500, b"x" * 5000), "HTTP 500: " + "x" * 300),
    ],
)
def test_what_a_server_says_comes_in_one_printable_line(
    reply: Reply, said: str, double: Double, vllm: VllmServer
) -> None:
    double.replies["/v1/unload_lora_adapter"] = reply
    error = refuse(vllm.unload_adapter, "a")
    assert str(error) == f"/v1/unload_lora_adapter: {said}"
    assert error.status == reply[0]


def test_no_answer_is_told_without_a_status(double: Double, vllm: VllmServer) -> None:
    error = refuse(VllmServer("http://127.0.0.1:1").list_models)
    assert str(error) == "/v1/models: ConnectionRefusedError: [Errno 111] Connection refused"
    assert error.status is None
    double.replies["/v1/models"] = (200, b"<html>")
    assert str(refuse(vllm.list_models)) == "/v1/models: the answer is not JSON"
    double.replies["/v1/models"] = (200, b"[" * 100_000)
    assert str(refuse(vllm.list_models)) == "/v1/models: the answer is not JSON"
    double.replies["/v1/models"] = (200, b" " * (17 * 2**20))
    assert "has more than 16777216 bytes" in str(refuse(vllm.list_models))


def test_the_token_is_sent_and_never_told(double: Double) -> None:
    vllm = VllmServer(f"http://127.0.0.1:{double.server_port}", "s3cret-token-of-mine")
    double.replies["/v1/models"] = (401, b"Bearer s3cret-token-of-mine is wrong")
    error = refuse(vllm.list_models)
    assert double.sent[0][3] == "Bearer s3cret-token-of-mine"
    assert str(error) == "/v1/models: HTTP 401: Bearer *** is wrong"
    assert "s3cret" not in repr(vllm)


# --- figures


def write_metrics(*, adapters: tuple[tuple[str, float], ...] = (), engines: int = 1) -> str:
    lines = []
    for engine in range(engines):
        of = f'engine="{engine}",model_name="base"'
        lines += [
            f"vllm:num_requests_running{{{of}}} 2.0",
            f"vllm:num_requests_waiting{{{of}}} 1.0",
            f'vllm:num_requests_waiting_by_reason{{{of},reason="deferred"}} 1.0',
            f"vllm:prompt_tokens_total{{{of}}} 180.0",
            f"vllm:generation_tokens_total{{{of}}} 30.0",
            f"vllm:request_success_created{{{of}}} 1.796e+09",
        ]
        for reason, count in (("stop", 4), ("length", 3), ("abort", 2), ("error", 1)):
            lines.append(f'vllm:request_success_total{{{of},finished_reason="{reason}"}} {count}.0')
        for bound, count in (("0.3", 0), ("0.5", 6), ("1.0", 8), ("10.0", 9), ("+Inf", 10)):
            lines.append(f'vllm:e2e_request_latency_seconds_bucket{{{of},le="{bound}"}} {count}.0')
    for names, seconds in adapters:
        of = f'max_lora="8",running_lora_adapters="{names}",waiting_lora_adapters=""'
        lines.append(f"vllm:lora_requests_info{{{of}}} {seconds!r}")
    return "# HELP x a text\n# TYPE x gauge\n" + "\n".join(lines) + "\n"


def test_figures_are_read(double: Double, vllm: VllmServer) -> None:
    double.replies["/metrics"] = (200, write_metrics().encode())
    found = vllm.read_metrics()
    assert (found.running, found.waiting, found.adapters) == (2, 1, ())
    assert (found.prompt_tokens, found.generated_tokens) == (180, 30)
    assert found.finished == {"stop": 4, "length": 3, "abort": 2, "error": 1}
    assert (found.requests, found.failures) == (10, 3)
    assert found.latency == {0.3: 0, 0.5: 6, 1.0: 8, 10.0: 9, math.inf: 10}


def test_figures_of_several_engines_are_added() -> None:
    found = read_metrics(write_metrics(engines=2))
    assert (found.running, found.generated_tokens, found.requests, found.latency[1.0]) == (4, 60, 20, 16)


def test_only_the_newest_set_of_adapters_runs() -> None:
    sets = (("评委,strict@3f2a", 1.7960868959e9), ("a", 1.7960868950e9), ("", 1.796e9))
    assert read_metrics(write_metrics(adapters=sets)).adapters == ("评委", "strict@3f2a")
    assert read_metrics(write_metrics(adapters=(*sets, ("b", 1.7960868960e9)))).adapters == ("b",)


def _endless() -> str:
    return write_metrics().replace('finished_reason="stop"} 4.0', 'finished_reason="stop"} 1e400')


def test_what_is_no_metrics_of_vllm_is_told(double: Double, vllm: VllmServer) -> None:
    for text in ("", "up 1\n", "<html>", write_metrics().replace("num_requests_running", "x"), _endless()):
        double.replies["/metrics"] = (200, text.encode())
        assert str(refuse(vllm.read_metrics)) == "/metrics: the answer has no figures of vLLM"


def make_metrics(latency: dict[float, int]) -> VllmMetrics:
    return VllmMetrics(
        running=0, waiting=0, adapters=(), prompt_tokens=0, generated_tokens=0, finished={}, latency=latency
    )


def test_latencies_are_interpolated_within_their_bucket() -> None:
    found = make_metrics({0.5: 0, 1.0: 10, 2.0: 20, math.inf: 20})
    assert found.find_latency(0.25) == pytest.approx(0.75)
    assert found.find_latency(0.5) == pytest.approx(1.0)
    assert found.find_latency(0.99) == pytest.approx(1.98)
    assert make_metrics({0.5: 0, math.inf: 3}).find_latency(0.5) == 0.5
    assert make_metrics({0.5: 4, math.inf: 4}).find_latency(0.5) == pytest.approx(0.25)
    assert make_metrics({0.5: 0, math.inf: 0}).find_latency(0.5) is None
    assert make_metrics({}).find_latency(0.5) is None
