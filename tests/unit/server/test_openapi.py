"""/openapi.json is true: every status that it lists is seen here on its route, and no other one."""

import json
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from reward_server import FAKE_JUDGE, RewardServer
from rewards import make_edit, to_json

from editlane.server.app import list_routes

TOKEN = "a token of the tests"
LIMITS = {"body_seconds": 0.5, "body_megabytes": 0.5, "request_items": 16}

EDITS = [make_edit(number, category="物理") for number in range(2)]
CODED = to_json(EDITS)["items"]
TEXTS = [one["instruction"] for one in EDITS]
BODIES: dict[str, bytes] = {
    "/v1/score": json.dumps({"items": CODED}).encode(),
    "/v1/rows": json.dumps({"items": CODED}).encode(),
    "/v1/jobs": json.dumps({"items": CODED}).encode(),
    "/compute": json.dumps(
        {
            "prompt": TEXTS,
            "image": [one["edited"] for one in CODED],
            "condition_images": [[one["source"]] for one in CODED],
        }
    ).encode(),
    "/get_reward": json.dumps({"query": TEXTS, "prompts": TEXTS, "labels": CODED}).encode(),
    "/score": json.dumps(
        {
            "responses": [one["edited"] for one in CODED],
            "metas": [{"instruction": one["instruction"], "source": one["source"]} for one in CODED],
        }
    ).encode(),
    "/": pickle.dumps(
        {
            "images": {name: [one[name] for one in EDITS] for name in ("source", "edited")},
            "prompts": TEXTS,
        }
    ),
    "/mode/logits_non_cot": pickle.dumps(
        {
            "ref_images": [one["source"] for one in EDITS],
            "images": [one["edited"] for one in EDITS],
            "prompts": TEXTS,
        }
    ),
}
"""A good body for each path."""

Seen = set[tuple[str, str, int]]


def make_server(folder: Path, token: str, **config: Any) -> RewardServer:
    """Return a server on which each edit takes a while, so that work can be at hand while it goes down."""
    judge = FAKE_JUDGE | {"params": {"seconds": 0.02}}
    return RewardServer(folder, token=token, judges={"fake": judge}, category="物理", limits=LIMITS, **config)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RewardServer]:
    with make_server(tmp_path / "s", TOKEN, pickle=True) as server:
        yield server


def list_documented(document: dict[str, Any]) -> Seen:
    return {
        (method.upper(), path, int(status))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for status in operation["responses"]
    }


class Asking:
    """Every route of a server, asked in all ways that it may refuse."""

    def __init__(self, server: RewardServer) -> None:
        self.server = server
        self.document = server.get("/openapi.json").json()
        self.seen: Seen = set()
        self._operations = sorted({(method, path) for method, path, _ in list_documented(self.document)})

    def ask(self, method: str, path: str, body: bytes | None = None, *, at: str = "", **headers: str) -> Any:
        kind = {"Content-Type": "application/json"} if body else {}
        response = self.server._ask(method, at or path, {"data": body, "headers": kind | headers})
        self.seen.add((method, path, response.status_code))
        documented = self.document["paths"][path][method.lower()]["responses"]
        content = documented[str(response.status_code)].get("content", {})
        assert response.headers.get("Content-Type", "").partition(";")[0] in (content or [""])
        return response

    def refuse_all(self) -> None:
        """Ask in every wrong way."""
        others = [one for one in self._operations if one != ("POST", "/v1/drain")]
        for method, path in [*others, ("POST", "/v1/drain")]:
            self.ask(method, path, Origin="http://elsewhere")
            if "security" in self.document["paths"][path][method.lower()]:
                self.ask(method, path, Authorization="Bearer no")
        for path in BODIES:
            self.ask("POST", path, b"{")
            self.ask("POST", path, b"x" * 600_000)
        for path in ("/v1/score", "/v1/rows", "/v1/jobs"):
            self.ask("POST", path, b"x", **{"Content-Type": "text/csv"})
        for method in ("GET", "DELETE"):
            self.ask(method, "/v1/jobs/{id}", at="/v1/jobs/none")
        with ThreadPoolExecutor(len(BODIES)) as threads:
            list(threads.map(self._stall, BODIES))

    def _stall(self, path: str) -> None:
        """Send a part of a body, and wait."""
        place = urlsplit(self.server.url)
        with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
            token = f"Authorization: Bearer {self.server.token}\r\n" if self.server.token else ""
            lines = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Content-Type: application/json\r\n"
            connection.sendall(f"{lines}Content-Length: 9\r\n\r\n{{".encode())
            self.seen.add(("POST", path, int(connection.recv(4096).split()[1])))

    def answer_all(self) -> None:
        """Ask in the right way, and with an edit that has no score."""
        for method, path in self._operations:
            if method == "GET" and "{" not in path:
                self.ask(method, path)
        for path, body in BODIES.items():
            self.ask("POST", path, body)
            damaged = body.replace(EDITS[1]["edited"], b"").replace(CODED[1]["edited"].encode(), b"")
            if body[:1] != b"{":  # lengths are part of a pickle
                damaged = body.replace(EDITS[1]["edited"], b"x" * len(EDITS[1]["edited"]))
            self.ask("POST", path, damaged)
        place = self.ask("POST", "/v1/jobs", BODIES["/v1/jobs"]).headers["Location"]
        self.ask("GET", "/v1/jobs/{id}", at=place)
        self.ask("DELETE", "/v1/jobs/{id}", at=place)

    def go_down(self) -> None:
        """Ask every route while the server finishes its last work."""
        edits = to_json([make_edit(100 + number) for number in range(16)])
        last = threading.Thread(target=lambda: self.ask("POST", "/v1/score", json.dumps(edits).encode()))
        last.start()
        while not self.server.get("/pool_status").json()["requests"]:
            time.sleep(0.01)
        self.ask("POST", "/v1/drain")
        self.ask("GET", "/ready")
        for path, body in BODIES.items():
            assert int(self.ask("POST", path, body).headers.get("Retry-After", 1)) > 0
        last.join()


def test_every_status_is_documented_and_every_documented_status_is_possible(server: RewardServer) -> None:
    asking = Asking(server)
    asking.refuse_all()
    asking.answer_all()
    asking.go_down()
    assert asking.seen == list_documented(asking.document)


@pytest.mark.runs
def test_what_the_config_rules_out_is_not_documented(tmp_path: Path) -> None:
    with make_server(tmp_path / "s", "", on_error="zero") as server:
        asking = Asking(server)
        asking.refuse_all()
        asking.answer_all()
        asking.go_down()
    documented = list_documented(asking.document)
    assert asking.seen == documented
    assert not any(status == 401 for _, _, status in documented)
    assert {status for _, path, status in documented if path == "/mode/logits_non_cot"} == {403, 415}
    assert not any(status == 422 for _, _, status in documented)


def test_every_route_is_documented(server: RewardServer) -> None:
    paths = server.get("/openapi.json").json()["paths"]
    stub: Any = SimpleNamespace(route=lambda path, handler, method="GET", private=True: (method.lower(), path))
    assert {(method, path) for path in paths for method in paths[path]} == set(list_routes(stub))
    for path, operations in paths.items():
        response = server._ask("TRACE", path.replace("{id}", "x"), {})
        assert response.status_code == 405 and "error" in response.json()
        assert set(response.headers["Allow"].split(", ")) - {"HEAD"} == {method.upper() for method in operations}
    assert server.get("/nothing").json()["error"].startswith("there is nothing at this path")
