"""The client of endpoints: where it connects, how long it waits, when it asks again, and what its messages say."""

import socket
import socketserver
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import urllib3.util.retry
from endpoint_double import Double, serving

from editlane.core.errors import JudgeFailed
from editlane.judges.endpoint import http as endpoints
from editlane.judges.endpoint.http import Endpoint, Refused

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NOWHERE = "http://gpu-server.invalid:8000/v1"


class Peer(socketserver.ThreadingTCPServer):
    """Server, or proxy, that keeps the heads of its requests, and answers each with bytes or by a function."""

    daemon_threads = True

    def __init__(self, *replies: bytes | Callable[[socket.socket], None]) -> None:
        super().__init__(("127.0.0.1", 0), PeerHandler)
        self.replies = list(replies)
        self.heads: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class PeerHandler(socketserver.StreamRequestHandler):
    server: Peer

    def handle(self) -> None:
        while line := self.rfile.readline():
            head = line
            while line.strip():
                line = self.rfile.readline()
                head += line
            self.server.heads.append(head.decode())
            reply = self.server.replies.pop(0) if len(self.server.replies) > 1 else self.server.replies[0]
            with suppress(OSError):  # the client has had enough
                reply(self.connection) if callable(reply) else self.connection.sendall(reply)


@contextmanager
def peer(*replies: bytes | Callable[[socket.socket], None]) -> Iterator[Peer]:
    with Peer(*replies) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def double() -> Iterator[Double]:
    with serving() as server:
        yield server


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr(urllib3.util.retry, "time", SimpleNamespace(sleep=pauses.append, time=time.time))
    return pauses


# --- where it connects


@pytest.fixture
def proxy_of_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    with peer(OK) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield proxy


def test_a_proxy_of_the_environment_gets_neither_the_key_nor_a_connection(
    double: Double, proxy_of_environment: Peer
) -> None:
    Endpoint(base_url=double.url, key="sk-1").ask("/models")
    for url in (NOWHERE, NOWHERE.replace("http:", "https:")):
        with pytest.raises(JudgeFailed, match="asked once: gaierror"):
            Endpoint(base_url=url, key="sk-1", attempts=1).ask("/models")
    assert proxy_of_environment.heads == []


def test_the_proxy_of_the_config_is_used_whatever_the_environment_says(
    proxy_of_environment: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with peer(OK) as proxy:
        assert Endpoint(base_url=NOWHERE, key="sk-1", proxy=proxy.url).ask("/models") == {}
    (head,) = proxy.heads
    assert head.startswith(f"GET {NOWHERE}/models HTTP/1.1")
    assert "Authorization: Bearer sk-1" in head
    assert proxy_of_environment.heads == []


def test_a_server_behind_tls_is_asked_through_a_tunnel_that_does_not_see_the_key() -> None:
    endpoint = Endpoint(base_url="https://gpu-server.invalid/v1", key="sk-1", attempts=1)
    with peer(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        told = f"through the proxy {proxy.url}, asked once: OSError: Tunnel connection failed: 407"
        with pytest.raises(JudgeFailed, match=told):
            Endpoint(base_url=endpoint.base_url, key="sk-1", proxy=proxy.url, attempts=1).ask("/models")
    assert proxy.heads[0].startswith("CONNECT gpu-server.invalid:443 ")
    assert "sk-1" not in "".join(proxy.heads)


def test_a_proxy_that_is_gone_is_named() -> None:
    with peer(OK) as proxy:
        pass
    with pytest.raises(JudgeFailed, match=f"through the proxy {proxy.url}, asked once: ConnectionRefusedError"):
        Endpoint(base_url=NOWHERE, proxy=proxy.url, attempts=1).ask("/models")


def test_a_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login me password secret\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with peer(OK) as server:
        Endpoint(base_url=server.url).ask("/models")
        Endpoint(base_url=server.url, key="sk-1").ask("/models")
    assert "Authorization" not in server.heads[0]
    assert "Authorization: Bearer sk-1\r\n" in server.heads[1]


def test_a_thread_keeps_its_connection(double: Double) -> None:
    endpoint = Endpoint(base_url=double.url)

    def ask_often() -> None:
        for _ in range(5):
            endpoint.ask("/models")
            with pytest.raises(Refused):
                endpoint.ask("/nothing")

    threads = [threading.Thread(target=ask_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(double.connections) == 3


# --- how long it waits

DRIPS = {
    "head": (b"HTTP/1.1 200 OK\r\nX-Wait: ", b"."),
    "interim replies": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{", b" "),
    "body without a length": (b"HTTP/1.1 200 OK\r\n\r\n{", b" "),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "length of a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "error": (b"HTTP/1.1 500 Error\r\nContent-Length: 5000\r\n\r\n", b"."),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize("what", DRIPS)
def test_a_reply_that_drips_is_cut_off_at_the_deadline(what: str) -> None:
    start, drop = DRIPS[what]
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while not over.wait(0.05):
            connection.sendall(drop)

    with peer(drip) as server:
        began = time.monotonic()
        with pytest.raises(JudgeFailed, match=r"asked once: (no answer within 0\.5 s|HTTP 500: Error)") as error:
            Endpoint(base_url=server.url, timeout=0.5, attempts=1).ask("/models")
        took = time.monotonic() - began
        over.set()
    assert error.value.kind == ("transport" if what == "error" else "timeout")
    assert 0.4 < took < 5


def test_a_deadline_that_has_passed_does_not_shorten_the_next() -> None:
    with peer(lambda _: time.sleep(0.4), OK, OK) as server:
        with pytest.raises(JudgeFailed):
            Endpoint(base_url=server.url, timeout=0.1, attempts=1).ask("/models")
        time.sleep(0.2)
        for _ in range(2):
            assert Endpoint(base_url=server.url, timeout=30, attempts=1).ask("/models") == {}


def test_a_reply_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "LONGEST_REPLY", 100_000)

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    with peer(pour) as server, pytest.raises(JudgeFailed, match="the answer has more than 100000 bytes"):
        Endpoint(base_url=server.url, attempts=1).ask("/models")


# --- when it asks again


def busy(after: str) -> bytes:
    return f"HTTP/1.1 429 Busy\r\nRetry-After: {after}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("after", "least", "most"),
    [
        ("7", 7, 7),
        ("86400", 30, 30),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 30, 30),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 1, 1.5),
    ],
)
def test_a_server_says_when_to_ask_again_up_to_a_limit(
    after: str, least: float, most: float, slept: list[float]
) -> None:
    with peer(busy(after), busy(after), OK) as server:
        assert Endpoint(base_url=server.url).ask("/models") == {}
    assert least <= slept[-1] <= most


@pytest.mark.parametrize("after", ["soon", "-1", "9" * 5000, "Mon, 1 Jan 99999999999999 00:00:00 GMT"])
def test_a_time_that_is_none_is_ignored(after: str, slept: list[float]) -> None:
    with peer(busy(after), busy(after), OK) as server:
        assert Endpoint(base_url=server.url).ask("/models") == {}
    assert slept[-1] <= 30


def test_pauses_grow_up_to_a_limit(slept: list[float]) -> None:
    with peer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as server, pytest.raises(JudgeFailed) as error:
        Endpoint(base_url=server.url, attempts=12).ask("/models")
    assert "asked 12 times: HTTP 503: Busy" in str(error.value)
    assert len(server.heads) == 12
    assert slept == sorted(slept)
    assert 0.5 <= slept[0] <= 0.75, "the first, too, waits"
    assert (len(slept), slept[-1]) == (11, 30)


# --- what its messages say


@pytest.mark.parametrize("attempts", [1, 2])
def test_no_message_holds_the_key(attempts: int, slept: list[float]) -> None:
    key = "sk-geheim"
    with peer(OK) as server:
        pass
    endpoint = Endpoint(base_url=f"{server.url}/{key}", key=key, attempts=attempts)
    with pytest.raises(JudgeFailed, match=r"/\*\*\*/models, asked .*: ConnectionRefusedError: ") as error:
        endpoint.ask("/models")
    assert key not in "".join(traceback.format_exception(error.value))
    assert key not in repr(Endpoint(base_url=server.url, key=key))


def test_a_failure_while_another_is_handled_has_its_own_reason() -> None:
    with peer(OK) as server:
        pass
    try:
        raise ValueError("another")
    except ValueError:
        with pytest.raises(JudgeFailed, match="asked once: ConnectionRefusedError"):
            Endpoint(base_url=server.url, attempts=1).ask("/models")
