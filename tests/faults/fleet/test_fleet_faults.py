"""The table of a fleet's faults: what is lost under load, and how long it takes to notice and to be whole again.

Clients ask once more after a broken connection and after HTTP 500 and 503, as Editlane's do.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from fleet_run import FleetRun, name_of

pytestmark = pytest.mark.runs

Make = Callable[..., FleetRun]
MODELS = ("严格", "kind")


class Clients:
    """Clients that ask until each request has its answer."""

    def __init__(self, fleet: FleetRun, count: int = 6) -> None:
        self.fleet, self.lost, self.invented = fleet, 0, 0
        self.answers: Counter[str] = Counter()
        self._wanted = {model: fleet.text(model, "load") for model in MODELS}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            model = MODELS[turn % 2]
            turn += 1
            until = time.monotonic() + 60
            while (said := self._ask(model)) is None and time.monotonic() < until:
                time.sleep(0.2)
            self.lost += said is None
            self.invented += said not in (None, self._wanted[model])
            self.answers[model] += 1

    def _ask(self, model: str) -> str | None:
        try:
            status, body = self.fleet.ask(model, "load")
        except urllib3.exceptions.HTTPError:
            return None
        return str(body["choices"][0]["logprobs"]["top_logprobs"]) if status == 200 else None

    def go_on(self, more: int = 20) -> None:
        wanted = self.answers.total() + more
        until = time.monotonic() + 60
        while self.answers.total() < wanted:
            assert time.monotonic() < until
            time.sleep(0.02)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)


def seconds_until(condition: Callable[[], Any], seconds: float = 60) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


def router_pid(fleet: FleetRun) -> int:
    return next(pid for pid in fleet.pids() if name_of(pid).startswith("vllm::router"))


def is_whole(fleet: FleetRun) -> bool:
    return fleet.states() == ["ready", "ready"] and len(fleet.routed()) == 2


def kill_server(fleet: FleetRun) -> Callable[[], Any]:
    os.kill(fleet.server_pid(1), signal.SIGKILL)
    return lambda: fleet.states()[1] != "ready"


def stop_server(fleet: FleetRun) -> Callable[[], Any]:
    os.kill(fleet.server_pid(1), signal.SIGSTOP)
    return lambda: fleet.states()[1] != "ready"


def kill_router(fleet: FleetRun) -> Callable[[], Any]:
    old = router_pid(fleet)
    os.kill(old, signal.SIGKILL)
    return lambda: not fleet.routed()


def stop_router(fleet: FleetRun) -> Callable[[], Any]:
    old = router_pid(fleet)
    os.kill(old, signal.SIGSTOP)
    return lambda: not Path(f"/proc/{old}").exists()


def kill_supervisor(fleet: FleetRun) -> Callable[[], Any]:
    fleet.kill()
    return lambda: not fleet.pids()


@pytest.mark.parametrize(
    ("fault", "strike"),
    [
        ("a model server is killed", kill_server),
        ("a model server stands still (SIGSTOP)", stop_server),
        ("the router is killed", kill_router),
        ("the router stands still (SIGSTOP)", stop_router),
        ("the supervisor is killed, then started again", kill_supervisor),
    ],
)
def test_a_fault_loses_and_invents_nothing(
    fault: str, strike: Callable[[FleetRun], Callable[[], Any]], make_fleet: Make, record_property: Callable[..., None]
) -> None:
    fleet = make_fleet(answer_seconds=12, request_seconds=5).start().wait_ready()
    clients = Clients(fleet)
    clients.go_on()
    is_noticed = strike(fleet)
    detected = seconds_until(is_noticed)
    if strike is kill_supervisor:
        fleet.start()
        seconds_until(lambda: fleet.state().get("pid") == fleet.process.pid)
    recovered = detected + seconds_until(lambda: is_whole(fleet))
    clients.go_on()
    clients.end()
    damage = {"lost": clients.lost, "doubled": 0, "swapped": 0, "invented": clients.invented}
    record_property("fault", {"fault": fault, "detected": detected, "recovered": recovered, "damage": damage})
    assert set(damage.values()) == {0}


def test_while_the_supervisor_stands_still_the_fleet_serves(
    make_fleet: Make, record_property: Callable[..., None]
) -> None:
    fleet = make_fleet().start().wait_ready()
    assert fleet.process is not None
    clients = Clients(fleet)
    os.kill(fleet.process.pid, signal.SIGSTOP)
    clients.go_on(100)
    os.kill(fleet.process.pid, signal.SIGCONT)
    recovered = seconds_until(lambda: is_whole(fleet))
    clients.go_on()
    clients.end()
    damage = {"lost": clients.lost, "doubled": 0, "swapped": 0, "invented": clients.invented}
    fault = "the supervisor stands still (SIGSTOP), and goes on"
    record_property("fault", {"fault": fault, "detected": None, "recovered": recovered, "damage": damage})
    assert set(damage.values()) == {0}
