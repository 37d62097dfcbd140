"""openpi's own client and server, as they are on PyPI, against ours."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from editlane.robots.addresses import PolicyAddress
from editlane.robots.policy_pool import PolicyPool, PoolLimits
from editlane.robots.replies import PolicyFailed

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-libero/openpi/bin/python"
HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.libero,
    pytest.mark.skipif(not PYTHON.exists(), reason="openpi's client is not installed; `make test-libero` does it"),
]

LIMITS = PoolLimits(connect_seconds=10, infer_seconds=10)


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    """`start(*command)` starts a server that prints its port, and returns that once somebody listens."""
    started: list[subprocess.Popen[str]] = []

    def begin(*command: Any) -> int:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        started.append(process)
        assert process.stdout is not None
        port = int(process.stdout.readline().rsplit(":", 1)[-1].strip().rstrip("/"))
        wait_for_port(process, port)
        return port

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for_port(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not listen")


def find_unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


def test_openpis_client_asks_our_server(start: Callable[..., int]) -> None:
    port = start(sys.executable, ROOT / "scripts/serve_policy.py", "--policy", "reach", "--port", "0")
    done = subprocess.run([PYTHON, HERE / "openpi_ask.py", str(port)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["metadata"] == {"policy": "reach", "action_dim": 7, "action_horizon": 5}
    for number, reply in enumerate(told["replies"]):
        assert (reply["shape"], reply["dtype"]) == ([5, 7], "float32")
        assert {"actions", "server_timing"} <= set(reply["keys"])
        assert reply["timing"] == (["infer_ms", "prev_total_ms"] if number else ["infer_ms"])
        assert np.allclose(reply["first"], [0.05, -0.05, 0, 0, 0, 0, -1], atol=1e-6)
    assert told["error"] == "RuntimeError: Error in inference server:\nKeyError: 'observation/state'"
    assert told["afterwards"].startswith("ConnectionClosedError: received 1011 (internal error) Internal server error.")
    assert told["connected again"] == told["replies"][0]["first"]


def run(ports: list[int], body: Callable[[PolicyPool], Awaitable[None]]) -> None:
    """Run the body with a pool of these servers and of one that is down."""

    async def inner() -> None:
        down = PolicyAddress("127.0.0.1", find_unused_port())
        pool = PolicyPool([down, *(PolicyAddress("127.0.0.1", port) for port in ports)], LIMITS)
        try:
            assert await pool.open() == {"env": "LIBERO"}
            await body(pool)
            gone, *there = pool.describe()["servers"]
            assert gone["failures"] and not gone["served"]
            assert [server["state"] for server in there] == ["idle"] * len(ports)
        finally:
            await pool.close()

    asyncio.run(inner())


async def ask(pool: PolicyPool, number: int, prompt: str = "x") -> None:
    """Ask with a state of one number, and check that the answer is to it."""
    picture = np.zeros((224, 224, 3), np.uint8)
    observation = {"observation/image": picture, "observation/wrist_image": picture, "prompt": prompt}
    reply = await pool.infer(observation | {"observation/state": np.full(8, float(number))}, time.monotonic() + 20)
    assert reply.actions.shape == (10, 7) and (reply.actions == number).all()


@pytest.fixture
def servers(start: Callable[..., int]) -> list[int]:
    """Two of openpi's servers."""
    return [start(PYTHON, HERE / "openpi_serve.py") for _ in range(2)]


def test_openpis_servers_answer_our_pool(servers: list[int]) -> None:
    async def body(pool: PolicyPool) -> None:
        await asyncio.gather(*(ask(pool, number) for number in range(40)))
        assert sum(server["served"] for server in pool.describe()["servers"]) == 40
        assert all(server["served"] for server in pool.describe()["servers"][1:])

    run(servers, body)


def test_an_exception_of_openpis_server_is_a_refusal_and_the_next_request_works(servers: list[int]) -> None:
    async def body(pool: PolicyPool) -> None:
        with pytest.raises(PolicyFailed, match="boom") as raised:
            await ask(pool, 1, "boom")
        assert raised.value.kind == "policy_refused"
        await asyncio.gather(*(ask(pool, number) for number in range(10)))

    run(servers, body)


def test_cancelled_requests_leave_no_answer_for_others(servers: list[int]) -> None:
    async def body(pool: PolicyPool) -> None:
        cancelled = [asyncio.create_task(ask(pool, 100 + number, "wait")) for number in range(2)]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in cancelled)
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*(ask(pool, number) for number in range(20)))

    run(servers, body)
