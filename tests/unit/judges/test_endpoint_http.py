"""The client of endpoints: where it connects, how long it waits, when it asks again, and what its messages say."""

import codecs
import html
import json
import re
import socket
import socketserver
import threading
import time
import traceback
import unicodedata
from base64 import b32encode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import pytest
import urllib3.util.retry
from endpoint_double import Double, serving

from editlane.core.errors import JudgeFailed, UserError
from editlane.endpoint.http import Endpoint, Refused
from editlane.endpoint.key_mask import KeyMask
from editlane.judges.endpoint.completions import Completions, read_text
from editlane.judges.endpoint.top_logprobs import read_top_logprobs

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
NOWHERE = "http://gpu-server.invalid:8000/v1"


def whole(reply: Any) -> Any:
    """Read all of a reply."""
    return reply


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
    Endpoint(base_url=double.url, key="sk-1").ask("/models", whole)
    for url in (NOWHERE, NOWHERE.replace("http:", "https:")):
        with pytest.raises(JudgeFailed, match="asked once: gaierror"):
            Endpoint(base_url=url, key="sk-1", attempts=1).ask("/models", whole)
    assert proxy_of_environment.heads == []


def test_the_proxy_of_the_config_is_used_whatever_the_environment_says(
    proxy_of_environment: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with peer(OK) as proxy:
        assert Endpoint(base_url=NOWHERE, key="sk-1", proxy=proxy.url).ask("/models", whole) == {}
    (head,) = proxy.heads
    assert head.startswith(f"GET {NOWHERE}/models HTTP/1.1")
    assert "Authorization: Bearer sk-1" in head
    assert proxy_of_environment.heads == []


def test_a_server_behind_tls_is_asked_through_a_tunnel_that_does_not_see_the_key() -> None:
    endpoint = Endpoint(base_url="https://gpu-server.invalid/v1", key="sk-1", attempts=1)
    with peer(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        told = f"through the proxy {proxy.url}, asked once: OSError: Tunnel connection failed: 407"
        with pytest.raises(JudgeFailed, match=told):
            Endpoint(base_url=endpoint.base_url, key="sk-1", proxy=proxy.url, attempts=1).ask("/models", whole)
    assert proxy.heads[0].startswith("CONNECT gpu-server.invalid:443 ")
    assert "sk-1" not in "".join(proxy.heads)


def test_a_proxy_that_is_gone_is_named() -> None:
    with peer(OK) as proxy:
        pass
    with pytest.raises(JudgeFailed, match=f"through the proxy {proxy.url}, asked once: ConnectionRefusedError"):
        Endpoint(base_url=NOWHERE, proxy=proxy.url, attempts=1).ask("/models", whole)


def test_a_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("default login me password secret\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with peer(OK) as server:
        Endpoint(base_url=server.url).ask("/models", whole)
        Endpoint(base_url=server.url, key="sk-1").ask("/models", whole)
    assert "Authorization" not in server.heads[0]
    assert "Authorization: Bearer sk-1\r\n" in server.heads[1]


def test_a_thread_keeps_its_connection(double: Double) -> None:
    endpoint = Endpoint(base_url=double.url)

    def ask_often() -> None:
        for _ in range(5):
            endpoint.ask("/models", whole)
            with pytest.raises(Refused):
                endpoint.ask("/nothing", whole)

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
            Endpoint(base_url=server.url, timeout=0.5, attempts=1).ask("/models", whole)
        took = time.monotonic() - began
        over.set()
    assert error.value.kind == ("transport" if what == "error" else "timeout")
    assert 0.4 < took < 5


def test_a_handshake_that_drips_is_cut_off_at_the_deadline() -> None:
    over = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # the begin of a long ServerHello
            while not over.wait(0.05):
                connection.sendall(b"\x03")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(JudgeFailed, match=r"asked once: no answer within 0\.5 s"):
            Endpoint(base_url=f"https://127.0.0.1:{server.getsockname()[1]}", timeout=0.5, attempts=1).ask(
                "/models", whole
            )
        took = time.monotonic() - began
        over.set()
    assert 0.4 < took < 5


def test_a_name_that_nobody_looks_up_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: over.wait(60))
    with pytest.raises(JudgeFailed, match=r"asked once: no answer within 0\.2 s"):
        Endpoint(base_url=NOWHERE, timeout=0.2, attempts=1).ask("/models", whole)
    over.set()


def test_a_server_that_takes_the_request_slowly_is_given_up_at_the_deadline() -> None:
    over = threading.Event()

    def sip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while not over.wait(0.05):
                connection.recv(2000)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=sip, args=(server,), daemon=True).start()
        began = time.monotonic()
        with pytest.raises(JudgeFailed, match=r"asked once: no answer within 0\.5 s"):
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            Endpoint(base_url=url, timeout=0.5, attempts=1).ask("/chat/completions", whole, bytes(30_000_000))
        took = time.monotonic() - began
        over.set()
    assert 0.4 < took < 5


def test_each_address_of_a_name_gets_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(OK) as server, socket.create_server(("127.0.0.1", 0), backlog=0) as full, suppress_connections(full):
        ports = (full.getsockname()[1], server.server_address[1])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
        assert Endpoint(base_url=NOWHERE, timeout=1, attempts=1).ask("/models", whole) == {}


@contextmanager
def suppress_connections(server: socket.socket) -> Iterator[None]:
    """Fill the queue of a server that accepts nobody, so that nobody else can connect."""
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(server.getsockname())
    yield
    for one in waiting:
        one.close()


def test_a_deadline_that_has_passed_does_not_shorten_the_next() -> None:
    with peer(lambda _: time.sleep(0.4), OK, OK) as server:
        with pytest.raises(JudgeFailed):
            Endpoint(base_url=server.url, timeout=0.1, attempts=1).ask("/models", whole)
        time.sleep(0.2)
        for _ in range(2):
            assert Endpoint(base_url=server.url, timeout=30, attempts=1).ask("/models", whole) == {}


def test_a_reply_without_end_is_cut_off() -> None:
    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    with peer(pour) as server, pytest.raises(JudgeFailed, match="the answer has more than 100000 bytes"):
        Endpoint(base_url=server.url, attempts=1, longest_reply=100_000).ask("/models", whole)


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
        assert Endpoint(base_url=server.url).ask("/models", whole) == {}
    assert least <= slept[-1] <= most


@pytest.mark.parametrize("after", ["soon", "-1", "9" * 5000, "Mon, 1 Jan 99999999999999 00:00:00 GMT"])
def test_a_time_that_is_none_is_ignored(after: str, slept: list[float]) -> None:
    with peer(busy(after), busy(after), OK) as server:
        assert Endpoint(base_url=server.url).ask("/models", whole) == {}
    assert slept[-1] <= 30


def test_pauses_grow_up_to_a_limit(slept: list[float]) -> None:
    with peer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as server, pytest.raises(JudgeFailed) as error:
        Endpoint(base_url=server.url, attempts=12).ask("/models", whole)
    assert "asked 12 times: HTTP 503: Busy" in str(error.value)
    assert len(server.heads) == 12
    assert slept == sorted(slept)
    assert 0.5 <= slept[0] <= 0.75, "the first, too, waits"
    assert (len(slept), slept[-1]) == (11, 30)


# --- what its messages say


LOGIN = """<!DOCTYPE html>
<html><head><title>Sign in &ndash; 登录</title><style>body {color: red}</style>
<script>if (1 < 2) { location = "/login" }</script></head><!-- build 7 --><body><h1>Please
log in</h1></body></html>"""


@pytest.mark.parametrize(
    ("body", "base", "said"),
    [
        (LOGIN, "", r'JSON but a page \("Sign in – 登录 Please log in"\); check that `base_url` .* ends in /v1$'),
        (LOGIN, "/v1", "not JSON but a page .* check that `base_url` is the address of the API$"),
        ("<script>" + "x" * 9000, "", "not JSON but a page; check that"),
        ("no healthy upstream\n\x1b[2J", "", r'not JSON \("no healthy upstream \\x1b\[2J"\)$'),
        ("word " * 90, "", r'not JSON \("(word ){20}"\)$'),
        ('{"data": [', "", "not JSON$"),
        ("", "", "not JSON$"),
        ("\0PNG", "", "not JSON$"),
    ],
)
def test_an_answer_that_is_no_json_is_shown(body: str, base: str, said: str) -> None:
    content = body.encode()
    with peer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content)) as server:
        endpoint = Endpoint(base_url=server.url + base, attempts=1)
        with pytest.raises(JudgeFailed) as error:
            endpoint.ask("/models", whole)
    assert re.search(said, str(error.value)), str(error.value)
    assert error.value.kind == "transport"


def test_a_page_with_an_error_status_is_read_as_text() -> None:
    page = b"<html><head><title>404 Not Found</title></head><body><hr>nginx</body></html>"
    with peer(b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n%s" % (len(page), page)) as server:
        endpoint = Endpoint(base_url=server.url, attempts=1)
        with pytest.raises(UserError, match=r"refuses to answer \(HTTP 404: 404 Not Found nginx\)"):
            Completions(endpoint=endpoint, model="m").ask([], {}, whole)


@pytest.mark.parametrize("attempts", [1, 2])
def test_no_message_holds_the_key(attempts: int, slept: list[float]) -> None:
    key = "sk-geheim"
    with peer(OK) as server:
        pass
    endpoint = Endpoint(base_url=f"{server.url}/{key}", key=key, attempts=attempts)
    with pytest.raises(JudgeFailed, match=r"/\*\*\*/models, asked .*: ConnectionRefusedError: ") as error:
        endpoint.ask("/models", whole)
    assert key not in "".join(traceback.format_exception(error.value))
    assert key not in repr(Endpoint(base_url=server.url, key=key))


KEY = "sk-proj-gehe/im+0123456789ABCDEF"
ECHOES = {
    "as it is": KEY,
    "in capitals": KEY.upper(),
    "its begin": KEY[:12],
    "its end": KEY[-12:],
    "with percent signs": quote(KEY, safe=""),
    "with percent signs only": "".join(f"%{ord(letter):02x}" for letter in KEY),
    "with percent signs twice": quote(quote(KEY, safe=""), safe=""),
    "as JSON": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "as HTML": "".join(f"&#{ord(letter)};" for letter in KEY),
    "as bytes": "".join(f"\\x{ord(letter):02x}" for letter in KEY),
    "in base64": b64encode(KEY.encode()).decode(),
    "in base64 with a name": b64encode(f"user:{KEY}".encode()).decode(),
    "in base64 with another name": b64encode(f"me:{KEY}".encode()).decode(),
    "with spaces": " ".join(KEY),
    "in short lines": "".join(f"{KEY[place : place + 5]}\u200b\t" for place in range(0, len(KEY), 5)),
    "in hexadecimal digits": KEY.encode().hex(),
    "in hexadecimal digits with colons": KEY.encode().hex(":"),
    "in hexadecimal numbers": ", ".join(f"0x{ord(letter):02X}" for letter in KEY),
    "in code points": " ".join(f"U+{ord(letter):04X}" for letter in KEY),
    "in numbers": json.dumps(list(KEY.encode())),
    "in octal numbers": "".join(f"\\{ord(letter):03o}" for letter in KEY),
    "in bits": " ".join(f"{ord(letter):08b}" for letter in KEY),
    "quoted printable": "".join(f"={ord(letter):02X}" for letter in KEY),
    "in base32": b32encode(KEY.encode()).decode(),
    "in base32 with a name": b32encode(f"me:{KEY}".encode()).decode(),
    "backwards": KEY[::-1],
    "rotated": codecs.encode(KEY, "rot13"),
    "with dashes": "-".join(KEY),
    "with quotes and commas": json.dumps(list(KEY)),
    "with soft hyphens": "\u00ad".join(KEY),
    "with fillers": "\u3164".join(KEY),
    "with variation selectors": "\ufe0f".join(KEY),
    "with joiners": "\u034f\u200d".join(KEY),
    "in wide letters": "".join(chr(ord(letter) + 0xFEE0) for letter in KEY),
}
COMMON = (
    "as it is",
    "its end",
    "with percent signs twice",
    "as JSON",
    "in base64 with a name",
    "in short lines",
    "in numbers",
)
"""Echoes that are tried in every place; a reply tries them all."""
PLACES = {
    "error as JSON": 'HTTP/1.1 400 Bad\r\n\r\n{"error": {"message": "ECHO"}}',
    "error as text, in lines": "HTTP/1.1 401 No\r\n\r\nno\n\n ECHO",
    "error, cut": f"HTTP/1.1 500 No\r\n\r\n{'-' * 285}ECHO",
    "error in chunks": "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nECHO",
    "reason": "HTTP/1.1 500 ECHO\r\nContent-Length: 0\r\n\r\n",
    "reason of a refusal": "HTTP/1.1 403 ECHO\r\nContent-Length: 0\r\n\r\n",
    "status line": "HTTP/ECHO 200 OK\r\n\r\n",
    "status": "HTTP/1.1 ECHO\r\n\r\n",
    "no HTTP": "ECHO\r\n\r\n",
    "header": "HTTP/1.1 500 No\r\nECHO\r\nX-Key: ECHO\r\n ECHO\r\nContent-Length: 0\r\n\r\n",
    "redirect": "HTTP/1.1 307 Elsewhere\r\nLocation: http://ECHO@ECHO/ECHO\r\nContent-Length: 0\r\n\r\n",
    "time": "HTTP/1.1 503 Busy\r\nRetry-After: ECHO\r\nContent-Length: 0\r\n\r\n",
    "length": "HTTP/1.1 200 OK\r\nContent-Length: ECHO\r\n\r\n{",
    "length of a chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nECHO\r\n",
    "encoding": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nECHO",
    "no JSON": "HTTP/1.1 200 OK\r\n\r\n{ECHO",
    "text": "HTTP/1.1 200 OK\r\n\r\nwho is ECHO",
    "page": "HTTP/1.1 200 OK\r\n\r\n<p>who is <b>ECHO</b></p>",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_server_that_echoes_the_key_finds_it_in_no_message_and_no_log(
    place: str, caplog: pytest.LogCaptureFixture, slept: list[float]
) -> None:
    caplog.set_level(0)
    for how, echo in ((name, ECHOES[name]) for name in COMMON):

        def close_after(connection: socket.socket, reply: bytes = PLACES[place].replace("ECHO", echo).encode()) -> None:
            connection.sendall(reply)
            connection.shutdown(socket.SHUT_RDWR)

        with peer(close_after) as server:
            completions = Completions(endpoint=Endpoint(base_url=server.url, key=KEY, attempts=2), model="m")
            with pytest.raises((JudgeFailed, UserError)) as error:
                completions.ask([], {}, whole)
        said = "".join(traceback.format_exception(error.value)) + caplog.text
        assert not find_parts(said), how
    assert f"Bearer {KEY}" in server.heads[0]


@pytest.mark.parametrize("how", ECHOES)
def test_a_reply_that_echoes_the_key_is_read_without_it(how: str, caplog: pytest.LogCaptureFixture) -> None:
    body = json.dumps({"data": [{"id": f"m-{ECHOES[how]}"}], ECHOES[how]: [ECHOES[how]]}).encode()
    reply = b"HTTP/1.1 200 OK\r\nX-Key: %s\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
    with peer(reply) as server:
        endpoint = Endpoint(base_url=server.url, key=KEY)
        assert not find_parts(json.dumps(endpoint.ask("/models", whole)))
        with pytest.raises(UserError, match=r"Unknown model 'm'.*Available: m-") as error:
            Completions(endpoint=replace(endpoint), model="m").check_served()
    assert not find_parts(str(error.value) + caplog.text)


def find_parts(text: str) -> list[str]:
    """Return what of the key can be read in a text, however it is spelled."""
    spelled = [text, unquote(text), unquote(unquote(text)), html.unescape(text), text.encode().decode("unicode-escape")]
    spelled += [re.sub("[^0-9a-z]", "", unicodedata.normalize("NFKC", one).lower()) for one in spelled]
    forms = [KEY, KEY[::-1], codecs.encode(KEY, "rot13"), re.sub("[^0-9A-Za-z]", "", KEY), KEY.encode().hex()]
    forms += [
        "".join(form.format(byte) for byte in KEY.encode()) for form in ("{}", "0x{:x}", "u{:04x}", "{:03o}", "{:08b}")
    ]
    forms += [b64encode(bytes(n) + KEY.encode()).decode()[4:-4] for n in range(3)]
    forms += [b32encode(bytes(n) + KEY.encode()).decode()[8:-8] for n in range(5)]
    parts = {form.lower()[place : place + 13] for form in forms for place in range(len(form) - 12)}
    return [part for part in parts for one in spelled if part in one.lower()]


def test_text_that_is_no_key_is_left_alone() -> None:
    mask = KeyMask(KEY)
    for text in ("", "下雨 sk-proj", "%41%zz \\u12 &amp; &nonsense; \\", KEY[:7], "a" * 10_000):
        assert mask.hide(text) == text
    assert KeyMask("x").hide("x") == "x"
    assert KeyMask(None).clean({"a": [1, None, "b", True]}) == {"a": [1, None, "b", True]}
    assert KeyMask("abcd").hide("xabcdx") == "x***x"
    assert KeyMask("test").hide("The best estimate, a test.") == "The best estimate, a ***."


def test_half_a_character_of_a_reply_is_replaced() -> None:
    body = b'{"a": "\\ud800", "\\udc80": "\\ud83d\\ude00"}'
    with peer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as server:
        assert Endpoint(base_url=server.url).ask("/models", whole) == {"a": "\ufffd", "\ufffd": "😀"}


HOSTILE = {
    "long texts": {"id": [f"{'%41' * 33_000}"] * 40},
    "many names": {f"%41{number}": 1 for number in range(100_000)},
    "many models": {"data": [{"id": "%41" * 50, "x": "%41"}] * 20_000},
    "long models": {"data": [{"id": "%41" * 500_000}] * 2},
    "many choices": {"choices": [{"message": {"content": "%41" * 10, "x": "%41" * 1000}}] * 1000},
    "a long text": {"choices": [{"message": {"content": "%41" * 1_000_000}}]},
    "many tokens": {
        "choices": [{"logprobs": {"content": [{"top_logprobs": [{"token": "%41", "logprob": -99}] * 60_000}]}}]
    },
}
"""Replies of some megabytes, with escapes that take long to undo."""


@pytest.mark.parametrize("what", HOSTILE)
def test_the_key_is_looked_for_only_in_what_is_read_of_a_reply(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hiding it takes seconds per megabyte of CPU time, after the deadline and for all threads."""
    searched: list[int] = []
    hide = KeyMask.hide
    monkeypatch.setattr(KeyMask, "hide", lambda mask, text: searched.append(len(text)) or hide(mask, text))
    body = json.dumps(HOSTILE[what]).encode()
    with peer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as server:
        completions = Completions(endpoint=Endpoint(base_url=server.url, key=KEY, attempts=1), model="m")
        for read in (read_text, partial(read_top_logprobs, answers=["7", "8"])):
            with suppress(JudgeFailed):
                completions.ask([], {}, read)
        with suppress(UserError):
            completions.check_served()
    assert sum(searched) <= 600_000
    assert len(searched) <= 5_000


def test_no_cookie_of_a_server_comes_back_to_it() -> None:
    reply = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=%d; Path=/\r\nSet-Cookie: long=x\r\nContent-Length: 2\r\n\r\n{}"
    with peer(*(reply % number for number in range(3)), OK) as server:
        for _ in range(4):
            Endpoint(base_url=server.url, attempts=1).ask("/models", whole)
    assert len(server.heads) == 4 and "cookie" not in "".join(server.heads).lower()


def test_what_a_server_says_moves_no_cursor() -> None:
    with (
        peer(
            b"HTTP/1.1 400 No\r\nContent-Length: 22\r\n\r\n\x1b[2J\nerror: \xe4\xb8\x8b\xe9\x9b\xa8 \xe2\x80\xae"
        ) as server,
        pytest.raises(Refused) as error,
    ):
        Endpoint(base_url=server.url).ask("/models", whole)
    assert str(error.value) == r"HTTP 400: \x1b[2J error: 下雨 \u202e"


def test_a_failure_while_another_is_handled_has_its_own_reason() -> None:
    with peer(OK) as server:
        pass
    try:
        raise ValueError("another")
    except ValueError:
        with pytest.raises(JudgeFailed, match="asked once: ConnectionRefusedError"):
            Endpoint(base_url=server.url, attempts=1).ask("/models", whole)


@pytest.mark.parametrize(
    "before",
    [
        b"HTTP/1.1 102 Processing\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 199 Wait\r\n\r\n",
    ],
)
def test_what_a_server_says_before_its_answer_is_no_answer(before: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(before)
        time.sleep(0.05)
        connection.sendall(OK)

    second = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"own": 2}'
    with peer(answer, second) as server:
        endpoint = Endpoint(base_url=server.url, attempts=1)
        assert [endpoint.ask("/models", whole), endpoint.ask("/models", whole)] == [{}, {"own": 2}]


def test_a_server_that_never_gets_to_its_answer_is_cut_off() -> None:
    def hint_for_ever(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            time.sleep(0.01)

    with peer(hint_for_ever) as server, pytest.raises(JudgeFailed, match=r"no answer within 0\.3 s"):
        Endpoint(base_url=server.url, attempts=1, timeout=0.3).ask("/models", whole)


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 500 Bad\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{x}"]
)
def test_what_comes_after_a_failure_is_not_the_next_requests_answer(first: bytes) -> None:
    def answer_late(connection: socket.socket) -> None:
        connection.sendall(first)
        time.sleep(0.05)
        connection.sendall(OK)

    right = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"own": 2}'

    def answer_later(connection: socket.socket) -> None:
        time.sleep(0.1)
        connection.sendall(right)

    with peer(answer_late, answer_later) as server:
        endpoint = Endpoint(base_url=server.url, attempts=1)
        with pytest.raises((Refused, JudgeFailed)):
            endpoint.ask("/models", whole)
        assert endpoint.ask("/models", whole) == {"own": 2}
