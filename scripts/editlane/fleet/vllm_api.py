"""Ask one vLLM server the few things that a fleet wants to know of it, and tell it its adapters."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from requests import RequestException
from urllib3.exceptions import HTTPError

from editlane.core.printable import escape
from editlane.endpoint.key_mask import KeyMask
from editlane.endpoint.session import send
from editlane.fleet.vllm_metrics import VllmMetrics, read_metrics

TOP_TOKENS = 20
"""Tokens whose log-probabilities a server reports: the most that it does by default."""

LONGEST_MESSAGE = 300
LONGEST_ANSWER = 16 * 2**20
"""Bytes of an answer. Metrics with thousands of sets of adapters stay below."""

QUICK = 5.0
"""Seconds for what a server answers without its engine."""

ADAPTER_SECONDS = 300.0
"""Seconds to load an adapter, which may come over a network."""


class ServerError(Exception):
    """A server did not do what it was asked. The message is one printable line with what it said."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status, or None if there was no answer, or one that could not be read."""


@dataclass(frozen=True, slots=True)
class VllmServer:
    """One server of vLLM. All calls are thread-safe, have a deadline, and raise ServerError unless they say else."""

    url: str
    """Its address without `/v1`, such as `http://127.0.0.1:8001`."""
    token: str | None = field(default=None, repr=False)

    def is_healthy(self, *, seconds: float = QUICK) -> bool:
        """Return whether its API answers and its engine lives. One that hangs is healthy by this. Never raises."""
        try:
            self.call("/health", None, seconds)
        except ServerError:
            return False
        return True

    def list_models(self, *, seconds: float = QUICK) -> dict[str, str]:
        """Return the names that it answers for -> the path or hub id of their weights: base model and adapters."""
        found = self._call_json("/v1/models", None, seconds)
        try:
            return {str(model["id"]): str(model.get("root") or "") for model in found["data"]}
        except (KeyError, TypeError, AttributeError):
            raise ServerError("/v1/models: the answer is no list of models") from None

    def first_tokens(self, model: str, prompt: str, count: int = 1, *, seconds: float = 60.0) -> list[dict[str, float]]:
        """Return the log-probabilities of the likeliest tokens for the first `count` places of the likeliest answer.

        Each place has `TOP_TOKENS`, written by number because several may have the same text. The salt has the server
        read the prompt anew. There is no seed: vLLM on the CPU dies of one if it reads the prompt in pieces.
        """
        wanted = {"max_tokens": count, "logprobs": TOP_TOKENS, "return_tokens_as_token_ids": True, "ignore_eos": True}
        found = self._generate(model, prompt, wanted | {"cache_salt": uuid4().hex}, seconds)
        try:
            places = found["choices"][0]["logprobs"]["top_logprobs"]
            numbers = [{str(token): float(number) for token, number in place.items()} for place in places]
        except (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError):
            raise ServerError("/v1/completions: the answer has no log-probabilities") from None
        if not numbers or not all(place and all(map(math.isfinite, place.values())) for place in numbers):
            raise ServerError("/v1/completions: the log-probabilities are no numbers")
        return numbers

    def check_generates(self, model: str, *, seconds: float = 60.0) -> None:
        """Let it generate one token, which proves that the engine works and not only the API."""
        found = self._generate(model, "1", {}, seconds)
        if not isinstance(found, dict) or not found.get("choices"):
            raise ServerError("/v1/completions: the answer has no text")

    def load_adapter(self, name: str, path: str, replace: bool = False, *, seconds: float = ADAPTER_SECONDS) -> None:
        """Load an adapter from a folder of the server's machine. With `replace` the name may be there already.

        Give changed weights a new path: vLLM keeps what it computed for prompts by name and path.
        """
        body = {"lora_name": name, "lora_path": path} | ({"load_inplace": True} if replace else {})
        self.call("/v1/load_lora_adapter", body, seconds)

    def unload_adapter(self, name: str, *, seconds: float = ADAPTER_SECONDS) -> None:
        """Forget an adapter."""
        self.call("/v1/unload_lora_adapter", {"lora_name": name}, seconds)

    def read_metrics(self, *, seconds: float = QUICK) -> VllmMetrics:
        """Return its figures."""
        text = self.call("/metrics", None, seconds).decode("utf-8", errors="replace")
        try:
            return read_metrics(text)
        except (ValueError, LookupError, OverflowError):
            raise ServerError("/metrics: the answer has no figures of vLLM") from None

    def _generate(self, model: str, prompt: str, options: dict[str, Any], seconds: float) -> Any:
        body = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0} | options
        return self._call_json("/v1/completions", body, seconds)

    def _call_json(self, path: str, body: dict[str, Any] | None, seconds: float) -> Any:
        try:
            return json.loads(self.call(path, body, seconds))
        except (ValueError, RecursionError):
            raise ServerError(f"{path}: the answer is not JSON") from None

    def call(self, path: str, body: dict[str, Any] | None, seconds: float) -> bytes:
        """Send a GET, or a POST of `body`, and return the content of an answer with status 200. Raises ServerError."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        try:
            with send(self.url + path, data, headers, timeout=seconds, proxy=None) as response:
                status, content = response.status_code, _read(response)
        except (RequestException, HTTPError, OSError) as error:
            raise ServerError(f"{path}: {self._explain(error, seconds)}") from None
        if status != 200:
            said = self._to_line(_find_message(content)) or "no message"
            raise ServerError(f"{path}: HTTP {status}: {said}", status)
        if len(content) > LONGEST_ANSWER:
            raise ServerError(f"{path}: the answer has more than {LONGEST_ANSWER} bytes")
        return content

    def _explain(self, error: BaseException, seconds: float) -> str:
        """Say what lies below the errors of requests and urllib3, which wrap it several times."""
        while inner := next((one for one in (*error.args, error.__cause__) if isinstance(one, BaseException)), None):
            error = inner
        if isinstance(error, TimeoutError):
            return f"no answer within {seconds:g} s"
        return self._to_line(f"{type(error).__name__}: {error}")

    def _to_line(self, text: str) -> str:
        """Return one printable line without the token. The token goes first, because a cut would leave a part of it."""
        return escape(" ".join(KeyMask(self.token).hide(text[:20_000]).split()))[:LONGEST_MESSAGE]


def _read(response: Any) -> bytes:
    found = bytearray()
    for part in response.iter_content(65536):
        found += part
        if len(found) > LONGEST_ANSWER:
            break
    return bytes(found)


def _find_message(content: bytes) -> str:
    """Return the message of an error: the field of OpenAI's or FastAPI's JSON, or the whole text."""
    text = content.decode("utf-8", errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for name in ("error", "message", "detail"):
        if isinstance(found, Mapping) and name in found:
            found = found[name]
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
