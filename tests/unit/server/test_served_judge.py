"""A judge behind an endpoint, in a reward server: single edits at once, and failures without its address."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from endpoint_double import MODEL, Double, serving
from fleet_double import LENIENT, PUBLISHED, STRICT, make_node, tell, write_fleet
from reward_server import RewardServer
from rewards import make_edit, to_json

from editlane.core.fleet_accounts import read_accounts
from editlane.core.paths import FleetPaths

ANSWERED = ("scored", "judge_unreadable")
"""States of an edit that the judge was asked about: the double's answers are chance."""


@pytest.fixture
def double() -> Iterator[Double]:
    with serving() as double:
        yield double


def make_judge(double: Double, **params: Any) -> dict[str, Any]:
    settings = {"base_url": double.url, "max_image_side": 64, "concurrency": 6, "attempts": 1, "timeout": 5} | params
    protocol = "resources/protocols/rubric.yaml"
    return {"adapter": "qwen3-vl", "engine": "openai", "model": MODEL, "protocol": protocol, "params": settings}


def score(server: RewardServer, numbers: range) -> list[dict[str, Any]]:
    response = server.post("/v1/score", json=to_json([make_edit(number) for number in numbers]))
    assert response.status_code == 200, response.text
    return list(response.json()["items"])


@pytest.mark.runs
def test_edits_are_asked_about_at_once_and_alone_and_in_company_alike(double: Double, tmp_path: Path) -> None:
    with RewardServer(tmp_path / "a", judges={"q": make_judge(double)}) as server:
        double.most_at_once = 0
        double.seconds = lambda body: 0.02
        together = score(server, range(30))
        assert all(one["state"] in ANSWERED for one in together)
        assert 3 <= double.most_at_once <= 6
        (worker,) = server.get("/pool_status").json()["workers"]
        assert worker["state"] == "ready"
    with RewardServer(tmp_path / "b", judges={"q": make_judge(double)}) as server:
        alone = [score(server, range(number, number + 1))[0] for number in range(4)]
    assert [one["score"] for one in alone] == [one["score"] for one in together[:4]]


@pytest.mark.runs
def test_a_budget_is_of_all_starts_of_the_server_and_invents_no_score(double: Double, tmp_path: Path) -> None:
    params = {"structured_output": True, "max_requests": 8}
    protocol = {"adapter": "vlm", "protocol": "resources/protocols/viescore.yaml"}
    judge = make_judge(double, **params) | protocol
    for start in range(2):
        with RewardServer(tmp_path, judges={"q": judge}) as server:
            scored = score(server, range(100 * start, 100 * start + 12))
    assert len(double.asked) == 8
    assert {(one["state"], one["error"]["kind"], one["score"]) for one in scored} == {("judge_failed", "budget", None)}
    assert "`max_requests: 8`" in scored[0]["error"]["message"]


@pytest.mark.runs
def test_an_endpoint_that_fails_and_comes_back(double: Double, tmp_path: Path) -> None:
    with RewardServer(tmp_path, judges={"q": make_judge(double)}, limits={"deadline_seconds": 20}) as server:
        assert score(server, range(2))[0]["state"] in ANSWERED
        double.trouble = lambda body, attempt: 500
        failed = score(server, range(10, 14))
        assert {one["error"]["kind"] for one in failed} == {"transport"}
        double.trouble = lambda body, attempt: None
        assert all(one["state"] in ANSWERED for one in score(server, range(10, 14))), "no failure was kept"
        double.models, double.trouble = None, lambda body, attempt: "close"
        gone = score(server, range(20, 24))
        assert all(one["score"] is None for one in gone)
        assert {one["error"]["kind"] for one in gone} <= {"transport", "deadline", "timeout"}
        told = str([failed, gone, server.get("/pool_status").json(), server.get("/v1/judges").json()])
        assert double.url not in told and f":{double.server_port}" not in told and "base_url" not in told


@pytest.mark.runs
def test_an_endpoint_that_is_not_there_yet(double: Double, tmp_path: Path) -> None:
    double.models = ["another model"]
    server = RewardServer(tmp_path, judges={"q": make_judge(double)})
    server.start(ready=False)
    until = time.monotonic() + 30
    while not (worker := server.get("/pool_status").json()["workers"][0])["error"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert server.get("/ready").status_code == 503 and server.process.poll() is None
    assert double.url not in worker["error"]
    double.models = [MODEL]
    while server.get("/ready").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert score(server, range(1))[0]["state"] in ANSWERED
    server.stop()


def make_fleet_judge(double: Double, folder: Path, model: str) -> dict[str, Any]:
    double.models = [*PUBLISHED.values()]
    folder.mkdir(exist_ok=True)
    judge = make_judge(double, fleet=write_fleet(folder, make_node(double.url)))
    del judge["params"]["base_url"]
    return judge | {"model": model}


@pytest.mark.runs
def test_the_judges_of_a_fleet_are_named_by_their_weights(double: Double, tmp_path: Path) -> None:
    judges = {name: make_fleet_judge(double, tmp_path, name) for name in ("strict", "lenient")}
    with RewardServer(tmp_path, judges=judges) as server:
        found = {}
        for name in judges:
            body = to_json([make_edit(number) for number in range(3)]) | {"judge": name}
            found[name] = server.post("/v1/score", json=body).json()["items"]
        assert all(one["state"] in ANSWERED for items in found.values() for one in items)
        told = server.get("/v1/judges").json()
        assert {one["model"] for one in told["judges"].values()} == {STRICT, LENIENT}
        assert double.url not in str(told) and "fleet.yaml" not in str(told)
        assert {body["model"] for body in double.asked} == {STRICT, LENIENT}
        tell(make_node(double.url, published=PUBLISHED | {"strict": "strict@222222222222"}), tmp_path)
        workers = {one["name"]: one["pid"] for one in server.get("/pool_status").json()["workers"]}
        os.kill(workers["strict-1"], signal.SIGKILL)
        body = to_json([make_edit(number) for number in range(10, 13)]) | {"judge": "strict"}
        until = time.monotonic() + 30
        while (answer := server.post("/v1/score", json=body)).status_code == 503:  # until another worker begins
            assert time.monotonic() < until
            time.sleep(0.1)
        assert all(one["state"] in ANSWERED for one in answer.json()["items"])
        assert {body["model"] for body in double.asked} == {STRICT, LENIENT}, "a worker asks for what the keys name"
        while set(read_accounts(tmp_path / FleetPaths("judges").accounts).groups) != {"A", "B"}:
            assert time.monotonic() < until
            time.sleep(0.1)


def test_a_fleet_that_never_ran_is_an_error_at_the_start(double: Double, tmp_path: Path) -> None:
    judge = make_fleet_judge(double, tmp_path, "strict")
    for path in tmp_path.rglob("nodes/*.json"):
        path.unlink()
    server = RewardServer(tmp_path, judges={"q": judge})
    assert server.process.wait(30) == 2
    assert "The fleet judges (config/fleet.yaml) does not run" in (tmp_path / "stderr.txt").read_text()
