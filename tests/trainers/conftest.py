"""A reward server with the fake judge, which runs in Editlane's own venv, and edits to score."""

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from editlane.client import RewardClient

ROOT = Path(__file__).parents[2]
with suppress(ValueError):  # pytest puts it there for conftest.py; trainers would take tests/vllm for vLLM
    sys.path.remove(str(ROOT / "tests"))
CONFIG = """
server: trainers
judges: {fake: {adapter: fake, protocol: PROTOCOL}}
category: 物理
pickle: true
port: 0
canary: {minutes: null}
"""


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    text = CONFIG.replace("PROTOCOL", str(ROOT / "resources/protocols/rubric.yaml"))
    (folder / "reward.yaml").write_text(text, encoding="utf-8")
    command = [ROOT / ".venv/bin/python", ROOT / "scripts/serve_rewards.py", "--configfile", "reward.yaml"]
    with (folder / "log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, (folder / "log").read_text(encoding="utf-8")
        yield found[0].rstrip("/")
    finally:
        server.terminate()
        server.communicate()


@pytest.fixture(autouse=True)
def where_the_server_is(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITLANE_REWARD_URL", server_url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def edits(tmp_path: Path) -> list[dict[str, Any]]:
    """Four edits as items; the last has an edited image that is none."""
    items = []
    for number in range(4):
        paths = [tmp_path / f"{name}{number}.png" for name in ("source", "edited")]
        for place, path in enumerate(paths):
            pixels = random.Random(10 * place + number).randbytes(3 * 64 * 64)
            Image.frombytes("RGB", (64, 64), pixels).save(path)
        items.append({"source": str(paths[0]), "edited": str(paths[1]), "instruction": f"edit {number}"})
    Path(items[3]["edited"]).write_bytes(b"no image")
    return items


@pytest.fixture
def wanted(server_url: str, edits: list[dict[str, Any]]) -> list[float | None]:
    """The rewards of the edits, asked for one by one."""
    client = RewardClient(server_url)
    return [client.score([edit])[0].reward for edit in edits]
