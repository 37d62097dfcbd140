"""A server that speaks OpenAI's HTTP interface: requests that are repeated where that may help, and errors by kind.

Only the standard library: a lane that asks a server runs in Snakemake's own environment. The key is sent to the
address of the config alone (redirects are not followed) and appears in no message.
"""

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editlane.core.errors import JudgeFailed, UserError

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same request may succeed."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between two attempts; each pause is twice the one before, more or less, or what the server asks for."""
LONGEST_REPLY = 32 * 2**20
"""Bytes."""


class Refused(Exception):
    """The server answered that it does not take this request; another attempt would not help."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The address, without a slash at its end, and how to ask there."""

    base_url: str
    key: str | None = None
    timeout: float = 120.0
    """Seconds that one attempt may take."""
    attempts: int = 5

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """What the server answers, from JSON: a GET, or a POST of `body`.

        Raises Refused, and JudgeFailed of kind `timeout` or `transport` after the last attempt. May be called by
        several threads.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._ask_once(path, body)
            except _Again as error:
                if attempt >= self.attempts:
                    times = f"{attempt} times" if attempt > 1 else "once"
                    raise JudgeFailed(f"{self.base_url}{path}, asked {times}: {error}", kind=error.kind) from error
                time.sleep(_pause(attempt, error.after))

    def _ask_once(self, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.base_url}{path}", data=body, headers=headers)
        until = time.monotonic() + self.timeout
        try:
            with _OPENER.open(request, timeout=self.timeout) as response:
                return json.loads(_read(response, until))
        except urllib.error.HTTPError as error:
            with error:
                message = self._without_key(_message(_read_some(error)) or error.reason)
            if error.code in AGAIN:
                after = error.headers.get("Retry-After", "")
                raise _Again(f"HTTP {error.code}: {message}", after=after) from error
            raise Refused(error.code, message) from error
        except (TimeoutError, urllib.error.URLError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, TimeoutError):
                raise _Again(f"no answer within {self.timeout:g} s", kind="timeout") from error
            raise _Again(f"{type(reason).__name__}: {reason}") from error
        except (OSError, http.client.HTTPException) as error:  # cut while it was read
            raise _Again(f"{type(error).__name__}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise _Again("the answer is not JSON") from error

    def _without_key(self, message: str) -> str:
        return message.replace(self.key, "***") if self.key else message


class _Again(Exception):
    """This attempt failed in a way that another one may not."""

    def __init__(self, message: str, *, kind: str = "transport", after: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.after = after


def _pause(attempt: int, after: str) -> float:
    """Seconds; not the same for all threads, so that they do not all come back at once."""
    grown: float = FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
    asked = float(after) if after.isascii() and after.isdigit() else 0.0
    return min(max(grown, asked), LONGEST_PAUSE)


def _read(response: Any, until: float) -> bytes:
    """All of it; a socket's own timeout begins again with every byte that trickles in."""
    found = bytearray()
    while part := response.read1(65536):
        found += part
        if len(found) > LONGEST_REPLY:
            raise _Again(f"the answer has more than {LONGEST_REPLY} bytes")
        if time.monotonic() > until:
            raise TimeoutError
    if response.length:
        raise http.client.IncompleteRead(bytes(found), response.length)
    return bytes(found)


def _read_some(response: Any) -> bytes:
    try:
        return bytes(response.read(20_000))
    except (OSError, http.client.HTTPException):
        return b""


def _message(content: bytes) -> str:
    """What a server says about an error: OpenAI's JSON, or the beginning of whatever it is; in one line."""
    text = content.decode("utf-8", errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    for name in ("error", "message", "detail"):
        if isinstance(found, Mapping) and name in found:
            found = found[name]
    return " ".join(str(found).split())[:300]


def read_key(variable: str | None) -> str | None:
    """The key in this environment variable. Raises UserError where it is named and not set."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"params: api_key_env names the environment variable {variable}, which is not set. "
            f"Set it where snakemake is started: export {variable}=..."
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"The key in the environment variable {variable} holds letters that no HTTP header can carry.")
    return key
