"""Files and configs that change while servers run: no score is taken from a judge that is another one by now."""

import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from onslaught import Attack
from reward_server import FAKE_JUDGE, RewardServer
from rewards import RUBRIC, draw_png, make_edit, to_json

pytestmark = pytest.mark.runs


def score(server: RewardServer, number: int, **more: Any) -> dict[str, Any]:
    response = server.post("/v1/score", json=to_json([make_edit(number, **more)]))
    assert response.status_code == 200, response.text
    return dict(response.json()["items"][0])


def write_protocol(path: Path, word: str) -> None:
    path.write_text(RUBRIC.read_text(encoding="utf-8").replace("You ", f"{word} you ", 1), encoding="utf-8")


def wait_for_error(server: RewardServer, text: str) -> None:
    until = time.monotonic() + 20
    while text not in str([one["error"] for one in server.get("/pool_status").json()["workers"]]):
        assert time.monotonic() < until, server.get("/pool_status").text
        time.sleep(0.05)


def test_a_protocol_that_changes_under_a_running_server(tmp_path: Path) -> None:
    protocol = tmp_path / "规则.yaml"
    shutil.copy(RUBRIC, protocol)
    judge = FAKE_JUDGE | {"protocol": str(protocol)}
    with RewardServer(tmp_path / "s", judges={"fake": judge}) as server:
        before = score(server, 1)
        write_protocol(protocol, "Kindly")
        os.kill(server.get("/pool_status").json()["workers"][0]["pid"], signal.SIGKILL)
        wait_for_error(server, "was changed since the server started")
        assert server.post("/v1/score", json=to_json([make_edit(2)])).status_code == 503
        assert score(server, 1)["score"] == before["score"], "known scores are those of the old text"
        shutil.copy(RUBRIC, protocol)
        until = time.monotonic() + 30
        while server.get("/ready").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert score(server, 2)["judge_key"] == before["judge_key"] or score(server, 2)["score"] is not None


def test_a_back_end_with_another_rubric_is_not_asked(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    write_protocol(other, "Kindly")
    with RewardServer(tmp_path / "node", judges={"fake": FAKE_JUDGE | {"protocol": str(other)}}) as node:
        front = RewardServer(tmp_path / "front", workers=0, backends=[{"url": node.url}])
        front.start(ready=False)
        wait_for_error(front, "other texts")
        assert front.post("/v1/score", json=to_json([make_edit(1)])).status_code == 503
        front.stop()


class Busy(BaseHTTPRequestHandler):
    """A node that is always full, and tells of the judge of another one."""

    about = b""
    asked = 0

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.about)))
        self.end_headers()
        self.wfile.write(self.about)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        self.send_response(503)
        self.send_header("Retry-After", "3")
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_a_node_that_is_full_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    with RewardServer(tmp_path / "node") as node:
        Busy.about = node.get("/v1/judges").content
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as busy:
        threading.Thread(target=busy.serve_forever, daemon=True).start()
        backends = [{"url": f"http://127.0.0.1:{busy.server_port}"}]
        with RewardServer(tmp_path / "front", workers=0, backends=backends) as front:
            body = to_json([make_edit(number) for number in range(100)], deadline_s=7)
            answer = front.post("/v1/score", json=body).json()
        assert {one["error"]["kind"] for one in answer["items"]} == {"deadline"}
        assert 1 <= Busy.asked <= 12
        busy.shutdown()


def test_a_limit_that_is_raised_takes_what_it_refused(tmp_path: Path) -> None:
    with RewardServer(tmp_path, limits={"image_pixels": 100}) as server:
        assert score(server, 1)["error"]["kind"] == "too_large"
    with RewardServer(tmp_path) as server:
        assert score(server, 1)["score"] is not None


def test_a_worker_whose_files_are_gone_does_not_end_a_server_that_works(attack: Attack) -> None:
    fault = {"name": "gone", "at": "editlane.judges.fake:FakeJudge.__init__", "program": "judge_worker", "do": "fail"}
    onslaught = attack(fault | {"words": "The checkpoint is gone.", "match": "", "nth": 1, "times": 0})
    first = onslaught.workers()[0]["pid"]
    token = Path(onslaught.server.environment["FAULTS"]) / "tokens"
    plan = Path(onslaught.server.environment["FAULTS"]) / "plan.json"
    plan.write_text(msgspec.json.encode([fault | {"words": "The checkpoint is gone.", "times": 50}]).decode())
    for number in range(50):
        (token / f"gone.{number}").touch()
    onslaught.strike(lambda: os.kill(first, signal.SIGKILL))
    onslaught.wait_until_noticed(lambda: "The checkpoint is gone" in str(onslaught.workers()))
    onslaught.ask_all(range(40))
    assert onslaught.server.process.poll() is None and not onslaught.failures()
    onslaught.finish("the files of a judge are gone while one of its workers is started again")


def test_many_large_bodies_at_once_are_bounded(attack: Attack) -> None:
    onslaught = attack(limits={"megabytes": 30, "body_megabytes": 20})
    body = b'{"items": [' + b" " * 15_000_000 + b"]}"
    onslaught.strike(lambda: None)

    def send(_: int) -> int:
        headers = {"Content-Type": "application/json"}
        with requests.Session() as session:
            try:
                return session.post(
                    onslaught.server.url + "/v1/score", data=body, headers=headers, timeout=60
                ).status_code
            except requests.ConnectionError:
                return 503  # it closed the connection instead of reading on

    before = read_memory(onslaught.server.process.pid)
    with ThreadPoolExecutor(16) as threads:
        statuses = set(threads.map(send, range(32)))
    assert statuses <= {200, 503} and 503 in statuses
    assert read_memory(onslaught.server.process.pid) - before < 300e6
    onslaught.ask_all(range(8))
    onslaught.finish("32 bodies of 15 MB at once for a server of 30 MB")


def read_memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_endless_categories_are_refused_where_all_are_judged_alike(tmp_path: Path) -> None:
    judge = FAKE_JUDGE | {"protocol": "resources/protocols/viescore.yaml"}
    with RewardServer(tmp_path, judges={"v": judge}) as server:
        assert score(server, 1, category="任何")["state"] in ("scored", "judge_unreadable")
        assert score(server, 1, category="x" * 201)["error"]["kind"] == "category"
        assert len(server.get("/pool_status").content) < 20_000


def test_a_node_with_smaller_limits_refuses_edits_and_goes_on(tmp_path: Path) -> None:
    with RewardServer(tmp_path / "node", limits={"image_pixels": 400, "text": 30}) as node:
        front = RewardServer(
            tmp_path / "front", workers=0, backends=[{"url": node.url}], limits={"deadline_seconds": 20}
        )
        with front:
            large = make_edit(1)
            long = make_edit(2, instruction="x" * 40, source=draw_png(2, (16, 16)), edited=draw_png(3, (16, 16)))
            small = make_edit(4, source=draw_png(4, (16, 16)), edited=draw_png(5, (16, 16)))
            answers = front.post("/v1/score", json=to_json([large, long, small])).json()["items"]
            assert [one["error"] and one["error"]["kind"] for one in answers] == ["too_large", "transport", None]
            assert front.get("/pool_status").json()["workers"][0]["restarts"] == 0
