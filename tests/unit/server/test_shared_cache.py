"""Servers that share their scores through a real Redis, and what happens when that dies, hangs or lies."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from reward_server import RewardServer
from rewards import audit, make_edit, to_json

REDIS = shutil.which("redis-server")

pytestmark = pytest.mark.skipif(REDIS is None, reason="needs redis-server")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address and the process of a Redis with a password."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(REDIS), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "geheim"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
    yield f"redis://127.0.0.1:{port}/0", process
    process.kill()
    process.wait()


def start(folder: Path, address: str) -> RewardServer:
    store = {"redis": address, "redis_password_env": "REDIS_PASSWORD"}
    return RewardServer(folder, environment={"REDIS_PASSWORD": "geheim"}, store=store)


def ask(server: RewardServer, numbers: range) -> list[bool]:
    """Return which answers came from a store."""
    edits = [make_edit(number) for number in numbers]
    response = server.post("/v1/score", json=to_json(edits))
    answers = response.json()["items"]
    assert not +audit(edits, answers)
    assert all(one["score"] is not None for one in answers)
    return [one["cached"] for one in answers]


@pytest.mark.runs
def test_what_one_server_scored_another_one_knows(redis: tuple[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    address, process = redis
    with start(tmp_path / "一", address) as first, start(tmp_path / "二", address) as second:
        assert ask(first, range(10)) == [False] * 10
        until = time.monotonic() + 10
        while not all(ask(second, range(9, 10))):
            assert time.monotonic() < until
        assert ask(second, range(10)) == [True] * 10

        os.kill(process.pid, signal.SIGSTOP)
        started = time.monotonic()
        assert ask(first, range(20, 30)) == [False] * 10
        assert ask(first, range(30, 40)) == [False] * 10
        assert time.monotonic() - started < 10
        os.kill(process.pid, signal.SIGCONT)
        process.kill()
        process.wait()
        assert ask(second, range(50, 60)) == [False] * 10
        assert ask(second, range(10)) == [True] * 10, "taken over into its own store"
        assert "geheim" not in first.stderr + second.stderr
        assert 'editlane_store_errors_total{where="redis"}' in first.get("/metrics").text


@pytest.mark.runs
def test_nonsense_in_the_cache_is_no_score(redis: tuple[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    address, _ = redis
    from redis import Redis

    cache = Redis.from_url(address, password="geheim")
    with start(tmp_path / "一", address) as first:
        ask(first, range(3))
        until = time.monotonic() + 10
        while len(cache.keys("editlane:score:*")) < 3:
            assert time.monotonic() < until
        lies = (b"x", b'{"state": "scored", "score": 99, "error_kind": null, "error": null}', b'{"score": 5}')
        for key, lie in zip(cache.keys("editlane:score:*"), lies, strict=True):
            cache.set(key, lie)
    cache.close()
    with start(tmp_path / "二", address) as second:
        assert ask(second, range(3)) == [False] * 3
