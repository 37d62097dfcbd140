"""What a fleet refuses, or waits for: ports and GPUs that others have, and mistakes in its config."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fleet_run import ROOT, FleetRun

Make = Callable[..., FleetRun]


def refuse(fleet: FleetRun, *words: str) -> str:
    """The one paragraph with which `up` is refused."""
    done = fleet.run(*(words or ("up",)))
    assert done.returncode == 2, done.stderr + done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert not fleet.pids() and not fleet.states()
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"affinty": "soft"}, r"fleet.yaml: .*`?affinty`?.*config/fleet.md describes every key"),
        ({"groups": {"A": ["strict"]}}, r"groups name 'strict', which is not among the `adapters`"),
        ({"groups": {"A": ["kind"], "B": ["kind"]}}, r"'kind' is in two groups"),
        ({"affinity": "hard"}, r"`affinity: hard` gives each of the `groups` its own servers, but .* has none"),
        ({"affinity": "hard", "groups": {"A": ["kind"], "B": ["严格"]}, "servers": 1}, r"needs a server for each"),
        ({"servers": 9}, r"`servers: 9`, but this machine offers 8: 0, 1, 2"),
        ({"servers": 0}, r"servers.*0"),
        ({"adapters": {"kind": "nowhere"}}, r"The adapter kind in nowhere is missing"),
        ({"model": "nowhere"}, r"nowhere"),
        ({"token_env": "FLEET_TOKEN_UNSET"}, r"FLEET_TOKEN_UNSET holds no token of 16 characters or more"),
        ({"host": "0.0.0.0"}, r"host is 0.0.0.0, so that others can reach the server, but there is no token"),
        ({"port": 70000}, r"port.*70000"),
        ({"port": 65000, "base_port": 65000}, r"port 65000 would be used twice"),
        ({"base_port": 65535}, r"would need port 65536, which there is not"),
        ({"fleet": "../up"}, r"fleet.*\.\./up"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_config_is_one_paragraph(make_fleet: Make, change: dict[str, Any], reason: str) -> None:
    fleet = make_fleet()
    os.environ.pop("FLEET_TOKEN_UNSET", None)
    fleet.config |= change
    fleet.write_config()
    assert re.search(reason, refuse(fleet))


def test_other_programs_refuse_the_same_config(make_fleet: Make) -> None:
    fleet = make_fleet(affinty="soft")
    for words in (("status",), ("health",), ("down",), ("drain", "0"), ("adapters", "remove", "kind")):
        assert "affinty" in refuse(fleet, *words)


def listen(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    one.listen()
    return one


@pytest.mark.parametrize(
    ("key", "whose"),
    [
        ("port", "a router"),
        pytest.param("base_port", "a server", marks=pytest.mark.runs),
        pytest.param("metrics_port", "metrics", marks=pytest.mark.runs),
    ],
)
def test_a_port_that_another_program_has_refuses_the_start(make_fleet: Make, key: str, whose: str) -> None:
    fleet = make_fleet()
    with closing(listen(fleet.config[key])):
        said = refuse(fleet)
        assert f"Port {fleet.config[key]} is wanted for {whose} (`{key}`)" in said
        assert f"ss -ltnp sport = :{fleet.config[key]}" in said
    assert fleet.run("up", "--detach").returncode == 0
    assert fleet.run("down").returncode == 0


@pytest.mark.runs
def test_a_port_that_is_taken_while_its_server_is_down(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    port = fleet.config["base_port"] + 1
    pid = fleet.server_pid(1)
    os.kill(pid, 9)
    fleet.wait(lambda: fleet.states()[1] == "resting")
    with closing(listen(port)):
        fleet.wait(lambda: f"port {port} is taken by another program" in fleet.state()["servers"][1]["error"])
        assert fleet.states() == ["ready", "resting"]
        assert [fleet.ask("kind")[0] for _ in range(5)] == [200] * 5
        shown = fleet.run("status")
        assert shown.returncode == 1 and "resting" in shown.stdout
        health = fleet.run("health")
        assert health.returncode == 1 and f"port {port} is taken" in health.stdout
    fleet.wait_ready()
    assert fleet.run("health").returncode == 0


@pytest.mark.runs
def test_a_gpu_that_a_lane_has_is_waited_for(make_fleet: Make) -> None:
    fleet = make_fleet(environment={"CUDA_VISIBLE_DEVICES": "0,1"})
    lease = [sys.executable, str(ROOT / "scripts/gpulease.py"), "--", "sleep", "1000"]
    lane = subprocess.Popen(lease, env=fleet.environment)
    try:
        fleet.wait(lambda: fleet.held_leases() == 1)
        fleet.start()
        fleet.wait(lambda: sorted(fleet.states()) == ["ready", "waiting"])
        fleet.wait(lambda: len(fleet.routed()) == 1)
        assert fleet.ask("kind")[0] == 200
        assert fleet.run("status").returncode == 1
    finally:
        lane.kill()
        lane.wait()
    fleet.wait_ready()
    assert {one["gpu"] for one in fleet.state()["servers"]} == {"0", "1"}
    assert fleet.held_leases() == 2


def test_a_machine_without_vllm_is_told_what_to_install(make_fleet: Make, tmp_path: Path) -> None:
    said = refuse(make_fleet(environment={"PYTHONPATH": str(tmp_path)}))
    assert "has no vLLM. On a machine with GPUs, install what envs/fleet.yaml lists" in said
