"""Clients that are slow, leave, send too much, or ask again and again: the others are answered as if alone."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from onslaught import Attack, Onslaught
from rewards import draw_png, make_edit, to_json

Connect = Callable[[Onslaught], socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(onslaught)` opens a plain connection to its server."""
    with ExitStack() as opened:

        def begin(onslaught: Onslaught) -> socket.socket:
            place = urlsplit(onslaught.server.url)
            return opened.enter_context(socket.create_connection((place.hostname, place.port), timeout=30))

        yield begin


def head(length: int | None, path: str = "/v1/score") -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{size}\r\n\r\n".encode()


def read_status(connection: socket.socket) -> int:
    return int(connection.recv(4096).split()[1])


def is_closed(connection: socket.socket) -> bool:
    """Whether the other end has closed, or does so within a moment."""
    connection.settimeout(10)
    with suppress(OSError):
        while connection.recv(65536):
            pass
        return True
    return False


@pytest.mark.runs
def test_two_hundred_uploads_that_stall(attack: Attack, connect: Connect) -> None:
    onslaught = attack(limits={"body_seconds": 3})
    stalled = [connect(onslaught) for _ in range(200)]
    onslaught.strike(lambda: [one.sendall(head(10**6) + b'{"items": [') for one in stalled])
    onslaught.ask_all(range(40))
    assert onslaught.slowest < 3 and not onslaught.refused
    assert {read_status(one) for one in stalled} == {408}
    assert all(is_closed(one) for one in stalled)
    onslaught.finish("200 uploads stall")


@pytest.mark.runs
def test_a_client_that_leaves_frees_the_queue(attack: Attack, connect: Connect) -> None:
    onslaught = attack(judge={"seconds": 0.2, "batch_size": 2}, limits={"chunk": 2}, workers=1)
    body = json.dumps(to_json([make_edit(number) for number in range(60)])).encode()
    leaving = connect(onslaught)
    leaving.sendall(head(len(body)) + body)
    while onslaught.metric("editlane_queue_items") < 50:
        time.sleep(0.01)
    onslaught.strike(leaving.close)
    onslaught.wait_until_noticed(lambda: onslaught.metric("editlane_queue_items") <= 4)
    assert onslaught.detected is not None and onslaught.detected < 5
    assert onslaught.metric("editlane_items_dropped_total") > 50
    onslaught.ask([make_edit(200)])
    onslaught.finish("a client leaves with 60 edits in the queue")


@pytest.mark.parametrize("length", [2 * 2**30, None], ids=["2 GiB declared", "a body without an end"])
@pytest.mark.runs
def test_bodies_that_are_too_large(attack: Attack, connect: Connect, length: int | None) -> None:
    onslaught = attack(limits={"body_megabytes": 4})
    before = read_memory(onslaught)
    connection = connect(onslaught)
    onslaught.strike(lambda: connection.sendall(head(length)))
    with suppress(OSError):  # the server closes in the middle
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n" if length is None else b"x" * 65536
        for _ in range(2000):
            connection.sendall(piece)
    with suppress(OSError):
        assert read_status(connection) == 413
    assert is_closed(connection)
    onslaught.ask_all(range(8))
    assert read_memory(onslaught) - before < 100e6
    onslaught.finish("2 GiB are declared" if length else "a body has no end")


def read_memory(onslaught: Onslaught) -> int:
    return int(Path(f"/proc/{onslaught.server.process.pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.runs
def test_bombs_among_good_edits(attack: Attack) -> None:
    onslaught = attack()
    bomb = draw_png(1, size=(13000, 13000))
    edits = [make_edit(number) for number in range(12)]
    for place in (2, 5, 9):
        edits[place]["edited"] = bomb
    onslaught.strike(lambda: None)
    response = requests.post(onslaught.server.url + "/v1/score", json=to_json(edits), timeout=60)
    answers = response.json()["items"]
    assert [place for place, one in enumerate(answers) if one["error"]] == [2, 5, 9]
    assert {one["error"]["kind"] for one in answers if one["error"]} == {"too_large"}
    onslaught.asked.append(([edits[0]], [answers[0]]))
    onslaught.finish("decompression bombs (169 MP in a small PNG) among 12 edits")


@pytest.mark.runs
def test_more_than_the_queue_holds(attack: Attack) -> None:
    onslaught = attack(judge={"seconds": 0.02}, limits={"items": 100}, workers=2)
    onslaught.strike(lambda: None)
    quick: list[float] = []

    def ask_once(number: int) -> int:
        started = time.monotonic()
        body = to_json([make_edit(1000 + number)])
        response = requests.post(onslaught.server.url + "/v1/score", json=body, timeout=60)
        if response.status_code == 503:
            quick.append(time.monotonic() - started)
            assert 1 <= int(response.headers["Retry-After"]) <= 60
        return response.status_code

    with ThreadPoolExecutor(300) as threads:
        statuses = list(threads.map(ask_once, range(300)))
    assert set(statuses) == {200, 503} and statuses.count(200) >= 100
    large = requests.post(
        onslaught.server.url + "/v1/score", json=to_json([make_edit(number) for number in range(150)]), timeout=60
    )
    assert large.status_code == 413, "it would never fit"
    onslaught.ask_all(range(60))
    onslaught.finish("300 edits at once for a queue of 100")


def test_three_requests_with_the_same_ids_at_once(attack: Attack) -> None:
    onslaught = attack()
    onslaught.strike(lambda: None)
    lists = [[make_edit(100 * part + number, id=str(number)) for number in range(24)] for part in range(1, 4)]
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(onslaught.ask, lists))
    onslaught.finish("three requests of 24 edits with the same ids at once")


def test_a_storm_of_retries(attack: Attack) -> None:
    onslaught = attack(judge={"seconds": 0.1})
    edit = make_edit(1)
    onslaught.strike(lambda: None)
    with ThreadPoolExecutor(50) as threads:
        list(threads.map(lambda _: onslaught.ask([edit]), range(50)))
    assert onslaught.metric("editlane_items_asked_total") == 1
    onslaught.finish("one request 50 times at once")


@pytest.mark.runs
def test_a_deadline_returns_what_is_there(attack: Attack) -> None:
    onslaught = attack(judge={"seconds": 0.1, "batch_size": 1}, limits={"chunk": 1}, workers=1)
    onslaught.strike(lambda: None)
    answers = onslaught.ask([make_edit(number) for number in range(30)], deadline_s=1.5)
    kinds = [one["error"] and one["error"]["kind"] for one in answers]
    assert set(kinds) == {None, "deadline"} and kinds[0] is None
    time.sleep(1)
    asked = onslaught.metric("editlane_items_asked_total")
    time.sleep(1)
    assert onslaught.metric("editlane_items_asked_total") == asked < 30, "the rest is not begun"
    onslaught.finish("a deadline before the end")


@pytest.mark.runs
def test_a_client_that_reads_nothing(attack: Attack, connect: Connect) -> None:
    onslaught = attack()
    body = json.dumps(to_json([make_edit(number) for number in range(200)])).encode()
    deaf = [connect(onslaught) for _ in range(20)]
    onslaught.strike(lambda: [one.sendall(head(len(body)) + body) for one in deaf])
    onslaught.ask_all(range(40))
    assert onslaught.slowest < 20
    onslaught.finish("20 clients never read their answers")


@pytest.mark.runs
def test_threads_of_a_client_share_one_connection_pool(attack: Attack) -> None:
    onslaught = attack()
    onslaught.strike(lambda: None)
    threads = [threading.Thread(target=onslaught.ask_all, args=(range(start, start + 24),)) for start in (0, 500, 900)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    onslaught.finish("24 clients at once")
