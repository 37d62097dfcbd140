"""Requests that are nearly right, by the thousand: each is answered or refused, and none does harm to the next one."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nearly
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reward_server import FAKE_JUDGE, RewardServer
from rewards import audit, make_edit, to_json

HERE = Path(__file__).parent
TOLD = re.compile(r"Traceback|\.py\b|site-packages|/tmp/|/home/|line \d+, in|0x[0-9a-f]{8}")
"""What no answer may tell."""

TOKEN = "a token of the tests"

FEW = 160
FEW_OR_MANY = pytest.mark.parametrize("examples", [FEW, pytest.param(3000, marks=pytest.mark.faults)])


class Fuzzed:
    """A server, and what its description allows it to answer."""

    def __init__(self, server: RewardServer) -> None:
        self.server = server
        self.paths = server.get("/openapi.json").json()["paths"]
        self.pids = self._list_pids()
        self._asked = 0

    def _list_pids(self) -> list[int]:
        return [one["pid"] for one in self.server.get("/pool_status").json()["workers"]]

    def post(self, path: str, body: bytes, kind: str, **headers: str) -> requests.Response:
        """Send a body. Fails unless the answer is one that the description lists."""
        response = self.server.post(path, data=body, headers={"Content-Type": kind} | headers)
        told = response.content.decode("utf-8", "replace")
        assert str(response.status_code) in self.paths[path]["post"]["responses"], (response.status_code, told)
        assert response.status_code < 500 or int(response.headers["Retry-After"]) >= 1
        assert not TOLD.search(told), told
        if response.status_code >= 400:
            assert set(response.json()) == {"error"} and "\n" not in response.json()["error"]
        return response

    def check(self) -> None:
        """Fail unless good edits still get their scores, from the same workers, and nothing was logged."""
        edits = [make_edit(10_000 + self._asked + number) for number in range(4)]
        self._asked += len(edits)
        response = self.server.post("/v1/score", json=to_json(edits))
        assert response.status_code == 200, response.text
        answers = response.json()["items"]
        assert not +audit(edits, answers) and all(one["score"] is not None for one in answers)
        assert self._list_pids() == self.pids
        assert "Traceback" not in self.server.stderr, self.server.stderr[-3000:]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    yes_no = FAKE_JUDGE | {"protocol": "resources/protocols/yesno.yaml"}
    config: dict[str, Any] = {"judges": {"fake": FAKE_JUDGE, "是非": yes_no}, "pickle": True, "category": "物理"}
    limits = {"image_pixels": 100_000, "deadline_seconds": 20, "body_seconds": 2}
    with RewardServer(tmp_path_factory.mktemp("服务"), limits=limits, **config) as server:
        yield Fuzzed(server)


def try_all(examples: int, bodies: st.SearchStrategy[Any], act: Callable[[Any], object]) -> None:
    """Call `act` with so many of the bodies: the same ones each time if they are few."""
    few = examples == FEW

    @settings(
        max_examples=examples,
        derandomize=few,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(bodies)
    def attempt(body: Any) -> None:
        act(body)

    attempt()


@FEW_OR_MANY
@pytest.mark.parametrize("path", ["/v1/score", "/v1/rows", "/v1/jobs"])
@pytest.mark.parametrize("kind", ["json", "msgpack", "form"])
def test_bodies_of_edits(fuzzed: Fuzzed, examples: int, path: str, kind: str) -> None:
    bodies = {"json": nearly.JSON_BODIES, "msgpack": nearly.MSGPACK_BODIES, "form": nearly.forms()}[kind]
    try_all(examples, bodies, lambda body: fuzzed.post(path, *body))
    fuzzed.check()


@FEW_OR_MANY
@pytest.mark.parametrize("dialect", nearly.DIALECTS)
def test_bodies_of_trainers(fuzzed: Fuzzed, examples: int, dialect: str) -> None:
    path = dialect.partition(" ")[0]
    try_all(examples, nearly.dialect_bodies(dialect), lambda body: fuzzed.post(path, *body))
    fuzzed.check()


@FEW_OR_MANY
@pytest.mark.parametrize("path", nearly.PICKLED)
def test_pickles(fuzzed: Fuzzed, examples: int, path: str) -> None:
    try_all(examples, nearly.pickles(path), lambda body: fuzzed.post(path, *body))
    fuzzed.check()


@FEW_OR_MANY
def test_damaged_images(fuzzed: Fuzzed, examples: int) -> None:
    """Such an edit fails alone, or what is left of its images is judged; no worker is lost."""

    def ask(images: tuple[bytes, bytes]) -> None:
        good = make_edit(sum(map(len, images)) % 50)
        items = [make_edit(1, source=images[0], edited=images[1]), good]
        response = fuzzed.post("/v1/score", nearly.pack({"items": items}), "application/msgpack")
        first, second = response.json()["items"]
        assert not +audit([good], [second]) and second["score"] is not None
        assert first["error"] is None or first["error"]["kind"] in ("decode", "too_large"), first

    try_all(examples, st.tuples(nearly.IMAGES, nearly.IMAGES), ask)
    fuzzed.check()


@FEW_OR_MANY
def test_bytes_that_are_hardly_http(fuzzed: Fuzzed, examples: int) -> None:
    place = urlsplit(fuzzed.server.url)

    def send(raw: bytes) -> None:
        with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
            with suppress(OSError):  # the server may close before it has read all
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionError):
                while part := connection.recv(65536):
                    answer += part
        statuses = [int(one) for one in re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.MULTILINE)]
        assert all(status < 500 for status in statuses), answer
        assert not TOLD.search(answer.decode("latin-1")), answer

    try_all(examples, nearly.RAW, send)
    fuzzed.check()


@FEW_OR_MANY
def test_storms_of_retries(fuzzed: Fuzzed, examples: int) -> None:
    """What is refused once is refused each time, also to many at once."""
    bodies = st.tuples(st.sampled_from(["/v1/score", "/v1/rows"]), nearly.JSON_BODIES | nearly.MSGPACK_BODIES)

    def storm(asked: tuple[str, tuple[bytes, str]]) -> None:
        path, body = asked
        with ThreadPoolExecutor(12) as threads:
            statuses = set(threads.map(lambda _: fuzzed.post(path, *body, Connection="close").status_code, range(24)))
        assert len(statuses) == 1

    try_all(examples // 20, bodies, storm)
    fuzzed.check()


@pytest.mark.parametrize(
    "examples", [pytest.param(FEW, marks=pytest.mark.runs), pytest.param(3000, marks=pytest.mark.faults)]
)
def test_the_description_is_true(tmp_path: Path, examples: int) -> None:
    """Schemathesis draws requests from /openapi.json, good and bad ones, and holds the answers against it."""
    judges = {"fake": FAKE_JUDGE, "是非": FAKE_JUDGE | {"protocol": "resources/protocols/yesno.yaml"}}
    with RewardServer(tmp_path / "s", token=TOKEN, judges=judges, pickle=True, category="物理") as server:
        fuzzed = Fuzzed(server)
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
        command += [f"{server.url}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}", "--no-color"]
        command += ["--max-examples", str(examples // 16), "--continue-on-failure"]
        command += ["--seed", "1"] if examples == FEW else []
        hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE)}
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | hooks, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[:8000] + done.stderr[-2000:]
        assert " generated" in done.stdout
        fuzzed.check()
