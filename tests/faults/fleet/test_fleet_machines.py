"""A fleet of two machines: two supervisors in network namespaces of their own, linked by a cable, one router."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from fleet_files import make_adapter
from fleet_run import FleetRun, Load

pytestmark = pytest.mark.runs

TOKEN = "a-token-of-more-than-16"
HOSTS = {"a": "10.221.2.1", "b": "10.221.2.2"}


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Machines:
    """Namespaces a and b, linked by a cable; this one reaches a alone."""

    def __init__(self) -> None:
        own = uuid4().hex[:8]
        self.names = {node: f"fleet-{own}-{node}" for node in HOSTS}
        outer = f"fl{own}"
        try:
            for name in self.names.values():
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip("link", "add", outer, "type", "veth", "peer", "name", "out", "netns", self.names["a"])
            ip(
                "-n",
                self.names["a"],
                "link",
                "add",
                "cable",
                "type",
                "veth",
                "peer",
                "name",
                "cable",
                "netns",
                self.names["b"],
            )
            ip("addr", "add", "10.221.1.1/24", "dev", outer)
            ip("link", "set", outer, "up")
            ip("-n", self.names["a"], "addr", "add", "10.221.1.2/24", "dev", "out")
            ip("-n", self.names["a"], "link", "set", "out", "up")
            for node, host in HOSTS.items():
                ip("-n", self.names[node], "addr", "add", f"{host}/24", "dev", "cable")
                ip("-n", self.names[node], "link", "set", "cable", "up")
            ip("route", "add", f"{HOSTS['a']}/32", "via", "10.221.1.2", "dev", outer)
        except BaseException:
            self.remove()
            raise

    def set_cable(self, state: str) -> None:
        ip("-n", self.names["b"], "link", "set", "cable", state)

    def remove(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def machines() -> Iterator[Machines]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and network namespaces")
    try:
        made = Machines()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr!r}")
    yield made
    made.remove()


Nodes = dict[str, FleetRun]


@pytest.fixture
def make_nodes(machines: Machines, tmp_path: Path) -> Iterator[Callable[..., Nodes]]:
    """`make_nodes(**config)`: a has the router, b only servers; both share the folder and its config."""
    nodes: Nodes = {}

    def make(*, start: bool = True, **config: object) -> Nodes:
        environment = {"FLEET_TOKEN": TOKEN, "VLLM_DOUBLE_SECONDS": "0.05"}
        for node in HOSTS:
            run = FleetRun(
                tmp_path, environment=environment | {"GPULEASE_DIR": str(tmp_path / f"leases-{node}")}, **config
            )
            run.node, run.prefix = node, ["ip", "netns", "exec", machines.names[node]]
            run.headers = {"Authorization": f"Bearer {TOKEN}"}
            nodes[node] = run
        nodes["a"].config |= {"host": HOSTS["a"], "token_env": "FLEET_TOKEN"}
        nodes["b"].config = nodes["a"].config
        nodes["a"].write_config()
        if start:
            start_node(nodes, "a")
            start_node(nodes, "b")
            nodes["a"].wait(lambda: len(nodes["a"].routed()) == 4)
        return nodes

    yield make
    for run in nodes.values():
        run.stop()


def start_node(nodes: Nodes, node: str) -> None:
    nodes[node].start(*([] if node == "a" else ["--no-router", "--host", HOSTS[node]]))


def load_both(nodes: Nodes) -> Load:
    """Load through the router of a that reaches the servers of both machines."""
    load = Load(nodes["a"], ["严格", "kind", "base"])
    began = {node: counts_of(run) for node, run in nodes.items()}
    for node, run in nodes.items():
        run.wait(lambda run=run, node=node: counts_of(run) > began[node] + 30)
    return load


def hosts_of(urls: list[str]) -> set[str]:
    return {url.rpartition("/")[2].partition(":")[0] for url in urls}


def kill_machine(run: FleetRun) -> None:
    """What a power cut does: every process at once."""
    assert run.process is not None
    for pid in [run.process.pid, *run.pids()]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.process.wait()


def test_a_machine_dies_under_load_and_comes_back(make_nodes: Callable[..., Nodes]) -> None:
    nodes = make_nodes(affinity="none")
    a, b = nodes["a"], nodes["b"]
    load = load_both(nodes)
    began = time.monotonic()
    kill_machine(b)
    a.wait(lambda: hosts_of(a.routed()) == {HOSTS["a"]})
    noticed = time.monotonic() - began
    load.wait_for(40)
    began = time.monotonic()
    start_node(nodes, "b")
    a.wait(lambda: len(a.routed()) == 4)
    back = time.monotonic() - began
    before = counts_of(b)
    load.wait_for(200)
    b.wait(lambda: counts_of(b) > before)
    assert set(load.end()) == {200}, load.statuses
    print(f"a machine dies: noticed after {noticed:.1f} s, slowest answer {load.slowest:.1f} s, back {back:.1f} s")


def counts_of(run: FleetRun) -> int:
    return sum(one["requests"] for one in run.state()["servers"])


def test_a_cable_is_cut_under_load_and_put_back(make_nodes: Callable[..., Nodes], machines: Machines) -> None:
    nodes = make_nodes(affinity="none", request_seconds=3)
    a, load = nodes["a"], load_both(nodes)
    began = time.monotonic()
    machines.set_cable("down")
    a.wait(lambda: hosts_of(a.routed()) == {HOSTS["a"]})
    noticed = time.monotonic() - began
    load.wait_for(40)
    machines.set_cable("up")
    began = time.monotonic()
    a.wait(lambda: len(a.routed()) == 4)
    back = time.monotonic() - began
    load.wait_for(40)
    assert set(load.end()) == {200}, load.statuses
    assert load.slowest < 20
    print(f"a cable is cut: noticed after {noticed:.1f} s, slowest answer {load.slowest:.1f} s, back {back:.1f} s")


def test_a_machine_that_cannot_be_reached_keeps_the_router_from_no_other(
    make_nodes: Callable[..., Nodes], machines: Machines
) -> None:
    nodes = make_nodes(start=False)
    a, b = nodes["a"], nodes["b"]
    machines.set_cable("down")
    start_node(nodes, "b")
    b.wait(lambda: b.states() == ["ready", "ready"])
    start_node(nodes, "a")
    a.wait(lambda: hosts_of(a.routed()) == {HOSTS["a"]})
    until = time.monotonic() + 18  # longer than a router may be silent
    while time.monotonic() < until:
        assert a.ask("kind")[0] == 200
        time.sleep(0.2)
    assert "does not answer here. Is its port closed?" in a.log()
    assert "the router answered nothing" not in a.log()
    machines.set_cable("up")
    a.wait(lambda: len(a.routed()) == 4)


def test_the_programs_from_one_machine_are_about_all(make_nodes: Callable[..., Nodes], tmp_path: Path) -> None:
    nodes = make_nodes()
    a, b = nodes["a"], nodes["b"]
    for run in (a, b):
        shown = json.loads(run.run("status", "--json").stdout)
        assert shown["ready"] is True
        assert [(one["node"], one["number"]) for one in shown["servers"]] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
        health = run.run("health")
        assert health.returncode == 0, health.stdout + health.stderr
        named = [line.partition(": healthy")[0] for line in health.stdout.splitlines()]
        assert sorted(named) == ["a/0", "a/1", "a/router", "b/0", "b/1"]
    refused = a.run("up")
    assert refused.returncode == 2 and "is up on a already" in refused.stderr
    make_adapter(tmp_path / "third", 7)
    added = a.run("adapters", "add", "third", "third")
    assert added.returncode == 0, added.stderr
    assert added.stdout.count("`third` now means it") == 2
    published = a.state()["published"]["third"]
    ports = [(host, a.config["base_port"] + number) for host in HOSTS.values() for number in (0, 1)]
    for host, port in ports:
        words = [*a.prefix, "curl", "-s", "-H", f"Authorization: Bearer {TOKEN}", f"http://{host}:{port}/v1/models"]
        listed = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        assert {"third", published} <= {one["id"] for one in listed["data"]}
    assert a.run("smoke").stdout.count("every name acts for itself") == 4
    idle = make_adapter(tmp_path / "idle", 8, acts=False)
    failed = a.run("adapters", "add", "idle", str(idle))
    assert failed.returncode == 2 and "changes nothing" in failed.stderr
    assert "idle" not in a.state()["published"] and "idle" not in b.state()["published"]


def test_a_machine_that_lacks_an_adapter_is_not_asked(make_nodes: Callable[..., Nodes], tmp_path: Path) -> None:
    """It comes back with those of the config alone; asked for another one, it would answer 404."""
    nodes = make_nodes()
    a, b = nodes["a"], nodes["b"]
    third = make_adapter(tmp_path / "third", 7)
    assert a.run("adapters", "add", "third", str(third)).returncode == 0
    load = Load(a, ["third", a.state()["published"]["third"], "kind"])
    kill_machine(b)
    start_node(nodes, "b")
    a.wait(lambda: "b/1 gets no requests from here as long as it lacks third@" in a.log())
    b.wait(lambda: b.states() == ["ready", "ready"])
    load.wait_for(100)
    assert hosts_of(a.routed()) == {HOSTS["a"]}
    added = a.run("adapters", "add", "third", str(third))
    assert "is served already" in added.stdout and "now means it" in added.stdout
    a.wait(lambda: len(a.routed()) == 4)
    load.wait_for(100)
    assert set(load.end()) == {200}


def test_nothing_passes_without_the_token(make_nodes: Callable[..., Nodes]) -> None:
    a = make_nodes()["a"]
    for headers in ({}, {"Authorization": "Bearer another-one-of-16"}):
        assert a.ask("kind", headers=headers)[0] == 401
        for method, path in (
            ("GET", "list_workers"),
            ("POST", "add_worker?url=http%3A%2F%2F10.0.0.1%3A1"),
            ("POST", "remove_worker?url=x"),
            ("POST", "workers"),
            ("GET", "workers"),
            ("DELETE", "workers/x"),
            ("POST", "v1/load_lora_adapter"),
        ):
            # A router that refuses a body unread closes the connection, maybe only while the next request is sent.
            closing = headers | {"Connection": "close"}
            body = {"url": "http://10.0.0.1:1"}
            reply = a.pool.request(method, f"{a.url}/{path}", json=body, headers=closing, timeout=10)
            assert reply.status == 401, path
    assert a.ask("kind")[0] == 200
    assert len(a.routed()) == 4


def test_hard_groups_have_servers_on_both_machines(make_nodes: Callable[..., Nodes]) -> None:
    groups = {"A": ["严格"], "B": ["kind"]}
    nodes = make_nodes(start=False, affinity="hard", groups=groups, serve_base=False)
    a, b = nodes["a"], nodes["b"]
    start_node(nodes, "a")
    start_node(nodes, "b")
    for place in (0, 1):
        a.config["port"] -= place
        a.wait(lambda: len(a.routed()) == 2 and hosts_of(a.routed()) == set(HOSTS.values()))
        model, other = ("严格", "kind")[:: 1 - 2 * place]
        assert [a.ask(model)[0] for _ in range(8)] == [200] * 8
        assert a.ask(other)[0] == 404
    b.wait(lambda: all(one["requests"] for one in b.state()["servers"]))


def test_no_router_needs_an_address_that_others_reach(make_nodes: Callable[..., Nodes]) -> None:
    b = make_nodes(start=False)["b"]
    for host in ("127.0.0.1", "0.0.0.0"):
        done = b.run("up", "--no-router", "--host", host)
        assert done.returncode == 2
        assert f"config: `host: {host}` is no address at which the router of another machine could ask" in done.stderr
