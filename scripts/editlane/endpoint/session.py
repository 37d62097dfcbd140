"""Send one request with requests, and end it at a deadline.

The timeout of requests restarts with every byte that moves and with every address of a name, and it does not cover the
look-up of the name. Here every step has the time that is left: looking up, connecting, the TLS handshake, sending and
receiving. Nothing is read from the environment but the certificates.
"""

import http.client
import io
import logging
import math
import socket
import ssl
import threading
import time
from http.cookiejar import DefaultCookiePolicy
from queue import Empty, SimpleQueue
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


def send(url: str, body: bytes | None, headers: dict[str, str], *, timeout: float, proxy: str | None) -> Any:
    """Send a GET, or a POST of `body`, and return the response, whose body is yet to be read in the same thread.

    Thread-safe: each thread has its own session, and so its own connections, which stay open. Redirects are not
    followed. Raises RequestException of requests, and HTTPError of urllib3 for an impossible address.
    """
    _OWN.until = time.monotonic() + timeout
    return _OWN.session.request(
        "GET" if body is None else "POST",
        url,
        data=body,
        headers=headers,
        timeout=timeout,
        proxies={"all": proxy} if proxy else {},
        allow_redirects=False,
        stream=True,
    )


def _time_left() -> float:
    """Return the seconds until the deadline of this thread's request. Raises TimeoutError if there are none."""
    left = _OWN.until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return min(left, threading.TIMEOUT_MAX)


def _look_up(host: str, port: int) -> list[Any]:
    """Return the addresses of a name. The system's call cannot be ended, so at the deadline it is left behind."""
    answer: SimpleQueue[list[Any] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.put(error if isinstance(error, OSError) else OSError(f"{host!r} cannot be the name of a server"))

    threading.Thread(target=ask, daemon=True, name="look-up").start()
    try:
        found = answer.get(timeout=_time_left())
    except Empty:
        raise TimeoutError from None
    if isinstance(found, OSError):
        raise found
    return found


class _UntilDeadline(io.RawIOBase):
    """Bytes of a socket until the deadline of this thread's request."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_time_left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_UntilDeadline(sock, self.fp.detach()))

    def begin(self) -> None:
        """Read the head of the answer, and skip what a server may say before it (1xx, RFC 9110, section 15.2).

        http.client skips 100 alone. It would take `102 Processing` for the answer, and the real one for that of the
        next request.
        """
        super().begin()
        while 100 <= self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()


class _Deadline:
    """What both kinds of connections do until the deadline of this thread's request."""

    sock: Any

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that answers. Each gets its share of the time left."""
        addresses = _look_up(self._dns_host, self.port)  # type: ignore[attr-defined]
        failed: OSError = OSError("the name has no address")
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():  # type: ignore[attr-defined]
                    sock.setsockopt(*option)
                sock.settimeout(_time_left() / (len(addresses) - number))
                sock.connect(address)
                sock.settimeout(_time_left())  # for the handshake
                return sock
            except OSError as error:
                sock.close()
                failed = error
        raise failed

    def send(self, data: Any) -> None:
        """Send in pieces, because TLS restarts the timeout with each piece that a slow reader takes."""
        if not isinstance(data, bytes):
            super().send(data)  # type: ignore[misc]
            return
        for start in range(0, max(1, len(data)), _PIECE):
            if self.sock is not None:
                self.sock.settimeout(_time_left())
            super().send(data[start : start + _PIECE])  # type: ignore[misc]


_PIECE = 16 * 1024
"""Bytes of a record of TLS."""


class _Connection(_Deadline, HTTPConnection):
    response_class = _Response


class _SecureConnection(_Deadline, HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self.poolmanager.pool_classes_by_scheme
        return manager


class _Own(threading.local):
    """What each thread has for itself, because requests does not promise that threads can share a session."""

    def __init__(self) -> None:
        self.until = math.inf
        self.session = requests.Session()
        # Proxies of the environment, which would get the key, and ~/.netrc, which would replace it.
        self.session.trust_env = False
        # A server's cookies, which would come back with every request, and longer each time.
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        paths = ssl.get_default_verify_paths()  # the system's, or SSL_CERT_FILE; not only those of requests
        self.session.verify = paths.cafile or paths.capath or True
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Adapter())


_OWN = _Own()
logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings quote a server's headers, which may echo the key
