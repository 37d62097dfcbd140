"""Serve OpenAI's wire format on 127.0.0.1 with logits hashed from the request, and misbehave on demand."""

import base64
import hashlib
import io
import json
import math
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "评委/qwen3-vl"
TOKENS = (*"0123456789", *"abcdefghijklmnopqrstuvwxyz", "Yes", "No", "The", " 7", "，")


def compute_logprobs(messages: Any, allowed: Sequence[str] | None = None) -> dict[str, float]:
    """Compute each token's log-probability after these messages; `allowed` restricts it to first tokens of answers."""
    chance = random.Random(hashlib.sha256(json.dumps(messages).encode()).digest())
    logits = {token: chance.gauss(0, 3) + 3 * token.isdigit() for token in TOKENS}
    if allowed is not None:
        first = [next((token for token in TOKENS if one.startswith(token)), None) for one in allowed]
        logits = {token: logit if token in first else -math.inf for token, logit in logits.items()}
    top = max(logits.values())
    norm = top + math.log(math.fsum(math.exp(logit - top) for logit in logits.values()))
    return {token: logit - norm for token, logit in logits.items()}


def draw_token(logprobs: dict[str, float], body: dict[str, Any]) -> str:
    """Draw the token of the reply with the seed; take the likeliest if the temperature is 0."""
    if body["temperature"] == 0:
        return max(logprobs, key=lambda token: logprobs[token])
    seeded = random.Random(json.dumps([body["messages"], body["seed"]]) if "seed" in body else None)
    return seeded.choices([*logprobs], [math.exp(one) for one in logprobs.values()])[0]


def write_marks(body: dict[str, Any], chance: random.Random) -> str:
    """Write a reply in the form that the request asks for."""
    if "response_format" not in body:
        return f"Score: {chance.uniform(0, 10):.3f}"
    schema = body["response_format"]["json_schema"]["schema"]["properties"]["score"]
    marks = [round(chance.uniform(0, 10), 1) for _ in range(schema.get("maxItems", 1))]
    return json.dumps({"reasoning": "so 是", "score": marks if schema["type"] == "array" else marks[0]})


def decode_images(messages: Any) -> list[Image.Image]:
    """Decode the images of a conversation."""
    found = []
    for part in (part for message in messages for part in message["content"] if part["type"] == "image_url"):
        head, _, encoded = part["image_url"]["url"].partition(",")
        assert head == "data:image/png;base64"
        found.append(Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))))
        found[-1].load()
    return found


class Double(ThreadingHTTPServer):
    """Server that counts its requests; its attributes set how it misbehaves."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        """Bodies of all requested completions."""
        self.headers: list[Any] = []
        self.attempts: Counter[bytes] = Counter()
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.models: Any = [MODEL]
        self.owner: str | None = None
        """Who the list says has made the models: the name of the server's program."""
        self.code: str | None = None
        """Code of an error with a status of `trouble`; null for the status."""
        self.key: str | None = None
        self.with_logprobs = True
        self.obeys = True
        self.takes_constraint = True
        self.shows = 20
        self.seconds: Callable[[dict[str, Any]], float] = lambda body: 0.0
        self.excuse = "told to fail"
        """Comes with a status of `trouble`: as the message, the reason and a header."""
        self.trouble: Callable[[dict[str, Any], int], Any] = lambda body, attempt: None
        """(body, attempt from 1) -> a status, `cut`, `hang`, `trickle`, `close`, bytes to answer instead, or None."""
        self.answer_models = self.list_models

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def list_models(self) -> dict[str, Any]:
        listed = [{"id": name, "object": "model", "owned_by": self.owner} for name in self.models]
        return {"object": "list", "data": listed}

    def close_connections(self) -> None:
        """Close those that clients keep open, too."""
        for connection in self.connections:
            with suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has disconnected."""

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        decode_images(body["messages"])
        allowed = body["structured_outputs"]["choice"] if self.obeys and "structured_outputs" in body else None
        if body.get("max_tokens", body.get("max_completion_tokens", 2)) > 1:
            seeded = random.Random(json.dumps([body["messages"], body.get("temperature") and body["seed"]]))
            return self.completion(body, write_marks(body, seeded), None)
        found = compute_logprobs(body["messages"], allowed)
        drawn = draw_token(found, body)
        likeliest = sorted(found, key=lambda token: -found[token])
        first = [drawn, *(token for token in likeliest if token != drawn)]  # the order of vLLM
        shown = [
            {"token": token, "logprob": max(found[token], -9999.0), "bytes": list(token.encode())}
            for token in first[: min(self.shows, body.get("top_logprobs", 0))]
        ]
        entry = {"token": drawn, "logprob": found[drawn], "bytes": None, "top_logprobs": shown}
        return self.completion(body, drawn, {"content": [entry]})

    def completion(self, body: dict[str, Any], text: str, logprobs: Any) -> dict[str, Any]:
        ended = "length" if logprobs else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ended}
        choice["logprobs"] = logprobs if self.with_logprobs and body.get("logprobs") else None
        return {"id": "chatcmpl-1", "object": "chat.completion", "model": body["model"], "choices": [choice]}


class Handler(BaseHTTPRequestHandler):
    server: Double
    protocol_version = "HTTP/1.1"
    reason: str | None = None

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path != "/v1/models" or self.server.models is None:
            return self.error(404, "Not Found")
        if self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}":
            return self.error(401, f"Incorrect API key provided: {self.headers['Authorization']}")
        return self.answer(200, self.server.answer_models())

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body, double = json.loads(content), self.server
        with double.lock:
            double.asked.append(body)
            double.headers.append(self.headers)
            double.attempts[hashlib.sha256(content).digest()] += 1
            attempt = double.attempts[hashlib.sha256(content).digest()]
            double.at_once += 1
            double.most_at_once = max(double.most_at_once, double.at_once)
        try:
            time.sleep(double.seconds(body))
        finally:
            with double.lock:
                double.at_once -= 1  # before the answer, else the client could send the next request too early
        self.serve(body, double.trouble(body, attempt))

    def serve(self, body: dict[str, Any], trouble: Any) -> None:
        if self.path != "/v1/chat/completions" or body["model"] not in (self.server.models or [MODEL]):
            return self.error(404, f"The model {body['model']} does not exist.")
        if "structured_outputs" in body and not self.server.takes_constraint:
            return self.error(400, "Unrecognized request argument supplied: structured_outputs")
        if isinstance(trouble, int):
            self.reason = self.server.excuse
            return self.error(trouble, self.server.excuse)
        if trouble == "hang":
            self.server.over.wait(60)
            return None
        if trouble == "close":
            self.close_connection = True
            return None
        if trouble in ("cut", "trickle"):
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            while trouble == "trickle" and not self.server.over.wait(0.1):
                self.wfile.write(b" ")
            self.close_connection = True
            return None
        if isinstance(trouble, bytes):
            return self.send(200, trouble)
        return self.answer(200, self.server.reply(body))

    def error(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"message": message, "type": "error", "code": self.server.code or status}})

    def answer(self, status: int, content: Any) -> None:
        self.send(status, json.dumps(content).encode())

    def send(self, status: int, content: bytes) -> None:
        self.send_response(status, self.reason)
        self.send_header("X-Reason", self.reason or "none")
        self.reason = None
        if status == 429:
            self.send_header("Retry-After", "0")
        if status in (302, 307):
            self.send_header("Location", f"{self.server.url}/elsewhere")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving() -> Iterator[Double]:
    """Run a server in threads of this process."""
    with Double() as double:
        thread = threading.Thread(target=double.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield double
        finally:
            double.over.set()
            double.shutdown()
            double.close_connections()
            thread.join()
