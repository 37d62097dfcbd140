"""Serve `/images/edits` on 127.0.0.1 as vLLM-Omni, SGLang and OpenAI do, and misbehave on demand.

tests/sglang compares it with the real one; the others are as documented. The traps are those of the real ones: two
ignore unknown fields, uploads are opened without turning them upright, and an answer may have another size.
"""

import base64
import hashlib
import io
import json
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "编辑/qwen-image-edit"

DIFFUSION = {
    *("prompt", "model", "n", "user", "size", "response_format", "output_format", "seed", "num_inference_steps"),
    *("guidance_scale", "true_cfg_scale", "negative_prompt"),
}
KNOWN = {
    "vllm-omni": DIFFUSION | {"background", "output_compression", "stream", "lora", "strength"},
    "sglang": DIFFUSION
    | {
        *("url", "mask", "task_type", "enhance_prompt", "background", "generator_device", "quality", "output_quality"),
        *("output_compression", "enable_teacache", "enable_cache_dit", "cache_dit_params", "enable_upscaling"),
        *("upscaling_model_path", "upscaling_scale", "num_frames", "perf_dump_path", "profile"),
        *("num_profiled_timesteps", "profile_all_stages"),
    },
    "openai": {
        *("prompt", "model", "n", "user", "size", "output_format", "quality", "background", "input_fidelity"),
        *("moderation", "partial_images", "stream", "output_compression"),
    },
}
OPENAI_SIZES = {"auto", "1024x1024", "1536x1024", "1024x1536"}


class Refusal(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: Any, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class ImagesDouble(ThreadingHTTPServer):
    """Server that keeps its requests; its attributes set how it misbehaves."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, dialect: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dialect = dialect
        self.connections: list[Any] = []
        self.fields: list[dict[str, str]] = []
        """The text fields of every request for an edit."""
        self.images: list[list[tuple[str, bytes]]] = []
        """The field and the bytes of its files."""
        self.headers: list[Any] = []
        self.listed = 0
        """Requests for the list of models."""
        self.elsewhere = 0
        """Requests to any other path."""
        self.attempts: Counter[bytes] = Counter()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.root: str | None = "/models/qwen-image-edit-2511"
        self.key: str | None = None
        self.uses_seed = True
        self.repeats = True
        self.refuses_unknown = dialect == "openai"
        self.keeps_size = True
        self.seconds: Callable[[dict[str, str]], float] = lambda fields: 0.0
        self.trouble: Callable[[dict[str, str], int], Any] = lambda fields, attempt: None
        """(fields, attempt from 1) -> a Refusal, `hang`, `close`, `redirect`, bytes to answer as they are, a JSON value
        to answer, or None."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def edits(self) -> list[dict[str, str]]:
        """The requests that were no test of the server."""
        return [one for one in self.fields if "watercolour" not in one["prompt"]]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def close_connections(self) -> None:
        """Close those that clients keep open, too."""
        for connection in self.connections:
            with suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that has disconnected."""

    def list_models(self) -> list[dict[str, Any]]:
        """List the model as each server does. `created` and `permission` differ each time."""
        if self.dialect == "openai":
            return [{"id": MODEL, "object": "model", "created": int(time.time()), "owned_by": "system"}]
        model = {"id": MODEL, "object": "model", "created": time.time_ns(), "parent": None, "max_model_len": None}
        if self.dialect == "vllm-omni":
            permission = [{"id": f"modelperm-{time.time_ns()}"}]
            return [model | {"owned_by": "vllm", "root": self.root, "permission": permission}]
        model |= {"owned_by": "sglang", "root": MODEL, "num_gpus": 1, "dit_precision": "bf16", "vae_precision": "bf16"}
        model |= {"task_type": "I2I", "supported_task_types": ["I2I"]}
        return [model | dict.fromkeys(("pipeline_name", "pipeline_class"), "QwenImageEditPlusPipeline")]

    def edit(self, fields: dict[str, str], files: list[tuple[str, bytes]]) -> dict[str, Any]:
        """Return the answer to a right request; raises Refusal."""
        if self.dialect == "sglang":
            check_as_sglang(fields)
        if not files or not fields.get("prompt"):
            raise Refusal(422, "Field 'image' or 'url' is required")
        unknown = sorted(fields.keys() - KNOWN[self.dialect])
        if unknown and self.refuses_unknown:
            raise Refusal(400, f"Unknown parameter: '{unknown[0]}'.", "unknown_parameter")
        if fields.get("response_format", "b64_json") != "b64_json":
            raise Refusal(400, "Only response_format 'b64_json' is supported now.")
        if self.dialect == "openai" and fields.get("size", "auto") not in OPENAI_SIZES:
            raise Refusal(400, f"Invalid value: '{fields['size']}'.", "invalid_value")
        source = Image.open(io.BytesIO(files[0][1]))  # not turned upright, as in vLLM-Omni
        source.load()
        image = self.paint(source, fields, files)
        encoded = io.BytesIO()
        image.save(encoded, format=fields.get("output_format", "jpeg").upper())
        text = base64.b64encode(encoded.getvalue()).decode()
        size = f"{image.width}x{image.height}"
        if self.dialect == "vllm-omni":
            data = [{"b64_json": text, "url": None, "revised_prompt": None}]
            return {"created": 1, "data": data, "output_format": fields.get("output_format"), "size": size}
        if self.dialect == "sglang":
            data = dict.fromkeys(("url", "file_path", "resize")) | {
                "b64_json": text,
                "revised_prompt": fields["prompt"],
            }
            measured = {"peak_memory_mb": None, "inference_time_s": 0.1, "usage": None}
            return {"id": "1", "created": 1, "data": [data], **measured}
        usage = {"input_tokens": 300, "output_tokens": 4000, "total_tokens": 4300}
        return {"created": 1, "data": [{"b64_json": text}], "usage": usage, "size": size, "quality": "high"}

    def paint(self, source: Image.Image, fields: dict[str, str], files: list[tuple[str, bytes]]) -> Image.Image:
        """Return the source with a tint, which prompt, images and seed decide."""
        wanted = fields.get("size", "auto")
        size = source.size if wanted == "auto" else tuple(map(int, wanted.split("x")))
        if not self.keeps_size:
            size = (size[0] // 16 * 16 + 16, size[1])
        seed = fields.get("seed") if self.uses_seed and self.dialect != "openai" else "0"
        parts = [fields["prompt"], seed, *(hashlib.sha256(file).hexdigest() for _, file in files)]
        chance = random.Random("|".join(map(str, parts)) if seed and self.repeats else None)
        tint = Image.new("RGB", size, tuple(chance.randrange(256) for _ in range(3)))
        return Image.blend(source.convert("RGB").resize(size), tint, 0.3)


class Handler(BaseHTTPRequestHandler):
    server: ImagesDouble
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def is_allowed(self) -> bool:
        return self.server.key is None or self.headers["Authorization"] == f"Bearer {self.server.key}"

    def do_GET(self) -> None:
        if self.path == "/v1/model_info" and self.server.dialect == "sglang" and self.server.root:
            return self.answer(200, {"model_path": self.server.root})
        if self.path != "/v1/models":
            self.server.elsewhere += 1
            return self.refuse(Refusal(404, "Not Found"))
        self.server.listed += 1
        if not self.is_allowed():
            said = f"Incorrect API key provided: {self.headers['Authorization']}"
            return self.refuse(Refusal(401, said, "invalid_api_key"))
        return self.answer(200, {"object": "list", "data": self.server.list_models()})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        double = self.server
        if self.path != "/v1/images/edits":
            double.elsewhere += 1
            return self.refuse(Refusal(404, "Not Found"))
        fields, files = read_form(self.headers["Content-Type"], content)
        with double.lock:
            double.fields.append(fields)
            double.images.append(files)
            double.headers.append(self.headers)
            name = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).digest()
            double.attempts[name] += 1
            attempt = double.attempts[name]
            double.at_once += 1
            double.most_at_once = max(double.most_at_once, double.at_once)
        try:
            double.over.wait(double.seconds(fields))
        finally:
            with double.lock:
                double.at_once -= 1
        if not self.is_allowed():
            return self.refuse(Refusal(401, f"Incorrect API key provided: {self.headers['Authorization']}"))
        return self.serve(fields, files, double.trouble(fields, attempt))

    def serve(self, fields: dict[str, str], files: list[tuple[str, bytes]], trouble: Any) -> None:
        if trouble == "hang":
            self.server.over.wait(60)
        if trouble in ("hang", "close"):
            self.close_connection = True
            return None
        if trouble == "redirect":
            return self.send(307, b"", {"Location": f"{self.server.url}/elsewhere"})
        if isinstance(trouble, bytes):
            return self.send(200, trouble, {"Content-Type": "text/html"})
        if isinstance(trouble, Refusal):
            return self.refuse(trouble)
        if trouble is not None:
            return self.answer(200, trouble)
        try:
            return self.answer(200, self.server.edit(fields, files))
        except Refusal as refusal:
            return self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with an error in the words of the dialect."""
        code = refusal.code if self.server.dialect == "openai" else refusal.status
        error = {"message": refusal.message, "type": "Bad Request", "param": None, "code": code}
        content = {"detail": refusal.message} if self.server.dialect == "sglang" else {"error": error}
        self.answer(refusal.status, content, {"Retry-After": "0"} if refusal.status == 429 else {})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        with suppress(OSError):  # the client is gone
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


def check_as_sglang(fields: dict[str, str]) -> None:
    """Refuse what SGLang refuses, in its words. It takes any `model`."""
    if not fields.get("prompt"):
        raise Refusal(422, [{"type": "missing", "loc": ["body", "prompt"], "msg": "Field required", "input": None}])
    if not fields.get("seed", "0").lstrip("-").isdecimal():
        said = "Input should be a valid integer, unable to parse string as an integer"
        raise Refusal(422, [{"type": "int_parsing", "loc": ["body", "seed"], "msg": said, "input": fields["seed"]}])
    if fields.get("response_format", "b64_json") not in ("b64_json", "url"):
        raise Refusal(400, f"response_format={fields['response_format']} is not supported")
    if "size" in fields and not re.fullmatch(r"0*[1-9]\d*x0*[1-9]\d*", fields["size"]):
        raise Refusal(400, "size must be formatted as positive WIDTHxHEIGHT")


def read_form(content_type: str, content: bytes) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
    """Read a multipart form: its texts by name, and its files in order."""
    form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + content, policy=policy.HTTP)
    fields: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    for part in form.iter_parts():  # type: ignore[attr-defined]
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if part.get_filename():
            files.append((name, data))
        else:
            assert name not in fields, f"the form has the field {name} twice"
            fields[name] = data.decode()
    return fields, files


def encode(image: Image.Image, kind: str = "PNG") -> str:
    """Return an image as base64."""
    encoded = io.BytesIO()
    image.save(encoded, format=kind)
    return base64.b64encode(encoded.getvalue()).decode()


@contextmanager
def serving_images(dialect: str = "vllm-omni") -> Iterator[ImagesDouble]:
    with ImagesDouble(dialect) as double:
        thread = threading.Thread(target=double.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield double
        finally:
            double.over.set()
            double.shutdown()
            thread.join()
            double.close_connections()
