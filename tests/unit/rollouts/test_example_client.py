"""scripts/example_client.py, which users copy from, against real servers of roll-outs."""

import json
import runpy
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from policy_servers import PolicyServers
from reward_server import RewardServer
from step_runs import SCRIPTS, Ended, run_step_program

from editlane.stats.intervals import rate_interval

WRONG = "reach 0.900 0.900 0.900"
TOKEN = "a-token-of-more-than-16"


@pytest.fixture(scope="module")
def policies() -> Iterator[PolicyServers]:
    with PolicyServers(1) as servers:
        yield servers


@pytest.fixture(scope="module")
def server(policies: PolicyServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardServer]:
    with make_server(tmp_path_factory.mktemp("rollouts"), policies) as started:
        yield started


def make_server(folder: Path, policies: PolicyServers, token: str = "") -> RewardServer:
    simulator = {"name": "reach", "count": 2}
    return RewardServer(folder, simulator=simulator, policy={"addresses": policies.addresses}, token=token)


class Answering(BaseHTTPRequestHandler):
    """Answers one item with a result, breaks down over others, and is no server of roll-outs for `{}`."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        item = {"score": 1.0, "error": None, "solved": 1, "played": 1}
        answer = json.dumps({} if body["responses"] == ["{}"] else {"items": [item]}).encode()
        self.send_response(500 if body["responses"] == ["bad"] else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def double() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{started.server_port}"
        started.shutdown()


def ask(url: str, folder: Path, *flags: str) -> Ended:
    return run_step_program("example_client", ["--url", url, *flags], folder)


def test_one_request_prints_a_line_for_each_item_and_the_rate(server: RewardServer, tmp_path: Path) -> None:
    ended = ask(server.url, tmp_path, "--suite", "reach", "--tasks", "0,1,2", "--trials", "3")
    assert (ended.code, ended.err) == (0, "")
    *lines, total = ended.out.splitlines()
    assert lines == [f"{n + 1}  reach task {n}  1.00  solved 3 of 3" for n in range(3)]
    low, high = rate_interval(9, 9) or (0, 0)
    assert total == f"solved 9 of 9: 1.00, 95 % interval {low:.2f} to {high:.2f}"


@pytest.mark.parametrize("requests", ["1", "3", "9"])
def test_results_keep_their_order_however_many_requests_there_are(
    server: RewardServer, tmp_path: Path, requests: str
) -> None:
    ended = ask(server.url, tmp_path, "--parallel", requests, "--tasks", "3,4", WRONG, "", WRONG)
    scores = [line.split("  ")[2] for line in ended.out.splitlines()[:-1]]
    assert (ended.code, scores) == (0, ["0.00", "0.00", "1.00", "1.00", "0.00", "0.00"])
    assert ended.out.splitlines()[-1].startswith("solved 2 of 6: 0.33, 95 % interval 0.10 to 0.70")


def test_an_item_without_a_result_says_why_and_is_no_failure_of_the_policy(
    server: RewardServer, tmp_path: Path
) -> None:
    ended = ask(server.url, tmp_path, "--tasks", "5,99")
    assert ended.code == 1
    assert "2  task 99  no result: unknown_task: " in ended.out
    assert ended.out.splitlines()[-1].startswith("solved 1 of 1: 1.00, ")
    assert ended.out.endswith("; items without a result: 1\n")


def test_a_token_is_sent_if_its_variable_is_named(
    policies: PolicyServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLOUT_TOKEN", TOKEN)
    with make_server(tmp_path, policies, TOKEN) as server:
        without = ask(server.url, tmp_path)
        assert (without.code, "--token-env" in without.err) == (2, True)
        assert ask(server.url, tmp_path, "--token-env", "ROLLOUT_TOKEN").code == 0


def test_a_server_that_is_away_is_one_paragraph(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    ended = ask(closed, tmp_path, "--parallel", "2", "a", "b")
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert ended.err.startswith(f"error: No server of roll-outs answers at {closed}: ")


def test_a_request_that_is_lost_costs_the_others_nothing(double: str, tmp_path: Path) -> None:
    ended = ask(double, tmp_path, "--parallel", "2", "good", "bad")
    good, bad, total = ended.out.splitlines()
    assert (ended.code, good) == (1, "1  task 0 'good'  1.00  solved 1 of 1")
    assert bad.startswith("2  task 0 'bad'  no result: transport: ") and "HTTP 500" in bad
    assert total.startswith("solved 1 of 1: 1.00")


def test_a_server_of_something_else_is_one_paragraph(double: str, tmp_path: Path) -> None:
    ended = ask(double, tmp_path, "{}")
    assert (ended.code, "is no server of roll-outs" in ended.err) == (2, True)


def test_a_text_never_reaches_the_terminal_as_it_is(server: RewardServer, tmp_path: Path) -> None:
    ended = ask(server.url, tmp_path, "\x1b[2Jgo\u202e\nthere" + "x" * 2500)
    assert (ended.code, len(ended.out.splitlines())) == (1, 2)
    assert "\x1b" not in ended.out and "\u202e" not in ended.out and len(ended.out) < 600


@pytest.mark.parametrize(("solved", "played"), [(0, 1), (1, 1), (3, 9), (0, 500), (499, 500)])
def test_the_interval_is_that_of_the_server(solved: int, played: int) -> None:
    find = runpy.run_path(str(SCRIPTS / "example_client.py"))["find_interval"]
    assert find(solved, played) == pytest.approx(rate_interval(solved, played), abs=1e-9)
    assert find(0, 0) == (0.0, 1.0)
