"""The program that starts policy servers: real supervisors, real servers, real signals."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fleet_run import name_of
from policies_run import PROGRAM, ROOT, PoliciesRun
from policy_double import observe

from editlane.robots.addresses import PolicyAddress
from editlane.robots.policy_pool import PolicyPool
from editlane.robots.replies import Reply

pytestmark = pytest.mark.runs  # each test starts servers or a browser

Make = Callable[..., PoliciesRun]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[PoliciesRun] = []

    def build(**start: Any) -> PoliciesRun:
        made.append(PoliciesRun(tmp_path / f"p{len(made)}", **start))
        return made[-1]

    yield build
    for one in made:
        one.close()


def infer(*ports: int, count: int = 1) -> tuple[Any, list[Reply]]:
    """Ask a pool of these servers so many times at once; the policy, and the replies."""

    async def ask() -> tuple[Any, list[Reply]]:
        pool = PolicyPool([PolicyAddress("127.0.0.1", port) for port in ports])
        await pool.open()
        try:
            return pool.policy, await asyncio.gather(
                *(pool.infer(observe(float(number)), time.monotonic() + 60) for number in range(count))
            )
        finally:
            await pool.close()

    return asyncio.run(ask())


def show_leases(run: PoliciesRun) -> str:
    words = [sys.executable, str(ROOT / "scripts/gpulease.py"), "--show"]
    return subprocess.run(words, env=run.environment, capture_output=True, text=True, check=True).stdout


def test_servers_come_up_each_on_a_gpu_of_its_own_and_go_down(make: Make) -> None:
    run = make()
    assert (run.run("status").returncode, run.run("down").returncode) == (2, 2)
    run.up().wait_ready()
    told = run.run("status", "--json")
    state = json.loads(told.stdout)
    assert (told.returncode, state["ready"]) == (0, True)
    assert [one["port"] for one in state["servers"]] == [run.port(0), run.port(1)]
    assert {one["gpu"] for one in state["servers"]} == {"0", "1"}
    assert show_leases(run).count("in use") == 2
    shown = run.run("status")
    assert shown.returncode == 0 and shown.stdout.count("policy reach") == 2
    policy, replies = infer(run.port(0), run.port(1), count=8)
    assert policy == state["servers"][0]["metadata"] == {"policy": "reach", "action_dim": 7, "action_horizon": 5}
    assert len({reply.server for reply in replies}) == 2
    assert (run.results / "server1.log").read_text().count("serving reach") == 1
    assert run.run("down").stdout == "The policy servers of r are down.\n"
    assert run.process is not None and run.process.wait(10) == 0
    assert not run.pids() and "in use" not in show_leases(run)
    assert "No policy server of r is up" in run.run("status").stderr


def test_a_killed_server_is_started_again(make: Make) -> None:
    run = make().up().wait_ready()
    victim, other = run.server_pid(0), run.server_pid(1)
    os.kill(victim, signal.SIGKILL)
    run.wait(lambda: run.servers()[0]["starts"] == 2)
    assert run.run("status").returncode in (0, 1)
    run.wait_ready()
    assert "ended with exit code 137" in run.servers()[0]["error"]
    assert "server 0, last error: " in run.run("status").stdout
    assert run.server_pid(1) == other and run.servers()[1]["starts"] == 1
    assert infer(run.port(0))[1]


def test_nothing_outlives_a_killed_supervisor(make: Make) -> None:
    run = make().up().wait_ready()
    assert run.process is not None and len(run.pids()) == 4  # a guard and a server for each
    run.process.kill()
    run.process.wait()
    until = time.monotonic() + 10
    while run.pids():
        assert time.monotonic() < until, [name_of(pid) for pid in run.pids()]
        time.sleep(0.05)
    assert "in use" not in show_leases(run)
    assert run.run("status").returncode == 2
    run.up().wait_ready()


def test_what_a_killed_guard_leaves_is_ended(make: Make) -> None:
    run = make(servers=1).up().wait_ready()
    server, guard = run.server_pid(0), run.servers()[0]["pid"]
    assert "guard.py" in name_of(guard)
    os.kill(guard, signal.SIGKILL)
    run.wait(lambda: run.servers()[0]["starts"] == 2)
    run.wait_ready()
    assert server not in run.pids() and len(run.pids()) == 2


def test_two_supervisors_of_one_config_refuse_each_other(make: Make) -> None:
    run = make(servers=1).up().wait_ready()
    for words in (["up"], ["up", "--detach"]):
        other = run.run(*words)
        assert other.returncode == 2 and "Traceback" not in other.stderr
        assert f"The policy servers of r are up already (process {run.process.pid})" in other.stderr  # type: ignore[union-attr]
    assert run.states() == ["ready"]


def test_a_taken_port_is_said(make: Make) -> None:
    run = make()
    with closing(socket.create_server(("127.0.0.1", run.port(1)))):
        done = run.run("up")
        assert done.returncode == 2
        assert f"Port {run.port(1)} is wanted for policy server 1 (`base_port`), but another program" in done.stderr
        detached = run.run("up", "--detach")
        assert detached.returncode == 2 and f"Port {run.port(1)} is wanted" in detached.stderr
    assert not run.pids()


def test_a_port_that_is_taken_later_is_said_by_status(make: Make) -> None:
    run = make(servers=1).up().wait_ready()
    os.kill(run.server_pid(0), signal.SIGKILL)
    run.wait(lambda: run.states() == ["resting"])
    with closing(socket.create_server(("127.0.0.1", run.port(0)))):
        run.wait(lambda: f"port {run.port(0)} is taken by another program" in run.servers()[0]["error"])
        assert run.run("status").returncode == 1
    run.wait_ready()


def test_it_runs_in_the_background(make: Make) -> None:
    run = make()
    done = run.run("up", "--detach")
    assert done.returncode == 0, done.stderr
    assert "are starting (process " in done.stdout
    run.wait_ready()
    assert "policy server 0: ready" in (run.results / "supervisor.log").read_text()
    assert run.run("down").returncode == 0
    assert not run.pids()


def test_the_end_finishes_the_observation_at_hand(make: Make) -> None:
    command = make().start["command"]
    run = make(command=[*command, "--delay", "2"], servers=1).up().wait_ready()
    replies: list[Any] = []
    client = threading.Thread(target=lambda: replies.append(infer(run.port(0))))
    client.start()
    run.wait(lambda: is_connected(run.port(0)))
    time.sleep(0.5)  # the observation is sent right after
    assert run.end() == 0
    client.join()
    assert replies[0][1][0].actions.shape == (5, 7)


def is_connected(port: int) -> bool:
    """Whether somebody has a connection to this port of the machine."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)


def test_a_server_that_answers_nothing_while_it_infers_stays(make: Make, tmp_path: Path) -> None:
    """It runs in a folder of its own, and is asked for nothing once it has announced its policy."""
    folder = tmp_path / "openpi"
    folder.mkdir()
    shutil.copy(ROOT / "tests/helpers/openpi_server.py", folder)
    environment = {"PYTHONPATH": str(ROOT / "scripts")}
    run = make(
        command=["python", "openpi_server.py", "{port}"],
        folder=str(folder),
        servers=1,
        grace=0,
        environment=environment,
    )
    run.up().wait_ready()
    replies: list[Any] = []
    client = threading.Thread(target=lambda: replies.append(infer(run.port(0))))
    client.start()
    run.wait((folder / "asked").exists)
    time.sleep(3)  # several looks of the supervisor
    assert [(one["state"], one["starts"]) for one in run.servers()] == [("ready", 1)]
    (folder / "answer").touch()
    client.join()
    assert np.array_equal(replies[0][1][0].actions, np.ones((5, 7)))
    assert "Traceback" not in (run.results / "server0.log").read_text()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ["python", "-c", "raise ValueError('no checkpoint at {port}')"],
            "ended with exit code 1: ValueError: no check",
        ),
        (["python", "-m", "http.server", "--bind", "127.0.0.1", "{port}"], "announced no policy within 2 s (`start_se"),
        (["no-such-program", "{port}"], "cannot start 'no-such-program': No such file or directory"),
    ],
)
def test_a_server_that_cannot_serve_rests_and_says_why(command: list[str], told: str, make: Make) -> None:
    run = make(command=command, servers=1, start_seconds=2).up()
    run.wait(lambda: [told in one["error"] for one in run.servers()] == [True])
    assert run.run("status").returncode == 1
    run.wait(lambda: run.servers()[0]["starts"] >= 2)


def test_a_server_waits_for_its_gpu(make: Make) -> None:
    run = make(servers=1, start_seconds=30, environment={"CUDA_VISIBLE_DEVICES": "3"})
    words = [sys.executable, str(ROOT / "scripts/gpulease.py"), "--", "cat"]
    with subprocess.Popen(words, env=run.environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        run.wait(lambda: "in use" in show_leases(run))
        run.up()
        run.wait(lambda: run.states() == ["waiting"])
        assert run.run("status").returncode == 1
        assert other.stdin is not None
        other.stdin.close()
        run.wait_ready()
    assert run.servers()[0]["gpu"] == "3"


def test_a_config_that_cannot_be_is_refused(make: Make) -> None:
    run = make(servers=5)
    assert "`servers: 5`, but this machine offers 4" in run.run("up").stderr
    run.config["policy"] = {"addresses": ["127.0.0.1:1"]}
    run.write_config()
    for words in (["up"], ["up", "--detach"]):
        done = run.run(*words)
        assert done.returncode == 2 and "`policy:` has no `start:`" in done.stderr
    run.config["policy"] = {"start": run.start | {"servers": 1, "folder": "nowhere"}}
    run.write_config()
    assert "`folder: nowhere` is no folder" in run.run("up").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["begin"], "invalid choice: 'begin'"),
        (["up", "--json"], "unrecognized arguments: --json"),
        (["status", "--configfile", "none.yaml"], "none.yaml"),
    ],
)
def test_wrong_words_are_one_paragraph(words: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(PROGRAM), *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1 and said in done.stderr
