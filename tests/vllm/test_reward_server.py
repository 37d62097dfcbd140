"""A reward server whose workers run vLLM: the scores of the transformers engine, and no process left behind.

make test-vllm
"""

import io
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from reward_server import RewardServer
from rewards import CATEGORIES, to_json

from editlane.models.tiny import build_tiny_model

pytest.importorskip("vllm", reason="vLLM is not installed here; `make test-vllm` does it in a venv of its own")
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]

ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


def draw(seed: int) -> bytes:
    encoded = io.BytesIO()
    Image.frombytes("RGB", (96, 64), random.Random(seed).randbytes(3 * 96 * 64)).save(encoded, "PNG")
    return encoded.getvalue()


def make_edits(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(number),
            "source": draw(number),
            "edited": draw(number + 100),
            "instruction": f"把第 {number} 个移开",
            "category": CATEGORIES[number % 5],
        }
        for number in range(count)
    ]


def make_judge(model: Path, engine: str, **params: Any) -> dict[str, Any]:
    settings = {"adapter": "qwen3-vl", "engine": engine, "model": str(model)}
    return settings | {"protocol": "resources/protocols/rubric.yaml", "params": {"max_image_side": 256} | params}


def score(server: RewardServer, edits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    response = server.post("/v1/score", json=to_json(edits), timeout=300)
    assert response.status_code == 200, response.text
    return list(response.json()["items"])


def start(folder: Path, judge: dict[str, Any]) -> RewardServer:
    return RewardServer(folder, judges={"q": judge}, environment=ENVIRONMENT, start_seconds=300).start()


def test_a_worker_on_vllm_scores_as_one_on_transformers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    build_tiny_model("qwen3-vl", tmp_path / "模型")
    edits = make_edits(12)
    plain = start(tmp_path / "a", make_judge(tmp_path / "模型", "transformers"))
    wanted = score(plain, edits)
    plain.stop()
    server = start(tmp_path / "b", make_judge(tmp_path / "模型", "vllm", max_model_len=4096))
    try:
        found = score(server, edits)
        assert [one["state"] for one in found] == [one["state"] for one in wanted]
        assert "scored" in {one["state"] for one in found}
        pairs = [(one["score"], other["score"]) for one, other in zip(found, wanted, strict=True) if other["score"]]
        assert all(one == pytest.approx(other, abs=0.02) for one, other in pairs)
        worker = server.get("/pool_status").json()["workers"][0]
        os.kill(worker["pid"], signal.SIGKILL)
        again = score(server, make_edits(14)[12:])  # waits for the next worker
        assert {one["state"] for one in again} <= {"scored", "judge_unreadable"}
        group = server.get("/pool_status").json()["workers"][0]["pid"]
        server.process.kill()
        server.process.wait(10)
        until = time.monotonic() + 5
        while in_group(group):
            assert time.monotonic() < until, "a process of the worker outlives the server"
            time.sleep(0.05)
    finally:
        server.stop()


def in_group(group: int) -> list[str]:
    """Return the processes of a process group, zombies left out."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            found.append(stat.parent.name)
    return found
