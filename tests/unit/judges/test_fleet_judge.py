"""A judge that asks a fleet: its servers are found, its versions are named, its requests are counted."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adapters import built
from endpoint_double import MODEL, Double, serving
from fleet_double import BASE, LENIENT, PUBLISHED, STRICT, make_node, tell, write_fleet
from PIL import Image

from editlane.core import fleet_accounts as accounts
from editlane.core import fleets
from editlane.core.errors import JudgeFailed, UserError
from editlane.core.fleet_accounts import read_accounts
from editlane.core.fleets import FleetDown
from editlane.core.paths import FleetPaths
from editlane.core.types import Question
from editlane.endpoint import http as endpoints
from editlane.endpoint.http import Endpoint
from editlane.judges.qwen3_vl.openai_engine import EndpointJudge
from editlane.judges.vlm.openai_engine import VlmEndpointJudge

DIGITS = tuple("0123456789")
ACCOUNTS = FleetPaths("judges").accounts


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(accounts, "_LEDGERS", {})
    yield
    fleets._VERSIONS.clear()


@pytest.fixture
def double() -> Iterator[Double]:
    with serving() as server:
        server.models = [*PUBLISHED, *PUBLISHED.values()]
        yield server


def make_judge(model: str, config: str, **params: Any) -> EndpointJudge:
    return built(EndpointJudge, model=model, params={"fleet": config, "attempts": 3} | params)


def read(judge: EndpointJudge) -> Any:
    question = Question(system="s", parts=(Image.new("RGB", (40, 30)), "0 to 9?"))
    return judge.read_out(judge.prepare([[question]]), DIGITS)


def write_accounts() -> None:
    accounts.open_ledger("judges").write()


# --- a fleet


@pytest.mark.parametrize("name", ["strict", STRICT])
def test_the_published_name_is_asked_for_and_counted(double: Double, name: str) -> None:
    judge = make_judge(name, write_fleet(Path(), make_node(double.url)))
    read(judge)
    assert {body["model"] for body in double.asked} == {STRICT}
    assert {headers["X-Session-ID"] for headers in double.headers} == {STRICT}
    write_accounts()
    found = read_accounts(ACCOUNTS)
    assert found.models[STRICT].success_calls == len(double.asked) == found.groups["A"].total_calls
    assert list(found.groups) == ["A"]


def test_each_judge_of_a_fleet_asks_for_its_own_adapter(double: Double) -> None:
    config = write_fleet(Path(), make_node(double.url))
    for name in PUBLISHED:
        read(make_judge(name, config))
    assert {body["model"] for body in double.asked} == {STRICT, LENIENT, BASE}


def test_a_request_counts_once_and_fails_if_no_attempt_was_answered(double: Double) -> None:
    judge = make_judge("strict", write_fleet(Path(), make_node(double.url)))
    read(judge)
    before = len(double.asked)
    double.trouble = lambda body, attempt: 500 if attempt % 3 else None  # answered in the third attempt
    read(judge)
    double.trouble = lambda body, attempt: 500
    with pytest.raises(JudgeFailed):
        read(judge)
    double.trouble = lambda body, attempt: 400
    with pytest.raises(JudgeFailed):
        read(judge)
    write_accounts()
    found = read_accounts(ACCOUNTS).models[STRICT]
    assert found.error_calls == 2
    assert before < found.success_calls < len(double.asked) - 2


def test_a_disk_error_does_not_hurt_the_judge(double: Double) -> None:
    judge = make_judge("strict", write_fleet(Path(), make_node(double.url)))
    ACCOUNTS.touch()
    read(judge)
    write_accounts()
    assert not ACCOUNTS.is_dir()


def test_the_token_of_the_fleet_is_the_key_unless_another_is_named(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_fleet(Path(), make_node(double.url, token_env="FLEET_TOKEN"))
    with pytest.raises(UserError, match=r"config/fleet.yaml: token_env names the environment variable FLEET_TOKEN"):
        make_judge("strict", config)
    monkeypatch.setenv("FLEET_TOKEN", "geheim-1")
    monkeypatch.setenv("JUDGE_KEY", "geheim-2")
    for key, more in (("geheim-1", {}), ("geheim-2", {"api_key_env": "JUDGE_KEY"})):
        double.key = key
        read(make_judge("strict", config, **more))
    assert {headers["Authorization"] for headers in double.headers} == {"Bearer geheim-1", "Bearer geheim-2"}


def test_a_fleet_that_does_not_run_or_lacks_the_model_is_refused(double: Double) -> None:
    config = write_fleet(Path(), make_node(double.url))
    with pytest.raises(UserError, match=r"fleet judges .* does not serve this model. .*Did you mean 'strict'\?"):
        make_judge("strikt", config)
    tell(make_node(double.url, pid=2**22 + 1))
    with pytest.raises(FleetDown, match=r"serve_fleet.py up --configfile config/fleet.yaml"):
        make_judge("strict", config)


def test_weights_that_change_under_a_running_judge_are_not_asked(double: Double) -> None:
    """The key of its scores names the version that it began with."""
    config = write_fleet(Path(), make_node(double.url))
    read(make_judge("strict", config))
    node = make_node(double.url, published=PUBLISHED | {"strict": "strict@222222222222"})
    tell(node)
    read(make_judge("strict", config))
    assert {body["model"] for body in double.asked} == {STRICT}
    node.servers[0].adapters = ["strict@222222222222"]
    tell(node)
    with pytest.raises(UserError, match=f"serves strict@222222222222, and no longer {STRICT}"):
        make_judge("strict", config)


# --- affinity at any endpoint


@pytest.mark.parametrize(
    ("model", "affinity", "session"),
    [("strict", "soft", STRICT), ("strict", "none", None), ("strict", "hard", None), ("base", "soft", None)],
)
def test_only_an_adapter_of_a_fleet_with_soft_affinity_is_kept_to_one_server(
    model: str, affinity: str, session: str | None, double: Double
) -> None:
    """A base model is on every server, and would have only one of them work."""
    double.models = list(PUBLISHED.values())
    read(make_judge(model, write_fleet(Path(), make_node(double.url, affinity=affinity))))
    assert {headers.get("X-Session-ID") for headers in double.headers} == {session}


def test_a_lora_judge_of_any_family_replies_through_the_fleet(double: Double) -> None:
    double.models = list(PUBLISHED.values())
    config = write_fleet(Path(), make_node(double.url, affinity="soft"))
    params = {"fleet": config, "temperature": 0.7, "replies": 2}
    judge = built(VlmEndpointJudge, model="strict", params=params)
    question = Question(system="", parts=(Image.new("RGB", (40, 30)), "让它下雨"))
    ((first, second),) = judge.generate(judge.prepare([[question, question]]), 64, [[1, 2]])
    assert first != second
    assert {(body["model"], body["seed"]) for body in double.asked} == {(STRICT, 1), (STRICT, 2)}
    assert {headers.get("X-Session-ID") for headers in double.headers if headers["Content-Length"]} == {STRICT}


def test_requests_to_an_address_name_no_session(double: Double) -> None:
    """Gateways with sticky sessions would send them all to one replica."""
    double.models = [MODEL]
    read(built(EndpointJudge, model=MODEL, params={"base_url": double.url}))
    assert not any("X-Session-ID" in headers for headers in double.headers)


def test_an_attempt_after_a_full_server_goes_to_another_one(double: Double) -> None:
    troubles = [429, 500, 503, 503]
    double.models = None
    double.trouble = lambda body, attempt: troubles[attempt - 1] if attempt <= len(troubles) else b"{}"
    body = json.dumps({"model": MODEL}).encode()
    endpoint = Endpoint(base_url=double.url, session="a@b", attempts=6)
    for _ in range(2):  # and the next request begins at the first server again
        endpoint.ask("/chat/completions", lambda reply: reply, body)
        double.attempts.clear()
    sent = [headers["X-Session-ID"] for headers in double.headers]
    assert sent == ["a@b", "a@b/1", "a@b/1", "a@b/2", "a@b/3"] * 2
    Endpoint(base_url=double.url).ask("/chat/completions", lambda reply: reply, body)
    assert "X-Session-ID" not in double.headers[-5]


# --- no seed where nothing is drawn


def test_a_seed_is_sent_only_where_the_reply_is_drawn(double: Double) -> None:
    double.models, double.shows = [MODEL], 8
    for temperature in (0.0, 0.7):
        judge = built(EndpointJudge, model=MODEL, params={"base_url": double.url, "temperature": temperature})
        read(judge)
        batch = judge.prepare([[Question(system="s", parts=("How many?",))]])
        judge.generate(batch, 64, [[7]])
    kinds = {(body["max_tokens"], body["temperature"], body.get("seed")) for body in double.asked}
    assert kinds == {(1, 1, None), (1, 0, None), (64, 0.0, None), (64, 0.7, 7)}
    assert any("structured_outputs" in body for body in double.asked)


def test_the_same_distribution_is_read_whatever_is_drawn(double: Double) -> None:
    double.models = [MODEL]
    judge = built(EndpointJudge, model=MODEL, params={"base_url": double.url})
    batch = judge.prepare(
        [[Question(system="s", parts=(Image.new("RGB", (40, 30 + number)), "0 to 9?"))] for number in range(12)]
    )
    first = judge.read_out(batch, DIGITS)
    for _ in range(5):
        assert judge.read_out(batch, DIGITS) == first
    for (one,) in first:
        assert math.fsum(one.probabilities) == pytest.approx(1)
