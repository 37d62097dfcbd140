"""Several machines: reward servers in network namespaces of their own, behind one that has no worker."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from onslaught import Onslaught
from reward_server import FAKE_JUDGE, RewardServer
from rewards import make_edit, to_json

pytestmark = pytest.mark.runs

TOKEN = "a-token-of-more-than-16"
JUDGE = FAKE_JUDGE | {"params": {"batch_size": 4, "seconds": 0.02}}
PORT = 8219


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    made = subprocess.run(["ip", "netns", "add", "editlane-try"], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", "editlane-try"], capture_output=True)
    return made


@pytest.fixture
def machines() -> Iterator[dict[str, str]]:
    """Two network namespaces, by their addresses as this one sees them."""
    if not can_make_namespaces():
        pytest.skip("needs root and network namespaces")
    own = uuid4().hex[:8]  # the kernel removes those of an earlier test late
    names = {f"editlane-{own}-{number}": f"10.219.{number}" for number in (1, 2)}
    try:
        for number, (name, net) in enumerate(names.items()):
            outer, inner = f"el{own}{number}", f"in{number}"
            ip("netns", "add", name)
            ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
            ip("addr", "add", f"{net}.1/24", "dev", outer)
            ip("link", "set", outer, "up")
            ip("-n", name, "addr", "add", f"{net}.2/24", "dev", inner)
            ip("-n", name, "link", "set", inner, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield {name: f"{net}.2" for name, net in names.items()}
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def cluster(machines: dict[str, str], tmp_path: Path) -> Iterator[tuple[RewardServer, list[RewardServer]]]:
    """A server without workers, and two others on other machines that judge for it."""
    servers = []
    try:
        for name, address in machines.items():
            servers.append(
                RewardServer(
                    tmp_path / name,
                    prefix=["ip", "netns", "exec", name],
                    token=TOKEN,
                    judges={"fake": JUDGE},
                    workers=1,
                    host=address,
                    port=PORT,
                )
            )
        backends = [{"url": f"http://{address}:{PORT}", "token_env": "NODES"} for address in machines.values()]
        for server in servers:
            server.start()
        front = RewardServer(
            tmp_path / "front", environment={"NODES": TOKEN}, judges={"fake": JUDGE}, workers=0, backends=backends
        )
        servers.append(front)
        until = time.monotonic() + 20
        front.start()
        while front.get("/pool_status").json()["available_clients"] < 2:
            assert time.monotonic() < until, front.stderr
            time.sleep(0.1)
        yield front, servers[:2]
    finally:
        for server in reversed(servers):
            server.stop()


def has_lost(onslaught: Onslaught) -> Callable[[], bool]:
    return lambda: onslaught.workers()[0]["state"] != "ready"


def test_a_machine_dies_under_load(
    cluster: tuple[RewardServer, list[RewardServer]], record_property: Callable[[str, Any], None]
) -> None:
    front, (first, second) = cluster
    onslaught = Onslaught(front, record_property)
    onslaught.strike_under_load(range(240), first.kill, has_lost(onslaught))
    assert not onslaught.failures() and not onslaught.refused
    assert second.get("/pool_status").json()["known_scores"] > 100
    onslaught.ask_all(range(240))
    onslaught.finish("one of two machines dies under load")


def test_a_cable_is_pulled_under_load(
    cluster: tuple[RewardServer, list[RewardServer]],
    machines: dict[str, str],
    record_property: Callable[[str, Any], None],
) -> None:
    front, _ = cluster
    onslaught = Onslaught(front, record_property)
    name = next(iter(machines))
    onslaught.strike_under_load(range(240), lambda: ip("-n", name, "link", "set", "in0", "down"), has_lost(onslaught))
    assert not onslaught.failures() and onslaught.slowest < 30
    ip("-n", name, "link", "set", "in0", "up")
    onslaught.wait_until_noticed(lambda: onslaught.workers()[0]["state"] == "ready")
    onslaught.finish("the network of one of two machines is cut under load, and comes back")


def test_a_machine_that_stands_still_and_one_that_goes_down_in_good_order(
    cluster: tuple[RewardServer, list[RewardServer]], record_property: Callable[[str, Any], None]
) -> None:
    front, (first, second) = cluster
    onslaught = Onslaught(front, record_property)
    onslaught.strike_under_load(range(240), lambda: os.kill(first.process.pid, signal.SIGSTOP), has_lost(onslaught))
    assert not onslaught.failures() and onslaught.slowest < 30
    os.kill(first.process.pid, signal.SIGCONT)
    onslaught.wait_until_noticed(lambda: onslaught.workers()[0]["state"] == "ready")
    load = threading.Thread(target=onslaught.ask_all, args=(range(1000, 1200),))
    load.start()
    time.sleep(0.5)
    second.process.terminate()
    load.join()
    assert not onslaught.failures()
    onslaught.finish("one machine stands still, the other one is drained (SIGTERM) under load")


def test_a_machine_with_another_judge_is_not_asked(tmp_path: Path) -> None:
    other = JUDGE | {"params": {"batch_size": 4, "behaviour": "constant"}}
    with RewardServer(tmp_path / "other", judges={"fake": other}) as node:
        front = RewardServer(tmp_path / "front", judges={"fake": JUDGE}, workers=0, backends=[{"url": node.url}])
        front.start(ready=False)
        until = time.monotonic() + 10
        while not (error := front.get("/pool_status").json()["workers"][0]["error"]):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert "other settings" in error
        assert front.post("/v1/score", json=to_json([make_edit(1)])).status_code == 503
        front.stop()
