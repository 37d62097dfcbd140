"""Rewards of robot roll-outs over HTTP: real processes, a toy simulator, a scripted policy over openpi's protocol."""

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from policy_servers import PolicyServers
from reward_server import RewardServer

from editlane.lanes.journal import read_journal

WRONG = "reach 0.900 0.900 0.900"
TOKEN = "a-token-of-more-than-16"


def make_server(folder: Path, addresses: list[str], **config: Any) -> RewardServer:
    policy = {"addresses": addresses, "infer_seconds": 5} | config.pop("policy", {})
    return RewardServer(folder, simulator={"name": "reach", "count": 2}, policy=policy, **config)


def ask(server: RewardServer, items: list[tuple[str, dict[str, Any]]], **settings: Any) -> dict[str, Any]:
    responses, metas = [text for text, _ in items], [meta for _, meta in items]
    body = {"responses": responses, "metas": metas, "reward_function_kwargs": settings}
    reply = server.post("/score", json=body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def make_items(count: int, first: int = 0) -> tuple[list[tuple[str, dict[str, Any]]], list[float]]:
    """Items, every third of which names a wrong goal, and their right results."""
    items = [("" if n % 3 else WRONG, {"task_id": n % 10, "init_state_id": first + n}) for n in range(count)]
    return items, [float(n % 3 > 0) for n in range(count)]


@pytest.fixture(scope="module")
def policies() -> Iterator[PolicyServers]:
    with PolicyServers(2) as servers:
        yield servers


@pytest.fixture(scope="module")
def server(policies: PolicyServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardServer]:
    with make_server(tmp_path_factory.mktemp("rollouts"), policies.addresses) as started:
        yield started


def test_results_have_the_order_of_the_request_and_say_how_they_came_about(server: RewardServer) -> None:
    items, right = make_items(8)
    answer = ask(server, items, max_workers=2)
    assert answer["done_result"] == right
    assert answer["errors"] == [None] * 8
    assert (answer["num_samples"], answer["num_errors"]) == (8, 0)
    first = answer["items"][1]
    assert (first["suite"], first["task_id"], first["score"], first["played"]) == ("reach", 1, 1.0, 1)
    assert first["interval"][0] == pytest.approx(0.2065, abs=1e-4)
    (trial,) = first["trials"]
    assert (trial["seed"], trial["init_state"], trial["cached"], trial["retries"]) == (7, 1, False, 0)
    assert trial["versions"]["reach"] == "1"
    assert trial["steps"] > 0
    assert answer["simulator"]["versions"] == trial["versions"]
    assert answer["policy"]["metadata"]["policy"] == "reach"


def test_what_fails_is_null_and_costs_the_others_nothing(server: RewardServer) -> None:
    items = [("", {"suite": "no-such"}), ("", {"task_id": "x"}), ("", {"task_id": 99}), ("", {"task_id": 3})]
    answer = ask(server, items)
    assert answer["done_result"] == [None, None, None, 1.0]
    assert [error and error["kind"] for error in answer["errors"]] == [
        "unknown_task",
        "malformed",
        "unknown_task",
        None,
    ]
    assert answer["items"][0]["interval"] is None
    assert ask(server, items, on_error="zero")["done_result"] == [0.0, 0.0, 0.0, 1.0]


def test_trials_are_a_rate_with_an_interval(server: RewardServer) -> None:
    (item,) = ask(server, [(WRONG, {"task_id": 5})], num_trials_per_task=4)["items"]
    assert (item["score"], item["solved"], item["played"]) == (0.0, 0, 4)
    assert item["interval"] == pytest.approx([0.0, 0.4899], abs=1e-4)
    assert [trial["init_state"] for trial in item["trials"]] == [0, 1, 2, 3]


@pytest.mark.runs
def test_nothing_is_played_twice_even_after_a_restart(policies: PolicyServers, tmp_path: Path) -> None:
    items, right = make_items(6)
    with make_server(tmp_path, policies.addresses) as server:
        first = ask(server, items + items)
        played = server.get("/pool_status").json()["simulators"]
        assert sum(one["episodes"] for one in played["processes"]) == 6 + 1  # the one it begins with
    with make_server(tmp_path, policies.addresses) as server:
        again = ask(server, items)
        assert all(item["trials"][0]["cached"] for item in again["items"])
        rates = server.get("/v1/episodes").json()["rates"]
    assert first["done_result"] == right * 2
    assert again["done_result"] == right
    assert sum(row["played"] for row in rates) == 6


@pytest.mark.runs
def test_another_policy_plays_anew(policies: PolicyServers, tmp_path: Path) -> None:
    items = [("", {"task_id": 2})]
    with make_server(tmp_path, policies.addresses, policy={"name": "step-100"}) as server:
        ask(server, items)
        assert ask(server, items)["items"][0]["trials"][0]["cached"]
    with make_server(tmp_path, policies.addresses, policy={"name": "step-200"}) as server:
        answer = ask(server, items)
    assert not answer["items"][0]["trials"][0]["cached"]
    assert answer["policy"]["name"] == "step-200"


def test_three_requests_with_the_same_items_at_once_get_their_own_results(server: RewardServer) -> None:
    asked = [make_items(8, first=100 + shift) for shift in range(3)]
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda one: ask(server, one[0]), asked))
    for answer, (items, right) in zip(answers, asked, strict=True):
        assert answer["done_result"] == right
        states = [item["trials"][0]["init_state"] for item in answer["items"]]
        assert states == [meta["init_state_id"] for _, meta in items]


@pytest.mark.runs
def test_a_dead_policy_server_costs_attempts_and_no_results(tmp_path: Path) -> None:
    items, right = make_items(16)
    with PolicyServers(2, delay=0.05) as policies, make_server(tmp_path, policies.addresses) as server:
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, server, items)
            wait_for(lambda: server.get("/pool_status").json()["queue"]["playing"])
            policies.all[0].signal(signal.SIGKILL)
            answer = asking.result()
        assert answer["done_result"] == right
        policies.all[0].wait()
        policies.all[0].start()
        wait_for(lambda: server.get("/pool_status").json()["available_clients"] == 2)


@pytest.mark.runs
def test_without_a_policy_server_results_are_null_and_it_is_not_ready(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"127.0.0.1:{taken.getsockname()[1]}"
    server = make_server(tmp_path, [closed], policy={"infer_seconds": 0.5})
    try:
        server.start(ready=False)
        wait_for(lambda: "policy server" in server.get("/ready").text)
        assert server.get("/health").json() == {"status": "ok"}
        answer = ask(server, [("", {})])
        assert (answer["done_result"], answer["errors"][0]["kind"]) == ([None], "no_server")
    finally:
        assert server.stop() == 0


@pytest.mark.runs
def test_a_client_that_leaves_frees_its_simulators(tmp_path: Path) -> None:
    with PolicyServers(1, delay=0.5) as policies, make_server(tmp_path, policies.addresses) as server:
        with pytest.raises(requests.Timeout):
            server.post(
                "/score", json={"responses": [WRONG] * 8, "metas": [{"task_id": n} for n in range(8)]}, timeout=1
            )
        wait_for(
            lambda: server.get("/pool_status").json()["queue"] == {"episodes": 0, "max_episodes": 1024, "playing": 0}
        )
        wait_for(lambda: server.get("/pool_status").json()["simulators"]["playing"] == 0)


@pytest.mark.runs
def test_late_episodes_are_null_and_no_reason_to_play_them_for_nobody(tmp_path: Path) -> None:
    with PolicyServers(1, delay=0.3) as policies, make_server(tmp_path, policies.addresses) as server:
        reply = server.post(
            "/score", json={"responses": [WRONG] * 3, "metas": [{}, {"task_id": 1}, {}], "deadline_s": 1}
        )
        answer = reply.json()
        assert answer["done_result"] == [None] * 3
        assert {error["kind"] for error in answer["errors"]} == {"deadline"}
        wait_for(lambda: server.get("/pool_status").json()["queue"]["playing"] == 0)


@pytest.mark.runs
def test_more_than_the_queue_takes_is_refused(tmp_path: Path) -> None:
    unsolved = [(WRONG, {"task_id": number}) for number in range(4)]  # so that none is over soon
    with PolicyServers(1, delay=0.1) as policies:
        server = make_server(tmp_path, policies.addresses, limits={"episodes": 4, "request_items": 8})
        with server, ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, server, unsolved)
            wait_for(lambda: server.get("/pool_status").json()["queue"]["episodes"] == 4)
            full = server.post("/score", json={"responses": [""]})
            assert (full.status_code, int(full.headers["Retry-After"]) > 0) == (503, True)
            assert server.post("/score", json={"responses": [""] * 5}).status_code == 413
            assert server.post("/score", json={"responses": [""] * 9}).status_code == 413
            assert asking.result()["num_errors"] == 0
        assert server.process.returncode == 0


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "a JSON object is expected"),
        (b'{"responses": {}}', 400, "`responses` must be a list"),
        (b'{"responses": [""], "metas": []}', 400, "`metas`"),
        (b'{"responses": ["\xff"]}', 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
    ],
)
def test_malformed_requests_are_refused_with_the_reason(
    server: RewardServer, body: bytes, status: int, said: str
) -> None:
    reply = server.post("/score", data=body)
    assert (reply.status_code, said in reply.json()["error"]) == (status, True), reply.text


def test_a_huge_request_is_refused_before_anything_is_made_of_it(server: RewardServer) -> None:
    for body in (
        {"responses": [""] * 100_000},
        {"responses": [""] * 200, "reward_function_kwargs": {"num_trials_per_task": 50}},
    ):
        assert server.post("/score", json=body).status_code == 413
    assert server.post("/score", data=b'{"responses": [""], "deadline_s": 1' + b"0" * 400 + b"}").status_code == 200


def test_names_that_mean_nothing_are_told(server: RewardServer) -> None:
    body = {"responses": [""], "metas": [{"task": 5, "host": "x"}], "reward_function_kwargs": {"videos": True}}
    assert server.post("/score", json=body).json()["ignored"] == [
        "metas.host",
        "metas.task",
        "reward_function_kwargs.videos",
    ]
    assert ask(server, [("", {"task_id": 5})])["ignored"] == []


def test_tasks_that_do_not_exist_are_not_counted(server: RewardServer) -> None:
    ask(server, [("", {"suite": f"invented-{number}"}) for number in range(8)])
    assert not any("invented" in row["suite"] for row in server.get("/v1/episodes").json()["rates"])


@pytest.mark.runs
def test_an_episode_that_outlives_the_drain_is_refused_with_a_time_to_ask_again(tmp_path: Path) -> None:
    with PolicyServers(1, delay=0.5) as policies:
        server = make_server(tmp_path, policies.addresses, limits={"drain_seconds": 1}).start()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(server.post, "/score", json={"responses": [WRONG] * 2, "metas": [{}, {"task_id": 1}]})
            wait_for(lambda: server.get("/pool_status").json()["queue"]["playing"])
            os.kill(server.process.pid, signal.SIGTERM)
            reply = asking.result()
        assert (reply.status_code, int(reply.headers["Retry-After"]) > 0) == (503, True)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.stderr


@pytest.mark.runs
def test_an_environment_without_the_simulator_ends_the_server_with_what_to_do(tmp_path: Path) -> None:
    simulator = {"name": "libero", "count": 1, "python": sys.executable}
    server = RewardServer(tmp_path, simulator=simulator, policy={"addresses": ["127.0.0.1:1"]})
    assert server.process.wait(60) == 2
    assert "check_robots.py" in server.stderr and "Traceback" not in server.stderr
    server.stop()


def test_pool_status_keeps_the_originals_keys(server: RewardServer, policies: PolicyServers) -> None:
    status = server.get("/pool_status").json()
    assert (status["total_clients"], status["available_clients"]) == (2, 2)
    assert status["hosts_ports"] == [["127.0.0.1", one.port] for one in policies.all]
    figures = server.get("/metrics").text
    assert 'editlane_policy_servers{state="connected"} 2.0' in figures
    assert "editlane_episodes_total" in figures


def test_a_token_is_asked_for(policies: PolicyServers, tmp_path: Path) -> None:
    with make_server(tmp_path, policies.addresses, token=TOKEN) as server:
        assert ask(server, [("", {})])["done_result"] == [1.0]
        for path in ("/score", "/v1/drain"):
            assert requests.post(server.url + path, json={}, timeout=10).status_code == 401
        for path in ("/pool_status", "/metrics", "/v1/episodes", "/ready"):
            assert requests.get(server.url + path, timeout=10).status_code == 401
        assert requests.get(server.url + "/health", timeout=10).status_code == 200


@pytest.mark.runs
def test_sigterm_finishes_the_episodes_at_hand_and_leaves_nothing(tmp_path: Path) -> None:
    with PolicyServers(1, delay=0.1) as policies:
        server = make_server(tmp_path, policies.addresses).start()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, server, make_items(4)[0])
            wait_for(lambda: server.get("/pool_status").json()["queue"]["playing"])
            children = list_simulators(server)
            assert children
            os.kill(server.process.pid, signal.SIGTERM)
            assert asking.result()["done_result"] == make_items(4)[1]
        assert server.process.wait(20) == 0
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_a_killed_server_leaves_no_simulator(policies: PolicyServers, tmp_path: Path) -> None:
    server = make_server(tmp_path, policies.addresses).start()
    ask(server, make_items(4)[0])
    children = list_simulators(server)
    assert children
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.runs
def test_a_video_shows_the_result_that_is_told_and_asking_for_it_changes_none(tmp_path: Path) -> None:
    """A policy that acts in another way when it is asked again must not change what was answered."""
    with PolicyServers(1) as policies:
        server = make_server(tmp_path, policies.addresses, policy={"name": "p"})
        with server:
            items = [("", {"task_id": number}) for number in range(3)]
            assert ask(server, items)["done_result"] == [1.0] * 3
            wrong = [(WRONG, {"task_id": 7})]
            filmed = [ask(server, wrong, video=True) for _ in range(2)]
            with ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(lambda number: ask(server, items, video=number % 2 == 0), range(6)))
            assert all(answer["done_result"] == [1.0] * 3 for answer in answers)
            assert all(item["trials"][0]["video"] for item in answers[0]["items"])
            assert [one["done_result"] for one in filmed] == [[0.0]] * 2
            (total,) = server.get("/v1/episodes").json()["totals"]
            assert (total["played"], total["solved"]) == (4, 3)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.runs
def test_who_joins_an_episode_without_a_video_gets_one_all_the_same(tmp_path: Path) -> None:
    items = [(WRONG, {"task_id": 8})]
    with PolicyServers(1, delay=0.05) as policies, make_server(tmp_path, policies.addresses) as server:
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(ask, server, items)
            wait_for(lambda: server.get("/pool_status").json()["queue"]["playing"])
            (item,) = ask(server, items, video=True)["items"]
            assert asking.result()["done_result"] == [item["score"]] == [0.0]
        assert item["trials"][0]["video"]
        (total,) = server.get("/v1/episodes").json()["totals"]
        assert total["played"] == 1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_video_is_made_for_who_asks_and_stays_in_the_servers_folder(policies: PolicyServers, tmp_path: Path) -> None:
    items = [("", {"task_id": 6, "video_out_path": "/tmp/elsewhere"})]
    with make_server(tmp_path, policies.addresses, token=TOKEN) as server:
        (item,) = ask(server, items)["items"]
        assert item["trials"][0]["video"] is None
        (item,) = ask(server, items, video=True)["items"]
        (trial,) = item["trials"]
        found = server.get(trial["video"])
        assert (found.status_code, found.headers["Content-Type"]) == (200, "video/mp4")
        assert found.content[4:8] == b"ftyp"
        (again,) = ask(server, items, video=True)["items"]
        assert (again["trials"][0]["cached"], again["trials"][0]["video"]) == (True, trial["video"])
        (rate,) = server.get("/v1/episodes").json()["rates"]
        assert rate["played"] == 1  # twice, but it is one episode
        assert requests.get(server.url + trial["video"], timeout=10).status_code == 401
        for name in ("0" * 64, "..%2f..%2f..%2fjournal%2f00000001", "x"):
            assert server.get(f"/videos/{name}.mp4").status_code == 404
    (path,) = (tmp_path / "results").rglob("*.mp4")
    assert path.parent == tmp_path / "results/servers/t/videos"


def test_without_an_encoder_a_request_for_videos_is_refused(policies: PolicyServers, tmp_path: Path) -> None:
    with make_server(tmp_path, policies.addresses, environment={"PATH": ""}) as server:
        reply = server.post("/score", json={"responses": [""], "reward_function_kwargs": {"video": True}})
        assert (reply.status_code, "ffmpeg" in reply.json()["error"]) == (422, True)


def test_the_journal_has_the_results_and_no_failures(policies: PolicyServers, tmp_path: Path) -> None:
    with make_server(tmp_path, policies.addresses) as server:
        ask(server, [("", {"task_id": 4}), ("", {"task_id": 99})])
    rows = read_journal(server.folder / "results/servers/t/episodes").rows.values()
    assert [(row["task_id"], row["solved"]) for row in rows] == [(4, True)]


def list_simulators(server: RewardServer) -> list[int]:
    processes = server.get("/pool_status").json()["simulators"]["processes"]
    return [one["pid"] for one in processes if one["pid"]]


def wait_for(condition: Any, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
