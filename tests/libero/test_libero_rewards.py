"""Rewards of real LIBERO over POST /score: an expert, noise, real pi0 code, and servers that die in the middle."""

import ctypes.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from policy_servers import PolicyServers
from process_figures import list_descendants
from reward_server import RewardServer

PYTHON = Path(__file__).parents[2] / ".venv-libero/bin/python"
RENDERERS = [name for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")) if ctypes.util.find_library(library)]

pytestmark = [
    pytest.mark.libero,
    pytest.mark.skipif(not PYTHON.exists(), reason="LIBERO is not installed; `make test-libero` does it"),
    pytest.mark.skipif(not RENDERERS, reason="neither EGL nor OSMesa: apt-get install libegl1 libegl-mesa0"),
]

SOLVED = [("libero_object", 0), ("libero_object", 1), ("libero_spatial", 0), ("libero_spatial", 3)]
UNKNOWN = ("libero_nowhere", 0)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[PolicyServers], RewardServer]]:
    begun: list[RewardServer] = []

    def begin(policies: PolicyServers) -> RewardServer:
        simulator = {"name": "libero", "python": str(PYTHON), "count": 2, "renderer": RENDERERS[0]}
        environment = {"CUDA_VISIBLE_DEVICES": ""}
        server = RewardServer(
            tmp_path,
            environment=environment,
            start_seconds=240,
            simulator=simulator,
            policy={"addresses": policies.addresses},
        )
        begun.append(server)
        return server.start()

    yield begin
    for server in begun:
        server.stop()


def ask(server: RewardServer, tasks: list[tuple[str, int]], **more: Any) -> dict[str, Any]:
    metas = [{"suite": suite, "task_id": number} for suite, number in tasks]
    reply = server.post("/score", json={"responses": [""] * len(tasks), "metas": metas} | more, timeout=900)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def list_playing(server: RewardServer) -> list[int]:
    return [one["pid"] for one in server.get("/pool_status").json()["simulators"]["processes"] if one["pid"]]


def wait_for_answers(server: RewardServer, count: int) -> None:
    until = time.monotonic() + 300
    while sum(one["served"] for one in server.get("/pool_status").json()["servers"]) < count:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_an_expert_is_rewarded_although_a_policy_server_and_a_simulator_die(
    serve: Callable[[PolicyServers], RewardServer],
) -> None:
    with PolicyServers(2, "expert") as policies:
        server = serve(policies)
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, server, [*SOLVED, UNKNOWN])
            wait_for_answers(server, 8)
            policies.all[0].signal(signal.SIGKILL)
            wait_for_answers(server, 16)
            for pid in list_descendants(list_playing(server)[0]):
                os.kill(pid, signal.SIGKILL)
            answer = asking.result()
        assert answer["done_result"] == [1.0, 1.0, 1.0, 1.0, None]
        assert answer["errors"][4]["kind"] == "unknown_task"
        trials = [item["trials"][0] for item in answer["items"][:4]]
        assert sum(trial["retries"] for trial in trials) >= 1
        assert max(trial["attempts"] for trial in trials) == 2
        assert all(trial["versions"]["mujoco"] == "3.3.2" for trial in trials)
        assert {trial["versions"]["MUJOCO_GL"] for trial in trials} == {RENDERERS[0]}
        again = ask(server, SOLVED)
        assert again["done_result"] == [1.0] * 4
        assert all(item["trials"][0]["cached"] for item in again["items"])


@pytest.mark.parametrize("policy", ["noise", "tiny-pi0"])
def test_a_policy_that_solves_nothing_gets_0(serve: Callable[[PolicyServers], RewardServer], policy: str) -> None:
    tasks = [("libero_object", 0), ("libero_spatial", 0)]
    with PolicyServers(1, policy) as policies:
        server = serve(policies)
        answer = ask(server, tasks if policy == "noise" else tasks[:1])
    assert answer["num_errors"] == 0
    assert set(answer["done_result"]) == {0.0}
    assert answer["items"][0]["trials"][0]["steps"] == 280
