"""Who may ask, and what nobody may learn or make the server do."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from reward_server import FAKE_JUDGE, RewardServer
from rewards import make_edit, to_json

TOKEN = "a-token-of-more-than-16"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardServer]:
    with RewardServer(tmp_path_factory.mktemp("guarded"), token=TOKEN) as server:
        yield server


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardServer]:
    with RewardServer(tmp_path_factory.mktemp("plain")) as server:
        yield server


PRIVATE = ["/ready", "/pool_status", "/metrics", "/v1/judges", "/v1/jobs/" + "0" * 32]
POSTS = [
    "/v1/score",
    "/v1/rows",
    "/v1/jobs",
    "/v1/drain",
    "/compute",
    "/get_reward",
    "/score",
    "/",
    "/mode/logits_non_cot",
]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "ключ"])
def test_all_but_the_health_needs_the_token(guarded: RewardServer, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}".encode()}
    for path in PRIVATE:
        assert requests.get(guarded.url + path, headers=headers, timeout=10).status_code == 401, path
    for path in POSTS:
        assert requests.post(guarded.url + path, headers=headers, json={}, timeout=10).status_code == 401, path
    for path in ("/health", "/ping", "/", "/page.js", "/page.css"):
        assert requests.get(guarded.url + path, headers=headers, timeout=10).status_code == 200, path
    assert guarded.process.poll() is None, "nobody drained it"


def test_the_token_opens(guarded: RewardServer) -> None:
    assert guarded.post("/v1/score", json=to_json([make_edit(1)])).json()["n_ok"] == 1
    everything = [path.read_bytes() for path in guarded.folder.rglob("*") if path.is_file()]
    assert all(TOKEN.encode() not in content for content in everything)


def ask(server: RewardServer, headers: dict[str, str], path: str = "/pool_status", method: str = "GET") -> int:
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_pages_of_other_servers_cannot_use_a_browser(plain: RewardServer, guarded: RewardServer) -> None:
    place = urlsplit(plain.url).netloc
    assert ask(plain, {"Host": place}) == 200 and ask(plain, {"Host": "localhost:1"}) == 200
    assert ask(plain, {"Host": "[::1]:80"}) == 200
    for host in ("evil.example", "evil.example:8200", "127.0.0.1.evil.example", ""):
        assert ask(plain, {"Host": host}) == 403, host
    assert ask(plain, {"Host": place, "Origin": "http://evil.example"}, "/v1/drain", "POST") == 403
    assert ask(plain, {"Host": place, "Origin": "null"}, "/v1/drain", "POST") == 403
    assert ask(plain, {"Host": place, "Origin": f"http://{place}"}) == 200
    named = {"Host": "gpu7.example", "Authorization": f"Bearer {TOKEN}"}
    assert ask(guarded, named) == 200, "with a token it may have any name"


@pytest.mark.parametrize(
    ("config", "environment", "message"),
    [
        ({"host": "0.0.0.0"}, {}, "others can reach the server, but there is no token"),
        ({"host": "::"}, {}, "others can reach the server, but there is no token"),
        ({"token_env": "NO_SUCH_TOKEN"}, {}, "NO_SUCH_TOKEN holds no token of 16 characters"),
        ({"token_env": "T"}, {"T": "short"}, "holds no token of 16 characters"),
        ({"token_env": "sk-1234567890abcdef"}, {}, "the key itself must not be in the config"),
        ({"judges": {"panel": FAKE_JUDGE}}, {}, "no judge can be called 'panel'"),
        ({"judges": {}}, {}, "judges"),
        ({"judges": {"a": {"adapter": "nope"}}}, {}, "Unknown judge 'nope'"),
        ({"workers": 0}, {}, "needs `backends:`"),
        ({"category": "socal"}, {}, "Did you mean 'social'?"),
        ({"judges": {"editlane": FAKE_JUDGE}}, {}, "no judge can be called 'editlane'"),
        ({"prot": 1}, {}, "prot"),
        ({"store": {"redis": "redis://:secret@x"}}, {}, "must not be in the config"),
        ({"store": {"runs": ["results/none"]}}, {}, "has no scores in its journal"),
        ({"backends": [{"url": "ftp://x"}]}, {}, "is not an address"),
        ({"port": 70000}, {}, "port"),
        ({"host": "no.such.host.invalid", "token_env": "T"}, {"T": "x" * 20}, "Cannot listen on"),
    ],
)
@pytest.mark.runs
def test_a_wrong_config_is_one_paragraph(
    tmp_path: Path, config: dict[str, object], environment: dict[str, str], message: str
) -> None:
    server = RewardServer(tmp_path, environment=environment, **config)
    assert server.process.wait(30) == 2
    assert message in server.stderr and "Traceback" not in server.stderr and "secret@" not in server.stderr
    assert server.stderr.startswith("error: ") and server.stderr.count("\n") == 1
    server.stop()


def test_a_port_in_use_is_one_paragraph(plain: RewardServer, tmp_path: Path) -> None:
    second = RewardServer(tmp_path, port=int(plain.url.rpartition(":")[2]))
    assert second.process.wait(30) == 2 and "Cannot listen on 127.0.0.1" in second.stderr
    second.stop()


def test_nothing_in_a_request_chooses_a_place(plain: RewardServer) -> None:
    metas = [{"source": "http://127.0.0.1:1/x.png", "instruction": "x", "category": "物理"}]
    kwargs = {"libero_cfg": {"host": "evil.example", "video_out_path": "/tmp/x"}, "max_workers": 1}
    asked = {"responses": ["/etc/passwd"], "metas": metas, "reward_function_kwargs": kwargs}
    answer = plain.post("/score", json=asked).json()
    assert answer["done_result"] == [None] and answer["errors"][0]["kind"] == "decode"
    for name in ("../../x", "..%2f..%2fx", "%00", "x" * 500, "A" * 32):
        assert plain.get(f"/v1/jobs/{name}").status_code == 404
        assert plain.session.delete(f"{plain.url}/v1/jobs/{name}").status_code in (404, 405)


def test_limits_on_items_and_texts(plain: RewardServer) -> None:
    edits = [make_edit(1)] * 257
    response = plain.post("/v1/score", json=to_json(edits))
    assert response.status_code == 413 and "256" in response.json()["error"]
    hostile = make_edit(2, instruction="\u202e\x1b[31m<script>alert(1)</script>", id="a\nb")
    (answer,) = plain.post("/v1/score", json=to_json([hostile])).json()["items"]
    assert answer["id"] == "a\nb" and answer["score"] is not None
    shown = json.dumps(plain.get("/pool_status").json()["recent"][0], ensure_ascii=False)
    assert "\\u202e" in shown and "\u202e" not in shown and "\x1b" not in shown
