"""Send requests to one server until it answers, or until a deadline.

Nothing comes from the environment but the certificates: no proxy, which would get the token, and no ~/.netrc, which
would replace it. Redirects are not followed, for the same reason.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader

from editlane.client.rewards import RewardError
from editlane.core.errors import one_line

REFUSALS = frozenset({408, 429, 502, 503, 504})
"""Answers of a server, or of a proxy before it, that took nothing of the request and may take it later."""
_CONNECT_SECONDS = 30.0
"""For connecting; urllib3 uses it for sending, too."""
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_HINT = 0.5, 10.0, 60.0
_LONGEST_ANSWER = 64 * 2**20


WARN_SECONDS = 10.0
"""Time between two lines that say what is waited for."""

log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """A server's answer."""

    status: int
    content: bytes
    retry_after: float | None


class GaveUp(Exception):
    """No answer. `kind` is deadline, or transport if the server was lost again and again."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Transport:
    """Connections to one server that stay open. Thread-safe; a process that is forked opens its own."""

    def __init__(self, url: str, token: str | None, *, timeout: float, attempts: int, connections: int) -> None:
        self.url = _check_url(url)
        self.timeout = timeout
        self.attempts = attempts
        self.connections = connections
        self._token = _check_token(token)
        self._has_answered = False
        self._warned: set[str] = set()
        self._own: tuple[int, urllib3.PoolManager] | None = None

    def ask(self, path: str, body: Callable[[float], bytes] | None, *, until: float, over: threading.Event) -> Answer:
        """Return the first answer that is no refusal. `body` gets the seconds that the server has.

        A refusal is repeated until the deadline, because it costs nothing but time. So is a lost connection to a server
        that has answered before; to another one it is repeated `attempts` times. Says every WARN_SECONDS that it waits.
        Raises GaveUp.
        """
        lost = tries = 0
        reason = ""
        warn_at = time.monotonic() + WARN_SECONDS
        while True:
            left = until - time.monotonic()
            if left <= 0 or over.is_set():
                raise GaveUp("deadline", f"no answer in time; {reason}" if reason else "no answer in time")
            hint = None
            try:
                answer = self._send(path, body, min(left, self.timeout))
                self._has_answered = True
                if answer.status not in REFUSALS:
                    return answer
                reason, hint = f"last, the server refused: {self.explain(answer)}", answer.retry_after
            except (HTTPError, OSError) as error:
                lost += 1
                reason = f"last, the connection failed: {self.hide(_name_cause(error))}"
                if lost >= self.attempts and not self._has_answered:
                    raise GaveUp("transport", f"no answer in {lost} attempts; {reason}") from error
            if time.monotonic() >= warn_at:
                warn_at = time.monotonic() + WARN_SECONDS
                log.warning("still waiting for the reward server %s: %s", self.url, reason)
            over.wait(min(_choose_pause(tries, hint), max(0.0, until - time.monotonic())))
            tries += 1

    def explain(self, answer: Answer) -> str:
        """Return an answer's status and what the server says about it."""
        text = answer.content[:1000].decode("utf-8", "replace")
        try:
            said = json.loads(answer.content)["error"]
        except (ValueError, TypeError, KeyError):
            said = text
        return self.hide(f"HTTP {answer.status}: {said}")

    def hide(self, text: str) -> str:
        """Return a text of the server in one line and without the token, which a server may echo."""
        if self._token is not None:
            text = text.replace(self._token, "***")
        return one_line(Exception(text))

    def _send(self, path: str, body: Callable[[float], bytes] | None, timeout: float) -> Answer:
        response = self._manager().request(
            "GET" if body is None else "POST",
            self.url + path,
            # The server answers with what it has before this client hangs up.
            body=None if body is None else body(timeout - min(5.0, 0.1 * timeout)),
            headers=self._headers(),
            timeout=urllib3.Timeout(connect=min(timeout, _CONNECT_SECONDS), read=timeout),
            pool_timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
            enforce_content_length=True,  # else urllib3 before 2 takes an answer that was cut off for whole
        )
        is_complete = False
        try:
            content = b""
            while len(content) < _LONGEST_ANSWER and (piece := response.read(_LONGEST_ANSWER - len(content))):
                content += piece
            is_complete = len(content) < _LONGEST_ANSWER
        finally:
            if not is_complete:
                response.close()  # what is left of this answer must not become the next one's
            response.release_conn()
        self._warn(response.headers.get("X-Editlane-Warning"))
        hint = _read_hint(response.headers.get("Retry-After"))
        return Answer(response.status, content, hint)

    def _warn(self, warning: str | None) -> None:
        """Log what the server warns of, once: that its judge has changed."""
        if warning and warning not in self._warned:
            self._warned.add(warning)
            log.warning("the reward server %s warns: %s", self.url, self.hide(warning))

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "editlane-client"}
        return headers | ({} if self._token is None else {"Authorization": f"Bearer {self._token}"})

    def _manager(self) -> urllib3.PoolManager:
        """Return the connections of this process. Those of a parent are left alone: both would read from them."""
        own = self._own
        if own is None or own[0] != os.getpid():
            pools = urllib3.PoolManager(maxsize=self.connections, block=True, cert_reqs="CERT_REQUIRED")
            own = self._own = (os.getpid(), pools)
        return own[1]


def _choose_pause(tries: int, hint: float | None) -> float:
    """Return the seconds before the next try: at least what the server asks for, and never the same for all clients."""
    pause = min(_FIRST_PAUSE * 2.0 ** min(tries, 10), _LONGEST_PAUSE)
    return max(pause, min(hint or 0.0, _LONGEST_HINT)) * random.uniform(1.0, 1.5)


def _read_hint(value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return urllib3.Retry().parse_retry_after(value)
    except InvalidHeader:
        return None


def _name_cause(error: Exception) -> str:
    """Return what went wrong, without the objects that urllib3 puts before it."""
    text = str(error)
    return f"{type(error).__name__}: {text.partition('>: ')[2] or text}"


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise RewardError(f"{url!r} is no address of a reward server. Example: http://127.0.0.1:8200")
    if parts.username is not None or parts.query or parts.fragment:
        raise RewardError("The address of a reward server has no password, ? or #. Give the token as a variable.")
    return url.rstrip("/").removesuffix("/v1/score").removesuffix("/v1")


def _check_token(token: str | None) -> str | None:
    if token is None:
        return None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise RewardError("The token of the reward server is empty, or has characters that no header can hold.")
    return token
