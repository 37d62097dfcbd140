"""A double of vLLM's server, for tests: `python -m vllm.entrypoints.openai.api_server`, with this on the path.

Behaves as vLLM 0.32 was measured to: /health is empty; the engine is a process of its own that outlives a killed
server; a server that drains finishes its work, answers new requests with 500 and still calls itself healthy; an
adapter of another model loads and does nothing; base requests beside adapters get an adapter's weights (with
VLLM_DOUBLE_MIXES). What it says depends on the weights alone. VLLM_DOUBLE_SECONDS: time for an answer;
VLLM_DOUBLE_START_SECONDS: to load.
"""

import argparse
import asyncio
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

SECONDS = float(os.environ.get("VLLM_DOUBLE_SECONDS", "0"))
MIXES = bool(os.environ.get("VLLM_DOUBLE_MIXES"))
ANOTHER_MODEL = b"made for another model"
"""Weights that begin so change nothing."""


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag in ("--model", "--revision", "--host", "--dtype", "--limit-mm-per-prompt", "--mm-processor-kwargs"):
        parser.add_argument(flag)
    for flag in ("--port", "--max-loras", "--max-lora-rank", "--max-cpu-loras", "--max-num-seqs", "--max-model-len"):
        parser.add_argument(flag, type=int)
    for flag in ("--shutdown-timeout", "--max-num-queued-reqs", "--max-num-batched-tokens"):
        parser.add_argument(flag, type=int)
    parser.add_argument("--gpu-memory-utilization", type=float)
    parser.add_argument("--served-model-name", nargs="+")
    for flag in ("--enable-lora", "--enforce-eager", "--disable-uvicorn-access-log"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


class Engine:
    """What is loaded, what runs, and what was answered."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.base = hashlib.sha256(str(args.model).encode()).digest()
        self.adapters: dict[str, tuple[str, bytes]] = {}
        self.running: list[str] = []
        self.waiting = 0
        self.finished = {"stop": 0, "length": 0, "error": 0, "abort": 0}
        self.tokens = 0
        self.seconds: list[float] = []
        self.seats = asyncio.Semaphore(args.max_num_seqs or 256)
        self.draining = False
        self.child = subprocess.Popen(["sleep", "100000"])

    def weights(self, model: str) -> bytes:
        own = self.adapters[model][1] if model in self.adapters else self.base
        others = [name for name in self.running if name in self.adapters]
        if MIXES and model not in self.adapters and others:
            own = self.adapters[others[-1]][1]
        return own

    def top(self, weights: bytes, prompt: str) -> dict[str, float]:
        digest = hashlib.sha256(weights + prompt.encode()).digest()
        parts = [1 + byte for byte in digest[:20]]
        return {str(n): math.log(part / sum(parts)) for n, part in enumerate(parts)}

    async def answer(self, model: str, prompt: str, tokens: int, seconds: float) -> dict[str, float]:
        began = time.monotonic()
        self.waiting += 1
        async with self.seats:
            self.waiting -= 1
            self.running.append(model)
            try:
                await asyncio.sleep(max(seconds, 0.002) + (tokens - 1) * 0.001)
                top = self.top(self.weights(model), prompt)
            finally:
                self.running.remove(model)
        self.tokens += tokens
        self.finished["length"] += 1
        self.seconds.append(time.monotonic() - began)
        return top


ENGINE: Engine


def refuse(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "Error", "code": status}}, status)


def is_refused(request: Request) -> Response | None:
    key = os.environ.get("VLLM_API_KEY")
    if key and request.headers.get("authorization") != f"Bearer {key}":
        return JSONResponse({"error": "Unauthorized"}, 401)
    return refuse(500, "the engine is shutting down") if ENGINE.draining else None


async def health(_: Request) -> Response:
    return Response(status_code=200 if ENGINE.child.poll() is None else 503)


async def models(request: Request) -> Response:
    if refused := is_refused(request):
        return refused
    names = ENGINE.args.served_model_name or [ENGINE.args.model]
    data: list[dict[str, Any]] = [{"id": name, "root": ENGINE.args.model, "parent": None} for name in names]
    data += [{"id": name, "root": path, "parent": names[0]} for name, (path, _) in ENGINE.adapters.items()]
    return JSONResponse({"object": "list", "data": data})


async def ask(request: Request) -> Response:
    if refused := is_refused(request):
        return refused
    asked = await request.json()
    model, is_chat = asked.get("model"), request.url.path.endswith("chat/completions")
    if model not in (*(ENGINE.args.served_model_name or [ENGINE.args.model]), *ENGINE.adapters):
        return refuse(404, f"The model `{model}` does not exist.")
    limit = ENGINE.args.max_num_queued_reqs
    if limit is not None and len(ENGINE.running) + ENGINE.waiting >= limit:
        return refuse(503, "the request queue is full")
    prompt = json.dumps(asked["messages"], ensure_ascii=False) if is_chat else asked["prompt"]
    tokens = asked.get("max_tokens") or 16
    seconds = 0 if "cache_salt" in asked else SECONDS  # the smoke test, which would take minutes
    top = await ENGINE.answer(model, prompt, tokens, seconds)
    choice = asked.get("structured_outputs", {}).get("choice")
    best = choice[0] if choice else max(top, key=lambda token: top[token])
    if choice:
        top = {token: math.log(1 / len(choice)) for token in choice}
    entries = [{"token": token, "logprob": one} for token, one in sorted(top.items(), key=lambda pair: -pair[1])]
    body: dict[str, Any] = {"id": "double", "model": model, "port": ENGINE.args.port, "usage": {}}
    if is_chat:
        logprobs = {"content": [{"token": best, "logprob": top[best], "top_logprobs": entries}]}
        message = {"role": "assistant", "content": best}
        body["choices"] = [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "length"}]
    else:
        places = [top] + [ENGINE.top(repr(top).encode(), str(place)) for place in range(1, tokens)]
        logprobs = {"tokens": [best], "token_logprobs": [top[best]], "top_logprobs": places}
        body["choices"] = [{"index": 0, "text": best, "logprobs": logprobs, "finish_reason": "length"}]
    return JSONResponse(body)


async def load(request: Request) -> Response:
    if refused := is_refused(request):
        return refused
    asked = await request.json()
    if not {"lora_name", "lora_path"} <= asked.keys():
        return refuse(400, "Both 'lora_name' and 'lora_path' must be provided.")
    name, path = asked["lora_name"], Path(asked["lora_path"])
    if name in ENGINE.adapters and not asked.get("load_inplace"):
        return refuse(400, f"The lora adapter '{name}' has already been loaded.")
    if not (path / "adapter_config.json").is_file():
        return refuse(404, f"Loading lora {name} failed: No adapter found for {path}")
    await asyncio.sleep(float(os.environ.get("VLLM_DOUBLE_LOAD_SECONDS", "0")))
    content = (path / "adapter_model.safetensors").read_bytes()
    weights = ENGINE.base if ANOTHER_MODEL in content else hashlib.sha256(content).digest()
    ENGINE.adapters[name] = (str(path), weights)
    return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")


async def unload(request: Request) -> Response:
    if refused := is_refused(request):
        return refused
    name = (await request.json()).get("lora_name")
    if name not in ENGINE.adapters:
        return refuse(404, f"The lora adapter '{name}' cannot be found.")
    del ENGINE.adapters[name]
    return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")


BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


async def metrics(_: Request) -> Response:
    label = 'model_name="base",engine="0"'
    busy = ",".join(sorted({name for name in ENGINE.running if name in ENGINE.adapters}))
    lines = [
        f"vllm:num_requests_running{{{label}}} {len(ENGINE.running)}",
        f"vllm:num_requests_waiting{{{label}}} {ENGINE.waiting}",
        f"vllm:generation_tokens_total{{{label}}} {ENGINE.tokens}",
        f"vllm:prompt_tokens_total{{{label}}} {ENGINE.tokens * 7}",
        'vllm:lora_requests_info{max_lora="8",running_lora_adapters="old",waiting_lora_adapters=""} 1.0',
        f'vllm:lora_requests_info{{max_lora="8",running_lora_adapters="{busy}",waiting_lora_adapters="{busy}"}} '
        f"{time.time()}",
    ]
    for reason, count in ENGINE.finished.items():
        lines.append(f'vllm:request_success_total{{{label},finished_reason="{reason}"}} {count}')
    for bound in (*BUCKETS, math.inf):
        within = sum(one <= bound for one in ENGINE.seconds)
        written = "+Inf" if bound == math.inf else bound
        lines.append(f'vllm:e2e_request_latency_seconds_bucket{{{label},le="{written}"}} {within}')
    lines.append(f"vllm:e2e_request_latency_seconds_count{{{label}}} {len(ENGINE.seconds)}")
    lines.append(f"vllm:e2e_request_latency_seconds_sum{{{label}}} {sum(ENGINE.seconds)}")
    return PlainTextResponse("\n".join(lines) + "\n")


def make_routes(args: argparse.Namespace) -> list[Route]:
    routes = [Route("/health", health), Route("/v1/models", models), Route("/metrics", metrics)]
    routes += [Route(path, ask, methods=["POST"]) for path in ("/v1/completions", "/v1/chat/completions")]
    if args.enable_lora and os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "0").lower() in ("1", "true"):
        routes.append(Route("/v1/load_lora_adapter", load, methods=["POST"]))
        routes.append(Route("/v1/unload_lora_adapter", unload, methods=["POST"]))
    return routes


class Server(uvicorn.Server):
    """Drains at SIGTERM: what runs is finished, what comes gets 500, and /health stays 200."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        ENGINE.draining = True
        asyncio.get_event_loop().create_task(self._drain())

    async def _drain(self) -> None:
        until = time.monotonic() + (ENGINE.args.shutdown_timeout or 0)
        while (ENGINE.running or ENGINE.waiting) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        self.should_exit = True


async def serve(args: argparse.Namespace) -> None:
    global ENGINE
    ENGINE = Engine(args)
    await asyncio.sleep(float(os.environ.get("VLLM_DOUBLE_START_SECONDS", "0")))
    app = Starlette(routes=make_routes(args))
    settings = uvicorn.Config(app, args.host or "0.0.0.0", args.port or 8000, log_level="warning", backlog=2048)
    try:
        await Server(settings).serve()
    finally:
        ENGINE.child.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print(f"double of vLLM: {' '.join(sys.argv[1:])}", flush=True)
    asyncio.run(serve(parse_flags()))
