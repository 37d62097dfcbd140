"""Send one request with requests, and end it at a deadline.

The timeout of requests restarts with every byte that arrives, so a server that sends a byte now and then would never be
cut off. Here the sockets themselves know the deadline. Nothing is read from the environment but the certificates.
"""

import http.client
import io
import math
import socket
import ssl
import threading
import time
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


class _UntilDeadline(io.RawIOBase):
    """Bytes of a socket until the deadline of this thread's request."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _OWN.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_UntilDeadline(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
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
        paths = ssl.get_default_verify_paths()  # the system's, or SSL_CERT_FILE; not only those of requests
        self.session.verify = paths.cafile or paths.capath or True
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Adapter())


_OWN = _Own()
