"""The table of faults of robot roll-outs: what is lost, mixed up or invented, and how long it takes to be whole again.

Two callers ask for the same tasks from states of their own; a third of the prompts names a wrong goal, so that every
right result is known.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from policy_servers import PolicyServers
from process_figures import list_descendants
from reward_server import RewardServer

pytestmark = pytest.mark.runs

WRONG = "reach 0.900 0.900 0.900"
CALLERS, ITEMS = 2, 12


class Callers:
    """Callers that ask at once, and what they got."""

    def __init__(self, server: RewardServer, callers: int = CALLERS, first: int = 0, step: int = 100) -> None:
        self.server, self.pool = server, ThreadPoolExecutor(callers)
        self.asked = [make_items(first + step * number) for number in range(callers)]
        self.began = time.monotonic()
        self.jobs = [self.pool.submit(self._ask, items) for items, _ in self.asked]

    def _ask(self, items: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        body = {"responses": [text for text, _ in items], "metas": [meta for _, meta in items]}
        until = time.monotonic() + 120
        while True:
            try:
                reply = requests.post(f"{self.server.url}/score", json=body, timeout=120)
                if reply.status_code == 200:
                    return dict(reply.json())
            except requests.ConnectionError:
                pass
            assert time.monotonic() < until
            time.sleep(0.2)

    def wait_for_work(self) -> None:
        wait_for(lambda: self.server.get("/pool_status").json()["queue"]["playing"])
        time.sleep(0.3)

    def finish(self) -> tuple[dict[str, int], list[dict[str, Any]]]:
        """Wait for the answers, and return what is wrong with them, and all trials."""
        answers = [job.result(150) for job in self.jobs]
        damage = dict.fromkeys(("lost", "doubled", "mixed", "invented"), 0)
        trials = []
        for answer, (items, right) in zip(answers, self.asked, strict=True):
            damage["lost"] += answer["done_result"].count(None)
            for item, (_, meta), wanted in zip(answer["items"], items, right, strict=True):
                (trial,) = item["trials"]
                trials.append(trial)
                damage["mixed"] += (item["task_id"], trial["init_state"]) != (meta["task_id"], meta["init_state_id"])
                damage["invented"] += item["score"] not in (None, wanted)
        return damage, trials


def make_items(first: int) -> tuple[list[tuple[str, dict[str, Any]]], list[float]]:
    items = [("" if n % 3 else WRONG, {"task_id": n % 10, "init_state_id": first + n}) for n in range(ITEMS)]
    return items, [float(n % 3 > 0) for n in range(ITEMS)]


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture
def policies() -> Iterator[PolicyServers]:
    with PolicyServers(4, delay=0.1) as servers:
        yield servers


@pytest.fixture
def server(policies: PolicyServers, tmp_path: Path) -> Iterator[RewardServer]:
    with make_server(tmp_path, policies) as started:
        yield started


def make_server(folder: Path, policies: PolicyServers, **config: Any) -> RewardServer:
    policy = {"addresses": policies.addresses, "infer_seconds": 2}
    return RewardServer(folder, simulator={"name": "reach", "count": 4}, policy=policy, **config)


@pytest.fixture
def tell(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """Put a line into the table, and fail unless there is no damage."""

    def add(fault: str, damage: dict[str, int], detected: float | None, recovered: float | None) -> None:
        record_property(
            "fault", {"fault": fault, "detected": detected, "recovered": recovered, "damage": damage, "unseen": []}
        )
        assert not any(damage.values()), damage

    return add


def see(server: RewardServer, port: int) -> dict[str, Any]:
    """What the pool says of a policy server."""
    servers = server.get("/pool_status").json()["servers"]
    return dict(next(one for one in servers if one["port"] == port))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_of_four_policy_servers(server: RewardServer, policies: PolicyServers, tell: Any, number: int) -> None:
    victim = policies.all[1]
    callers = Callers(server)
    callers.wait_for_work()
    victim.signal(number)
    began = time.monotonic()
    wait_for(lambda: see(server, victim.port)["failures"])
    detected = time.monotonic() - began
    damage, trials = callers.finish()
    assert sum(trial["retries"] for trial in trials) >= 1
    if number == signal.SIGKILL:
        victim.wait()
        began = time.monotonic()
        victim.start()
    else:
        began = time.monotonic()
        victim.signal(signal.SIGCONT)
    served = see(server, victim.port)["served"]
    again = Callers(server, first=1000)
    wait_for(lambda: see(server, victim.port)["served"] > served)
    recovered = time.monotonic() - began
    again.finish()
    tell(f"{signal.Signals(number).name} to one of four policy servers, inferring", damage, detected, recovered)


def test_all_policy_servers(server: RewardServer, policies: PolicyServers, tell: Any) -> None:
    callers = Callers(server)
    callers.wait_for_work()
    for one in policies.all:
        one.signal(signal.SIGKILL)
        one.wait()
    began = time.monotonic()
    wait_for(lambda: server.get("/ready").status_code == 503)
    detected = time.monotonic() - began
    assert server.get("/health").status_code == 200
    damage, _ = callers.finish()
    assert damage.pop("lost") > 0, "they are null, with a reason"
    for one in policies.all:
        one.start()
    began = time.monotonic()
    wait_for(lambda: server.get("/ready").status_code == 200)
    recovered = time.monotonic() - began
    again, _ = Callers(server, first=1000).finish()
    tell("SIGKILL to all policy servers; nulls, then asked again", again | damage, detected, recovered)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_simulator(policies: PolicyServers, tmp_path: Path, tell: Any, number: int) -> None:
    simulator = {"name": "reach", "count": 4, "step_seconds": 2, "reset_seconds": 5}
    policy = {"addresses": policies.addresses, "infer_seconds": 5}
    with RewardServer(tmp_path, simulator=simulator, policy=policy) as server:
        callers = Callers(server)
        callers.wait_for_work()
        processes = server.get("/pool_status").json()["simulators"]["processes"]
        pid = next(one["pid"] for one in processes if one["pid"])
        for child in (*list_descendants(pid), pid):
            os.kill(child, number)
        began = time.monotonic()
        wait_for(lambda: sum(one["ends"] for one in server.get("/pool_status").json()["simulators"]["processes"]), 60)
        detected = time.monotonic() - began
        damage, trials = callers.finish()
        recovered = time.monotonic() - began
        assert max(trial["attempts"] for trial in trials) == 2
    tell(f"{signal.Signals(number).name} to a simulator at play", damage, detected, recovered)


def test_the_reward_server(policies: PolicyServers, tmp_path: Path, tell: Any) -> None:
    server = make_server(tmp_path, policies).start()
    port = int(server.url.rsplit(":", 1)[1])
    first = Callers(server, callers=1)
    first.finish()
    known = server.get("/pool_status").json()["known_episodes"]
    callers = Callers(server)
    callers.wait_for_work()
    server.process.kill()
    server.process.wait()
    began = time.monotonic()
    with make_server(tmp_path, policies, port=port) as again:
        recovered = time.monotonic() - began
        damage, trials = callers.finish()
        assert sum(trial["cached"] for trial in trials) >= known > 0
        assert not again.get("/pool_status").json()["queue"]["episodes"]
    tell("SIGKILL to the reward server; callers ask again", damage, None, recovered)


def test_three_requests_with_the_same_ids_at_once(server: RewardServer, tell: Any) -> None:
    callers = Callers(server, callers=3, step=0)
    damage, _ = callers.finish()
    episodes = sum(one["episodes"] for one in server.get("/pool_status").json()["simulators"]["processes"])
    damage["doubled"] = episodes - ITEMS - 1  # the one that the server begins with
    tell("three requests of 12 items with the same ids at once", damage, None, time.monotonic() - callers.began)


def test_health_answers_while_everything_is_busy(server: RewardServer) -> None:
    callers, seconds, stop = Callers(server), list[float](), threading.Event()
    while not all(job.done() for job in callers.jobs):
        began = time.monotonic()
        assert server.get("/health").status_code == 200
        seconds.append(time.monotonic() - began)
        stop.wait(0.05)
    callers.finish()
    assert len(seconds) > 10
