"""The client of the reward server: each item gets its own reward or a reason, whatever the server does."""

import asyncio
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from reward_double import Double, compute_reward, fail, score_item

from editlane.client import RewardClient, RewardError, transport
from editlane.client import client as client_module

PNG = b"\x89PNG"


def item(number: int, size: int = 20, **more: Any) -> dict[str, Any]:
    chance = random.Random(number)
    images = {name: PNG + chance.randbytes(size) for name in ("source", "edited")}
    return {"instruction": f"编辑 {number} 🙂 é", **images, **more}


def expected(items: list[dict[str, Any]]) -> list[float]:
    return [compute_reward(one["source"], one["edited"], one["instruction"]) for one in items]


def rewards(client: RewardClient, items: list[dict[str, Any]], **options: Any) -> list[float | None]:
    return [reward.reward for reward in client.score(items, **options)]


def refuse_first(count: int, status: int, *headers: tuple[str, str]) -> Callable[[int], Any]:
    return lambda number: (status, headers) if number <= count else None


def test_every_item_gets_its_own_reward_in_order(server: Double) -> None:
    items = [item(number) for number in range(100)]
    assert rewards(RewardClient(server.url), items) == expected(items)
    assert len(server.asked) > 1
    assert all(len(body["items"]) <= 32 for body in server.asked)


def test_all_that_the_server_says_about_an_item_is_there(server: Double) -> None:
    found = RewardClient(server.url).score([item(1, id="photo 1", category="物理", description="d", rationale="r")])[0]
    assert found.id == "photo 1"
    assert (found.state, found.judge, found.judge_key, found.cached) == ("scored", "fake", "0" * 16, False)
    assert found.score == pytest.approx(10 * (found.reward or 0))
    assert found.scores == {"quality": found.score}
    assert (found.kind, found.message) == (None, None)
    sent = server.asked[0]["items"][0]
    assert (sent["category"], sent["description"], sent["rationale"]) == ("物理", "d", "r")
    assert server.asked[0]["items"][0]["instruction"] == "编辑 1 🙂 é"


def test_no_items_need_no_server() -> None:
    assert RewardClient("http://127.0.0.1:1").score([]) == []


def test_ids_may_be_the_same_or_missing(server: Double) -> None:
    items = [item(0, id="a"), item(1, id="a"), item(2), item(0, id="a")]
    found = RewardClient(server.url).score(items)
    assert [one.id for one in found] == ["a", "a", "2", "a"]
    assert [one.reward for one in found] == expected(items)


def test_requests_stay_under_the_limits_of_the_server(server: Double) -> None:
    server.limits = {"body_bytes": 30_000, "items": 3}
    server.most_bytes = 30_000
    items = [item(number, size=random.Random(number).randrange(7000)) for number in range(30)]
    assert rewards(RewardClient(server.url), items) == expected(items)
    assert max(len(body["items"]) for body in server.asked) <= 3


def test_an_item_above_all_limits_is_too_large_and_the_others_are_scored(server: Double) -> None:
    server.limits = {"body_bytes": 10_000, "items": 256}
    server.most_bytes = 10_000
    items = [item(0), item(1, size=9000), item(2)]
    found = RewardClient(server.url).score(items)
    assert [one.kind for one in found] == [None, "too_large", None]
    assert [one.reward for one in found if one.reward is not None] == expected([items[0], items[2]])


def test_a_request_that_a_proxy_finds_too_large_is_cut_in_halves(server: Double) -> None:
    server.most_bytes = 3_000
    items = [item(number, size=500) for number in range(40)]
    assert rewards(RewardClient(server.url, connections=1), items) == expected(items)


def test_several_requests_are_on_their_way_but_only_a_few(server: Double) -> None:
    server.seconds = 0.1
    client = RewardClient(server.url, connections=3)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(client.score, [item(10 * call + number) for number in range(10)]) for call in range(5)]
        for number, call in enumerate(calls):
            items = [item(10 * number + place) for place in range(10)]
            assert [one.reward for one in call.result()] == expected(items)
    assert server.most_at_once == 3


def test_connections_stay_open(server: Double) -> None:
    client = RewardClient(server.url, connections=1)
    for number in range(5):
        client.score([item(number)])
    assert len(server.asked) == 5
    assert len(server.clients) == 1


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_refusal_is_repeated(server: Double, status: int) -> None:
    server.trouble = refuse_first(2, status)
    assert rewards(RewardClient(server.url, attempts=1), [item(1)]) == expected([item(1)])
    assert len(server.asked) == 3


def test_the_server_says_when_to_come_again(server: Double) -> None:
    server.trouble = refuse_first(1, 503, ("Retry-After", "1"))
    start = time.monotonic()
    assert rewards(RewardClient(server.url), [item(1)]) == expected([item(1)])
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize("hint", ["soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", "1e9"])
def test_a_strange_hint_does_not_matter(server: Double, hint: str) -> None:
    server.trouble = refuse_first(1, 503, ("Retry-After", hint))
    assert rewards(RewardClient(server.url), [item(1)]) == expected([item(1)])


@pytest.mark.parametrize(("hint", "least", "most"), [(None, 0.01, 0.1), (7.0, 7, 10.5), (1e9, 60, 90)])
def test_pauses_are_bounded_and_not_the_same_for_all(hint: float | None, least: float, most: float) -> None:
    pauses = {transport._choose_pause(tries, hint) for tries in range(100)}
    assert least <= min(pauses) <= max(pauses) <= most
    assert len(pauses) > 50


def test_a_storm_of_refusals_loses_nothing(server: Double) -> None:
    server.trouble = lambda number: (503, ()) if number % 3 else None
    items = [item(number) for number in range(50)]
    assert rewards(RewardClient(server.url), items) == expected(items)


def test_a_server_that_stays_full_ends_at_the_deadline(server: Double) -> None:
    server.trouble = lambda number: (503, [("Retry-After", "1")])
    start = time.monotonic()
    found = RewardClient(server.url).score([item(1), item(2)], deadline=1.5)
    assert time.monotonic() - start < 5
    assert [(one.reward, one.kind) for one in found] == [(None, "deadline")] * 2
    assert "HTTP 503: told to refuse" in str(found[0].message)


@pytest.mark.parametrize("trouble", ["close", "cut"])
def test_a_lost_connection_is_repeated(server: Double, trouble: str) -> None:
    server.trouble = lambda number: trouble if number <= 4 else None
    assert rewards(RewardClient(server.url, connections=1), [item(1)]) == expected([item(1)])
    assert len(server.asked) == 5


def test_a_server_that_dies_leaves_a_reason_and_the_rewards_that_came(server: Double) -> None:
    items = [item(number) for number in range(10)]
    client = RewardClient(server.url, connections=1, attempts=2)
    client.score(items[:1])
    server.limits = client._limits = {"body_bytes": 2**20, "items": 5}
    server.trouble = lambda number: "close" if number > 2 else None
    found = client.score(items, deadline=4)
    assert [one.reward for one in found[:5]] == expected(items[:5])
    assert [(one.reward, one.kind) for one in found[5:]] == [(None, "deadline")] * 5
    assert "the connection failed" in str(found[9].message)
    assert len(server.asked) > 4, "a server that has answered is waited for"


def test_a_server_that_is_started_again_is_found_again(server: Double) -> None:
    client = RewardClient(server.url, connections=1, attempts=2)
    server.trouble = lambda number: "close" if 1 < number <= 7 else None
    client.score([item(0)])
    assert rewards(client, [item(1)]) == expected([item(1)])


def test_the_address_and_the_token_may_come_from_the_environment(
    server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDITLANE_REWARD_URL", raising=False)
    with pytest.raises(RewardError, match="EDITLANE_REWARD_URL"):
        RewardClient()
    monkeypatch.setenv("EDITLANE_REWARD_URL", server.url)
    monkeypatch.setenv("EDITLANE_REWARD_TOKEN", "of-the-environment")
    assert rewards(RewardClient(), [item(1)]) == expected([item(1)])


def test_what_the_server_warns_of_is_logged_once(server: Double, caplog: pytest.LogCaptureFixture) -> None:
    server.warning = "the canary's mean has moved: fake by +0.40 points of 10"
    client = RewardClient(server.url)
    client.score([item(1)])
    client.score([item(2)])
    assert caplog.text.count("the canary's mean has moved") == 1


def test_a_wrong_folder_is_an_error_and_one_lost_image_is_not(server: Double, tmp_path: Path) -> None:
    gone = [item(number, source=tmp_path / f"{number}.png", edited=tmp_path / f"e{number}.png") for number in range(3)]
    with pytest.raises(RewardError, match="None of the images is there"):
        RewardClient(server.url).score(gone)
    assert [one.kind for one in RewardClient(server.url).score([item(0), gone[0]])] == [None, "missing"]


def test_a_server_that_is_not_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(RewardError, match=rf"no reward server at http://127.0.0.1:{port}: .*refused.*Start it"):
        RewardClient(f"http://127.0.0.1:{port}", attempts=2).score([item(1)])


@pytest.mark.parametrize("trouble", ["hang", "trickle"])
def test_a_server_that_hangs_ends_at_the_deadline(server: Double, trouble: str) -> None:
    client = RewardClient(server.url, connections=1)
    client.score([item(0)])
    server.trouble = lambda number: trouble if number > 2 else None
    client._limits = {"body_bytes": 2**20, "items": 1}
    start = time.monotonic()
    found = client.score([item(1), item(2)], deadline=1)
    assert time.monotonic() - start < 5
    assert [one.reward for one in found] == [*expected([item(1)]), None]
    assert found[1].kind == "deadline"


def test_a_request_without_an_answer_is_sent_again(server: Double) -> None:
    server.trouble = lambda number: "hang" if number == 1 else None
    assert rewards(RewardClient(server.url, timeout=0.5), [item(1)]) == expected([item(1)])


def test_the_server_is_told_a_deadline_before_the_clients(server: Double) -> None:
    RewardClient(server.url, timeout=10).score([item(1)], deadline=1)
    RewardClient(server.url, timeout=10).score([item(1)])
    assert 0.5 < server.asked[0]["deadline_s"] < 1
    assert server.asked[1]["deadline_s"] == pytest.approx(9)


@pytest.mark.parametrize("kind", ["crash", "oom", "timeout", "transport", "deadline", "model"])
def test_what_may_pass_is_asked_once_more(server: Double, kind: str) -> None:
    server.answer_item = lambda one, attempt: fail(one, kind) if attempt == 1 else score_item(one)
    assert rewards(RewardClient(server.url), [item(1), item(2)]) == expected([item(1), item(2)])
    assert set(server.attempts.values()) == {2}


@pytest.mark.parametrize(("kind", "times"), [("crash", 2), ("mass", 1), ("category", 1), ("text", 1), ("unheard", 1)])
def test_what_stays_has_a_reason_and_no_number(server: Double, kind: str, times: int) -> None:
    server.answer_item = lambda one, attempt: fail(one, kind, "so\nit is")
    found = RewardClient(server.url).score([item(1)])[0]
    assert (found.reward, found.score, found.kind, found.message) == (None, None, kind, "so it is")
    assert set(server.attempts.values()) == {times}


def test_only_what_failed_is_asked_again(server: Double) -> None:
    server.answer_item = lambda one, attempt: fail(one, "oom") if "3" in one["instruction"] else score_item(one)
    items = [item(number) for number in range(5)]
    assert [one.kind for one in RewardClient(server.url).score(items)] == [None, None, None, "oom", None]
    assert sorted(server.attempts.values()) == [1, 1, 1, 1, 2]


def test_a_panel_has_each_judges_reward_and_none_of_its_own(server: Double) -> None:
    found = RewardClient(server.url, judge="panel").score([item(1)])[0]
    assert server.asked[0]["judge"] == "panel"
    assert found.reward is None and found.kind == "panel" and not found.may_pass
    (right,) = expected([item(1)])
    assert {name: one.reward for name, one in found.judges.items()} == {"a": right, "b": right}


def test_a_judge_can_be_named(server: Double) -> None:
    RewardClient(server.url, judge="a").score([item(1)])
    RewardClient(server.url, judge="a").score([item(1)], judge="b")
    assert [body["judge"] for body in server.asked] == ["a", "b"]


def test_a_broken_item_does_not_concern_the_others(server: Double, tmp_path: Path) -> None:
    items = [item(0), item(1, source=tmp_path / "none.png"), item(2, edited=None), item(3, instruction="\ud800")]
    items += [item(4, instruction=None), item(5, category=3), item(6, edited=b"no image"), item(7)]
    found = RewardClient(server.url).score(items)
    assert [one.kind for one in found] == [None, "missing", "decode", "text", "text", "text", "decode", None]
    assert [found[0].reward, found[7].reward] == expected([items[0], items[7]])
    assert "none.png" in str(found[1].message)
    assert sum(len(body["items"]) for body in server.asked) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"source": PNG, "instruction": "x"}, r"Item 1 has no 'edited'"),
        ({"source": PNG, "edited": PNG, "instruction": "x", "catgory": "a"}, r"unknown key 'catgory'.*category"),
        ("photo.png", r"Item 1 is no dictionary, but str"),
    ],
)
def test_items_of_another_form_are_an_error(server: Double, wrong: Any, message: str) -> None:
    with pytest.raises(RewardError, match=message):
        RewardClient(server.url).score([item(0), wrong])
    assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"items": []}', r"is about 0 items instead of 1"),
        (b'{"items": [{"id": "1", "reward": 0.5, "score": 5}]}', r"about other items"),
        (b'{"items": [{"id": "0", "reward": NaN, "score": 5}]}', r"reward of nan"),
        (b'{"items": [{"id": "0", "reward": 7, "score": 5}]}', r"reward of 7"),
        (b'{"items": [{"id": "0", "reward": true, "score": 5}]}', r"reward of True"),
        (b'{"items": [{"id": "0", "judges": {}}]}', r"panel without judges"),
        (b"<html>welcome</html>", r"is no JSON.*Is it Editlane's"),
        (b"[]", r"no list of items"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error_and_no_reward(server: Double, answer: bytes, message: str) -> None:
    server.trouble = lambda number: answer
    with pytest.raises(RewardError, match=message):
        RewardClient(server.url).score([item(1)])


def test_an_endless_answer_is_cut_off(server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    client = RewardClient(server.url, connections=1)
    client.score([item(0)])
    monkeypatch.setattr(transport, "_LONGEST_ANSWER", 100)
    with pytest.raises(RewardError, match="is no JSON"):
        client.score([item(1)])
    monkeypatch.undo()
    assert rewards(client, [item(2)]) == expected([item(2)])


def test_answers_in_another_order_are_an_error(server: Double) -> None:
    real = server.answer
    server.answer = lambda body: {"items": real(body)["items"][::-1]}  # type: ignore[method-assign]
    with pytest.raises(RewardError, match="another order"):
        RewardClient(server.url, connections=1).score([item(1), item(2)])


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, r"HTTP 400: told to refuse\. Asking again would not help"),
        (403, r"Set EDITLANE_REWARD_TOKEN"),
        (404, r"address without a path"),
        (415, r"HTTP 415"),
        (500, r"The server's log"),
        (307, r"Redirects are not followed"),
    ],
)
def test_other_refusals_are_one_error(server: Double, status: int, message: str) -> None:
    server.trouble = lambda number: (status, [("Location", f"{server.url}/v1/score")])
    start = time.monotonic()
    with pytest.raises(RewardError, match=message):
        RewardClient(server.url, connections=1).score([item(1)])
    assert len(server.asked) == 1
    assert time.monotonic() - start < 5


def test_an_error_does_not_wait_for_the_other_requests(server: Double) -> None:
    server.trouble = lambda number: (400, ()) if number == 1 else "hang"
    start = time.monotonic()
    with pytest.raises(RewardError, match="HTTP 400"):
        RewardClient(server.url, connections=3).score([item(number) for number in range(3)])
    assert time.monotonic() - start < 5


def test_the_token_goes_along_and_is_shown_nowhere(
    server: Double, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.token = "sesame-1234"
    monkeypatch.setenv("THE_TOKEN", "sesame-1234\n")
    assert rewards(RewardClient(server.url, "THE_TOKEN"), [item(1)]) == expected([item(1)])
    assert rewards(RewardClient(server.url, token="sesame-1234"), [item(1)]) == expected([item(1)])
    with pytest.raises(RewardError, match=r"HTTP 401: not the token: None. Set EDITLANE_REWARD_TOKEN"):
        RewardClient(server.url).score([item(1)])
    with pytest.raises(RewardError, match=r"not the token: Bearer \*\*\*") as caught:
        RewardClient(server.url, token="wrong-5678").score([item(1)])
    assert "5678" not in str(caught.value) + caplog.text
    assert "1234" not in caplog.text


def test_nothing_comes_from_the_environment(server: Double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    assert rewards(RewardClient(server.url), [item(1)]) == expected([item(1)])
    assert server.headers[0]["Authorization"] is None


@pytest.mark.parametrize("token", ["", " ", "two words", "geheim\u00fc", "a\nb"])
def test_a_token_that_no_header_holds_is_an_error_without_it(token: str) -> None:
    with pytest.raises(RewardError, match="token of the reward server is empty, or has") as caught:
        RewardClient("http://127.0.0.1:1", token=token)
    assert not token.strip() or token not in str(caught.value)


def test_a_variable_without_a_token_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_TOKEN", raising=False)
    with pytest.raises(RewardError, match="THE_TOKEN is not set"):
        RewardClient("http://127.0.0.1:1", "THE_TOKEN")


@pytest.mark.parametrize("url", ["127.0.0.1:8008", "ftp://host", "http://", "http://host:99999", "", "http://[::1"])
def test_an_address_that_is_none_is_an_error(url: str) -> None:
    with pytest.raises(RewardError, match="is no address of a reward server"):
        RewardClient(url)


def test_an_address_with_a_password_is_an_error_without_it() -> None:
    with pytest.raises(RewardError, match="no password") as caught:
        RewardClient("http://me:secret@host")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/score"])
def test_the_address_may_have_the_path_of_the_endpoint(server: Double, path: str) -> None:
    assert rewards(RewardClient(server.url + path), [item(1)]) == expected([item(1)])


@pytest.mark.parametrize("limits", [None, {}, {"items": "many"}, {"items": 0, "body_bytes": -1}, "none", [1]])
def test_limits_that_are_none_are_no_error(server: Double, limits: Any) -> None:
    server.limits = limits
    assert rewards(RewardClient(server.url), [item(1), item(2)]) == expected([item(1), item(2)])


def test_the_server_describes_itself(server: Double) -> None:
    assert RewardClient(server.url).describe()["default"] == "fake"
    server.limits = None
    with pytest.raises(RewardError, match="HTTP 404"):
        RewardClient(server.url).describe()


def test_many_ask_at_once_from_one_event_loop(server: Double) -> None:
    client = RewardClient(server.url)

    async def ask_all() -> list[float | None]:
        found = await asyncio.gather(*(client.ascore([item(number)]) for number in range(20)))
        return [one.reward for (one,) in found]

    assert asyncio.run(ask_all()) == expected([item(number) for number in range(20)])


@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")  # trainers do it all the same
def test_a_forked_process_opens_its_own_connections(server: Double) -> None:
    client = RewardClient(server.url, connections=1)
    client.score([item(0)])
    server.seconds = 0.3
    busy = threading.Thread(target=client.score, args=[[item(1)]])
    busy.start()  # at the fork, one thread holds the connection and its lock
    time.sleep(0.1)
    children = []
    for number in range(2, 5):
        if (pid := os.fork()) == 0:
            code = 1
            try:
                code = int(rewards(client, [item(number)], deadline=20) != expected([item(number)]))
            finally:
                os._exit(code)
        children.append(pid)
    busy.join()
    assert rewards(client, [item(9)]) == expected([item(9)])
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]


def test_an_interrupt_ends_the_call(server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(client_module.SimpleQueue):  # type: ignore[type-arg]
        def get(self, *_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(client_module, "SimpleQueue", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        RewardClient(server.url, connections=1).score([item(1), item(2)])
