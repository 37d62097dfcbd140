"""Processes of a fleet that are killed or hang: nothing is lost, nothing is left behind, everything comes back."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_run import NODE, FleetRun, Load, name_of

Make = Callable[..., FleetRun]


def router_pid(fleet: FleetRun) -> int:
    return next(pid for pid in fleet.pids() if name_of(pid).startswith("vllm::router"))


@pytest.mark.parametrize("affinity", ["none", "soft"])
@pytest.mark.runs
def test_a_killed_server_costs_no_answer_and_comes_back_without_its_orphans(affinity: str, make_fleet: Make) -> None:
    """With soft affinity, the router asks the dead server again and again, until it is taken out."""
    fleet = make_fleet(affinity=affinity).start().wait_ready()
    load = Load(fleet, ["严格", "kind"])
    load.wait_for(40)
    engine = next(pid for pid in fleet.pids() if name_of(pid).startswith("sleep"))
    victim = next(n for n in (0, 1) if parent_of(engine) == fleet.server_pid(n))
    os.kill(fleet.server_pid(victim), signal.SIGKILL)
    fleet.wait(lambda: fleet.state()["servers"][victim]["starts"] == 2)
    assert not Path(f"/proc/{engine}").exists()
    fleet.wait_ready()
    load.wait_for(20)
    assert set(load.end()) == {200}
    assert "ended with exit code 137" in fleet.state()["servers"][victim]["error"]
    assert fleet.held_leases() == 2


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.runs
def test_a_server_that_hangs_gets_no_requests_and_is_started_again(make_fleet: Make) -> None:
    fleet = make_fleet(answer_seconds=12).start().wait_ready()
    os.kill(fleet.server_pid(1), signal.SIGSTOP)
    fleet.wait(lambda: fleet.states()[1] == "silent" and len(fleet.routed()) == 1)
    assert [fleet.ask("kind")[0] for _ in range(5)] == [200] * 5
    fleet.wait(lambda: fleet.state()["servers"][1]["starts"] == 2)
    assert "generated nothing for 12 s" in fleet.state()["servers"][1]["error"]
    fleet.wait_ready()


@pytest.mark.runs
def test_a_server_that_only_paused_is_asked_again(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    pid = fleet.server_pid(0)
    os.kill(pid, signal.SIGSTOP)
    fleet.wait(lambda: fleet.states()[0] == "silent")
    os.kill(pid, signal.SIGCONT)
    fleet.wait_ready()
    assert fleet.state()["servers"][0]["starts"] == 1


@pytest.mark.runs
def test_nothing_outlives_a_killed_supervisor(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    assert len(fleet.pids()) >= 8  # a guard, a server and an engine for each, and the router with its guard
    fleet.kill()
    until = time.monotonic() + 10
    while fleet.pids():
        assert time.monotonic() < until, [name_of(pid) for pid in fleet.pids()]
        time.sleep(0.05)
    assert fleet.held_leases() == 0
    fleet.start().wait_ready()


@pytest.mark.runs
def test_what_a_killed_guard_leaves_is_ended(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    before = fleet.pids()
    guard = fleet.state()["servers"][0]["pid"]
    assert "guard.py" in name_of(guard)
    os.kill(guard, signal.SIGKILL)
    fleet.wait(lambda: fleet.state()["servers"][0]["starts"] == 2)
    fleet.wait_ready()
    assert len(fleet.pids()) == len(before)


@pytest.mark.runs
def test_what_outlived_supervisor_and_guards_ends_with_the_next_start(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    assert fleet.process is not None
    guards = [pid for pid in fleet.pids() if "guard.py" in name_of(pid)]
    os.kill(fleet.process.pid, signal.SIGSTOP)
    for pid in guards:
        os.kill(pid, signal.SIGSTOP)
    for pid in [*guards, fleet.process.pid]:
        os.kill(pid, signal.SIGKILL)
    fleet.process.wait()
    assert fleet.pids()
    left = fleet.pids()
    fleet.start()
    fleet.wait(lambda: fleet.state().get("pid") == fleet.process.pid)
    fleet.wait_ready()
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)
    assert "of an earlier supervisor" in fleet.log()


@pytest.mark.runs
def test_a_killed_router_comes_back(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    os.kill(router_pid(fleet), signal.SIGKILL)
    fleet.wait(lambda: not fleet.routed(), 5)
    fleet.wait_ready()
    assert fleet.ask("严格")[0] == 200
    assert "the router ended with exit code 137" in fleet.log()


@pytest.mark.runs
def test_a_router_that_hangs_is_started_again(make_fleet: Make) -> None:
    fleet = make_fleet().start().wait_ready()
    old = router_pid(fleet)
    os.kill(old, signal.SIGSTOP)
    fleet.wait(lambda: not Path(f"/proc/{old}").exists(), 60)
    fleet.wait_ready()
    assert fleet.ask("kind")[0] == 200


@pytest.mark.runs
def test_sigterm_finishes_the_work_at_hand(make_fleet: Make) -> None:
    fleet = make_fleet(environment={"VLLM_DOUBLE_SECONDS": "1"}).start().wait_ready()
    assert fleet.process is not None
    load = Load(fleet, ["严格"], clients=6)
    fleet.wait(lambda: sum(one["running"] for one in fleet.state()["servers"]) >= 6)
    fleet.process.send_signal(signal.SIGTERM)
    load._stop.set()
    assert load.end() == {200: load.total}
    assert fleet.process.wait(20) == 0
    assert not fleet.pids()
    assert fleet.held_leases() == 0
    assert fleet.run("status").returncode == 2
    assert fleet.state()["published"].keys() == {"base", "严格", "kind"}  # a finished run asks for it


def test_ctrl_c_while_it_ends_ends_at_once(make_fleet: Make) -> None:
    fleet = make_fleet(environment={"VLLM_DOUBLE_SECONDS": "30"}, grace=60)
    fleet.environment["VLLM_DOUBLE_SECONDS"] = "0.02"
    fleet.start().wait_ready()
    assert fleet.process is not None
    for pid in (fleet.server_pid(0), fleet.server_pid(1)):
        os.kill(pid, signal.SIGSTOP)  # so that they finish nothing
    fleet.process.send_signal(signal.SIGTERM)
    fleet.wait(lambda: "Ctrl-C now ends at once" in fleet.log())
    fleet.process.send_signal(signal.SIGTERM)  # of a second `down`, which must not
    time.sleep(0.5)
    assert fleet.process.poll() is None
    fleet.process.send_signal(signal.SIGINT)
    assert fleet.process.wait(10) == 128 + signal.SIGINT
    until = time.monotonic() + 10
    while fleet.pids():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.runs
def test_drain_finishes_the_work_and_starts_again(make_fleet: Make) -> None:
    fleet = make_fleet(environment={"VLLM_DOUBLE_SECONDS": "0.3"}).start().wait_ready()
    load = Load(fleet, ["严格", "kind"])
    load.wait_for(8)
    done = fleet.run("drain", "1")
    assert (done.returncode, done.stdout) == (0, "server 1 finishes its work, then it starts again\n"), done.stderr
    fleet.wait(lambda: fleet.state()["servers"][1]["starts"] == 2)
    fleet.wait_ready()
    load.wait_for(8)
    assert set(load.end()) == {200}
    assert load.slowest < 5
    done = fleet.run("drain", "7")
    assert (done.returncode, done.stderr) == (2, f"error: There is no server 7 on {NODE}; they are 0 to 1.\n")


@pytest.mark.runs
def test_the_programs_of_a_fleet_in_turn(make_fleet: Make) -> None:
    fleet = make_fleet()
    assert fleet.run("status").returncode == 2
    done = fleet.run("up", "--detach")
    assert done.returncode == 0, done.stderr
    assert fleet.run("health", "--wait", "30").returncode == 0
    second = fleet.run("up")
    assert second.returncode == 2
    assert "is up on this already (process" in second.stderr
    shown = json.loads(fleet.run("status", "--json").stdout)
    assert shown["ready"] is True
    assert {"total_calls", "success_calls", "success_rate", "average_response_time", "gpu_distribution"} <= shown.keys()
    assert shown["published"].keys() == {"base", "严格", "kind"}
    smoke = fleet.run("smoke")
    assert (smoke.returncode, smoke.stdout.count("every name acts for itself")) == (0, 2)
    table = fleet.run("status")
    assert table.returncode == 0
    assert "严格" in table.stdout and "ready" in table.stdout
    assert fleet.run("down").stdout == "The fleet f is down.\n"
    assert not fleet.pids()
    assert fleet.held_leases() == 0
    assert fleet.run("down").returncode == 2
