"""Serve the wire format of the reward server on 127.0.0.1, with scores hashed from the items; misbehave on demand."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM")
"""How image files begin that this server takes for images."""


def compute_reward(source: bytes, edited: bytes, instruction: str) -> float:
    """Compute the reward of an item, so that a test sees whose reward it got."""
    digest = hashlib.sha256(b"\0".join([source, edited, instruction.encode()])).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def score_item(item: dict[str, Any]) -> dict[str, Any]:
    """Answer about one item as a judge would."""
    source, edited = (base64.b64decode(item[name], validate=True) for name in ("source", "edited"))
    about = {"judge": "fake", "judge_key": "0" * 16, "cached": False, "mass": None, "entropy": None}
    if not all(image.startswith(IMAGES) for image in (source, edited)):
        return fail(item, "decode", "not an image") | about
    reward = compute_reward(source, edited, item["instruction"])
    scored = {"state": "scored", "score": 10 * reward, "reward": reward, "scores": {"quality": 10 * reward}}
    return {"id": item["id"], "error": None} | about | scored


def fail(item: dict[str, Any], kind: str, message: str = "told to fail") -> dict[str, Any]:
    """Answer that an item has no score."""
    error = {"kind": kind, "message": message}
    return {"id": item["id"], "state": "judge_failed", "score": None, "reward": None, "scores": {}, "error": error}


class Double(ThreadingHTTPServer):
    """Server that remembers its requests; its attributes set how it misbehaves."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.asked: list[dict[str, Any]] = []
        """Bodies of all requests for scores, in the order of their arrival."""
        self.headers: list[Any] = []
        self.warning: str | None = None
        self.clients: set[Any] = set()
        """Addresses that connections came from."""
        self.at_once = self.most_at_once = 0
        self.token: str | None = None
        self.limits: Any = {"body_bytes": 64 * 2**20, "items": 256}
        self.most_bytes = 64 * 2**20
        """A larger body is refused, whatever the limits say."""
        self.seconds = 0.0
        self.answer_item: Callable[[dict[str, Any], int], dict[str, Any]] = lambda item, attempt: score_item(item)
        """(item, attempt from 1 at this item) -> what is answered about it."""
        self.attempts: dict[Any, int] = {}
        self.trouble: Callable[[int], Any] = lambda number: None
        """Number of the request for scores, from 1 -> (status, headers), close, cut, hang, trickle, bytes, or None."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has disconnected."""

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        items = []
        for item in body["items"]:
            name = (item["source"], item["edited"], item["instruction"])
            with self.lock:
                attempt = self.attempts[name] = self.attempts.get(name, 0) + 1
            found = self.answer_item(item, attempt)
            panel = {"id": found["id"], "judges": {"a": found, "b": found}}
            items.append(panel if body.get("judge") == "panel" else found)
        return {"items": items, "n_ok": 0, "n_error": 0}


class Handler(BaseHTTPRequestHandler):
    server: Double
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.server.clients.add(self.client_address)
        if self.refuses():
            return
        if self.path == "/v1/judges" and self.server.limits is not None:
            judges = {"fake": {"key": "0" * 16}}
            self.reply(200, {"judges": judges, "default": "fake", "limits": self.server.limits})
        else:
            self.error(404, "Not Found")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refuses():
            return
        if self.path != "/v1/score":
            self.error(404, "Not Found")
        elif len(content) > self.server.most_bytes:
            self.error(413, f"more than {self.server.most_bytes} bytes")
        else:
            self.score(json.loads(content))

    def score(self, body: dict[str, Any]) -> None:
        double = self.server
        with double.lock:
            double.clients.add(self.client_address)
            double.asked.append(body)
            double.headers.append(self.headers)
            number = len(double.asked)
            double.at_once += 1
            double.most_at_once = max(double.most_at_once, double.at_once)
        try:
            time.sleep(double.seconds)
        finally:
            with double.lock:
                double.at_once -= 1
        self.serve(body, double.trouble(number))

    def refuses(self) -> bool:
        wanted = f"Bearer {self.server.token}"
        if self.server.token is None or self.headers["Authorization"] == wanted:
            return False
        self.error(401, f"not the token: {self.headers['Authorization']}")
        return True

    def serve(self, body: dict[str, Any], trouble: Any) -> None:
        if trouble in ("close", "hang", "cut", "trickle"):
            self.close_connection = True
            if trouble == "hang":
                self.server.over.wait(60)
            if trouble in ("cut", "trickle"):
                self.send_response(200)
                self.send_header("Content-Length", "5000")
                self.end_headers()
                self.wfile.write(b'{"items": [')
            while trouble == "trickle" and not self.server.over.wait(0.1):
                self.wfile.write(b" ")
        elif isinstance(trouble, tuple):
            self.reply(trouble[0], {"error": "told to refuse"}, trouble[1])
        elif isinstance(trouble, bytes):
            self.send(200, trouble)
        else:
            self.reply(200, self.server.answer(body))

    def error(self, status: int, message: str) -> None:
        self.reply(status, {"error": message})

    def reply(self, status: int, content: Any, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.send(status, json.dumps(content).encode(), headers)

    def send(self, status: int, content: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.server.warning:
            self.send_header("X-Editlane-Warning", self.server.warning)
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
            thread.join()
