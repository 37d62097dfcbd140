"""The server itself is ended, killed, or runs out of something."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from onslaught import Attack, Onslaught
from reward_server import FAKE_JUDGE, PROGRAM, RewardServer
from rewards import make_edit, to_json

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def workers_of(onslaught: Onslaught) -> list[int]:
    return [one["pid"] for one in onslaught.workers() if one["pid"]]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pids: list[int], seconds: float) -> float:
    started = time.monotonic()
    while any(map(lives, pids)):
        assert time.monotonic() - started < seconds, "a worker outlives its server"
        time.sleep(0.01)
    return time.monotonic() - started


def start_again(onslaught: Onslaught) -> RewardServer:
    """Start another process with the same folder and config."""
    old = onslaught.server
    settings = old.settings | {"port": int(old.url.rpartition(":")[2])}
    onslaught.server = RewardServer(old.folder, environment=old.environment, **settings).start()
    return onslaught.server


@pytest.mark.runs
def test_sigterm_finishes_what_is_at_work_and_refuses_the_rest(attack: Attack) -> None:
    onslaught = attack(judge={"seconds": 0.1, "batch_size": 4}, workers=1)
    pids = workers_of(onslaught)
    working = threading.Thread(target=onslaught.ask, args=([make_edit(number) for number in range(16)],))
    working.start()
    while onslaught.metric("editlane_queue_items") < 16:
        time.sleep(0.01)
    onslaught.strike(lambda: os.kill(onslaught.server.process.pid, signal.SIGTERM))
    onslaught.wait_until_noticed(lambda: onslaught.server.get("/ready").status_code == 503)
    refused = requests.post(onslaught.server.url + "/v1/score", json=to_json([make_edit(99)]), timeout=10)
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) > 0
    assert onslaught.server.get("/health").status_code == 200
    working.join()
    assert onslaught.server.process.wait(20) == 0
    wait_until_gone(pids, 2)
    assert not onslaught.failures()
    onslaught.finish("SIGTERM to the server with 16 edits at work")


@pytest.mark.runs
def test_sigkill_leaves_no_worker_and_loses_no_score(attack: Attack) -> None:
    onslaught = attack(judge={"seconds": 0.02})
    onslaught.ask_all(range(40))
    pids = workers_of(onslaught)
    load = threading.Thread(target=onslaught.ask_all, args=(range(100, 160),))
    load.start()
    time.sleep(0.3)
    onslaught.strike(onslaught.server.process.kill)
    onslaught.server.process.wait(10)
    onslaught.detected = wait_until_gone(pids, 2)
    start_again(onslaught)
    load.join()
    onslaught.ask_all(range(40))
    assert onslaught.metric("editlane_items_known_total", how="store") >= 36, "known from the journal"
    onslaught.finish("SIGKILL to the server under load, then a start")


@pytest.mark.runs
def test_a_worker_that_waits_for_a_device_ends_with_the_server(
    tmp_path: Path, tiny_model: Callable[[str], Path]
) -> None:
    lease = {"GPULEASE_DIR": str(tmp_path / "leases"), "CUDA_VISIBLE_DEVICES": ""}
    hold = [sys.executable, str(PROGRAM.with_name("gpulease.py")), "-n", str(len(os.sched_getaffinity(0)))]
    holder = subprocess.Popen([*hold, "--", "sleep", "60"], env=os.environ | lease, stderr=subprocess.DEVNULL)
    try:
        judge = FAKE_JUDGE | {"adapter": "qwen3-vl", "model": str(tiny_model("qwen3-vl")), "params": {}}
        server = RewardServer(tmp_path / "s", judges={"q": judge}, environment=lease).start(ready=False)
        while not (pids := [one["pid"] for one in server.get("/pool_status").json()["workers"] if one["pid"]]):
            time.sleep(0.05)
        assert server.get("/pool_status").json()["workers"][0]["state"] == "waiting"
        assert server.get("/ready").status_code == 503 and server.get("/health").status_code == 200
        refused = server.post("/v1/score", json=to_json([make_edit(1)]))
        assert refused.status_code == 503 and "Retry-After" in refused.headers
        server.process.kill()
        server.process.wait(10)
        wait_until_gone(pids, 2)
        server.stop()
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.runs
def test_two_servers_of_one_name_refuse_each_other(attack: Attack) -> None:
    onslaught = attack()
    second = RewardServer(onslaught.server.folder, **onslaught.server.settings)
    assert second.process.wait(20) == 2
    assert "Another server uses results/servers/t" in second.stderr and "Traceback" not in second.stderr
    second.stop()
    onslaught.ask_all(range(4))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
@pytest.mark.runs
def test_a_full_disk_under_the_journal(attack: Attack, tmp_path: Path) -> None:
    folder = tmp_path / "服务 0/results/servers/t"
    folder.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("cannot mount a small disk here")
    try:
        onslaught = attack()
        onslaught.strike(lambda: (folder / "filler").write_bytes(b"x" * (shutil.disk_usage(folder).free - 20_000)))
        onslaught.ask_all(range(80))
        onslaught.wait_until_noticed(lambda: onslaught.metric("editlane_store_errors_total") > 0)
        assert not onslaught.failures() and not onslaught.refused
        onslaught.ask_all(range(80))
        refused = onslaught.server.post("/v1/jobs", json=to_json([make_edit(number) for number in range(50)]))
        assert refused.status_code == 503
        onslaught.finish("the disk under the journal is full")
        onslaught.server.stop()
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.runs
def test_no_more_files_can_be_opened(attack: Attack) -> None:
    onslaught = attack()
    pid = onslaught.server.process.pid
    opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={opened + 4}:"], check=True)
    held: list[requests.Response] = []
    onslaught.strike(lambda: None)
    sessions = [requests.Session() for _ in range(30)]
    for session in sessions:
        with suppress(requests.RequestException):
            held.append(session.get(onslaught.server.url + "/health", timeout=0.5))
    onslaught.wait_until_noticed(lambda: len(held) < 30)
    for session in sessions:
        session.close()
    subprocess.run(["prlimit", f"--pid={pid}", "--nofile=1024:"], check=True)
    onslaught.ask_all(range(40))
    onslaught.finish("no more files can be opened")


@pytest.mark.faults
@pytest.mark.skipif(not FAKETIME, reason="needs libfaketime")
def test_the_clock_jumps(attack: Attack, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    variables = {
        "LD_PRELOAD": str(FAKETIME[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # as the kernel: setting the clock does not move it
    }
    # The library breaks Python's sleep, so the judge must not.
    onslaught = attack(
        environment=variables, judge={"seconds": 0.0}, limits={"attempt_seconds": 20, "idle_seconds": 60}
    )
    pids = workers_of(onslaught)
    for start, jump in enumerate(("+10h", "-20d", "+0")):
        begin = 1000 * start
        onslaught.strike_under_load(range(begin, begin + 120), lambda jump=jump: clock.write_text(jump))  # type: ignore[misc]
    assert workers_of(onslaught) == pids and not onslaught.failures() and not onslaught.refused
    onslaught.finish("the clock jumps by hours and days, forth and back")


@pytest.mark.runs
def test_jobs_survive_a_restart_of_any_kind(attack: Attack) -> None:
    onslaught = attack(judge={"seconds": 0.05, "batch_size": 2}, limits={"chunk": 2}, workers=1)
    edits = [make_edit(number) for number in range(40)]
    begun = onslaught.server.post("/v1/jobs", json=to_json(edits))
    assert begun.status_code == 202
    place = begun.headers["Location"]
    while onslaught.server.get(place).json()["done"] < 10:
        time.sleep(0.05)
    onslaught.strike(onslaught.server.process.kill)
    onslaught.server.process.wait(10)
    server = start_again(onslaught)
    onslaught.detected = 0.0
    while (progress := server.get(place).json())["state"] != "done":
        assert progress["state"] in ("waiting", "running") and len(progress["items"]) in (0, 40)
        time.sleep(0.05)
    assert progress["n_ok"] == 40 and [one["id"] for one in progress["items"]] == [one["id"] for one in edits]
    assert sum(one["cached"] for one in progress["items"]) >= 8
    onslaught.asked.append((edits, progress["items"]))
    job = server.folder / "results/servers/t/jobs" / json.loads(begun.text)["id"]
    assert [path.name for path in job.iterdir()] == ["answer.json"], "the images are gone"
    assert server.session.delete(server.url + place).status_code == 204 and not job.exists()
    assert server.get(place).status_code == 404
    onslaught.finish("SIGKILL to the server with a job at work")
