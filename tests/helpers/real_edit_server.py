"""Start a real server of image edits with a tiny Qwen-Image-Edit of random weights, and make requests for it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from editlane.core.types import EditRequest, Item
from editlane.endpoint.served_models import NoAnswer

ROOT = Path(__file__).parents[2]
MODEL = "tiny/编辑"
SECONDS = 300
"""Time for a server to start."""


def find_free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def serving_tiny_model(
    command: list[Any], env: Mapping[str, str], folder: Path, address: str, try_it: Callable[[str], Any]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Build a checkpoint in `folder`/tiny and run `command` there until `try_it(address)` raises no NoAnswer."""
    build = [sys.executable, "scripts/build_tiny_model.py", "--kind", "qwen-image-edit-plus", "--out", folder / "tiny"]
    subprocess.run(build, cwd=ROOT, check=True)
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [str(part) for part in command], env=os.environ | env, cwd=folder, stdout=log, stderr=log
        )
        try:
            _wait_until_it_answers(lambda: try_it(address), server, folder / "log")
            yield server
        finally:
            server.terminate()
            server.wait(60)


def _wait_until_it_answers(try_it: Callable[[], Any], server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            try_it()
        except NoAnswer:
            time.sleep(1)
        else:
            return
    raise AssertionError(log.read_text(encoding="utf-8", errors="replace")[-4000:])


def nothing() -> None: ...


def make_request(
    seed: int = 2**32 - 1, references: tuple[Image.Image, ...] = (), instruction: str = "把天空变成红色"
) -> EditRequest:
    item = Item(
        item_id="项-1",
        category="物理",
        instruction=instruction,
        language="zh",
        source_path="",
        source_sha256="",
        width=90,
        height=60,
        cost=1.0,
    )
    source = Image.linear_gradient("L").resize((90, 60)).convert("RGB")
    return EditRequest(
        item=item, source=source, given=None, seed=seed, references=references, on_step=lambda step, steps: None
    )
