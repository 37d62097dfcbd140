"""Send requests to servers with OpenAI's HTTP interface. Transient failures are retried; errors have kinds.

Only the standard library is used, because a lane that asks a server runs in Snakemake's own environment. The key is
sent only to the address in the config (redirects are not followed) and appears in no message.
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

TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Status codes after which the same request may succeed."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between two attempts. The pause doubles each time, with jitter, unless the server asks for a longer one."""
LONGEST_REPLY = 32 * 2**20
"""Maximum bytes of a reply."""


class Refused(Exception):
    """The server rejected the request; another attempt would not help."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Address of a server, without a trailing slash, and how to send requests to it."""

    base_url: str
    key: str | None = None
    timeout: float = 120.0
    """Seconds that one attempt may take."""
    attempts: int = 5

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """Send a GET, or a POST of `body`, and return the parsed JSON of the reply. Thread-safe.

        Raises Refused, and JudgeFailed of kind `timeout` or `transport` after the last attempt.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._ask_once(path, body)
            except _Transient as error:
                if attempt >= self.attempts:
                    times = f"{attempt} times" if attempt > 1 else "once"
                    raise JudgeFailed(f"{self.base_url}{path}, asked {times}: {error}", kind=error.kind) from error
                time.sleep(_choose_pause(attempt, error.after))

    def _ask_once(self, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.base_url}{path}", data=body, headers=headers)
        until = time.monotonic() + self.timeout
        try:
            with _OPENER.open(request, timeout=self.timeout) as response:
                return json.loads(_read(response, until))
        except urllib.error.HTTPError as error:
            with error:
                message = self._hide_key(_read_message(_read_some(error)) or error.reason)
            if error.code in TRANSIENT_STATUSES:
                after = error.headers.get("Retry-After", "")
                raise _Transient(f"HTTP {error.code}: {message}", after=after) from error
            raise Refused(error.code, message) from error
        except (TimeoutError, urllib.error.URLError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            if isinstance(reason, TimeoutError):
                raise _Transient(f"no answer within {self.timeout:g} s", kind="timeout") from error
            raise _Transient(f"{type(reason).__name__}: {reason}") from error
        except (OSError, http.client.HTTPException) as error:  # connection lost while reading
            raise _Transient(f"{type(error).__name__}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise _Transient("the answer is not JSON") from error

    def _hide_key(self, message: str) -> str:
        return message.replace(self.key, "***") if self.key else message


class _Transient(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, message: str, *, kind: str = "transport", after: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.after = after


def _choose_pause(attempt: int, after: str) -> float:
    """Return the seconds to wait, with jitter, so that threads do not all retry at the same moment."""
    grown: float = FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
    asked = float(after) if after.isascii() and after.isdigit() else 0.0
    return min(max(grown, asked), LONGEST_PAUSE)


def _read(response: Any, until: float) -> bytes:
    """Read the whole body. Check the deadline here, because the socket's timeout restarts with every byte."""
    found = bytearray()
    while part := response.read1(65536):
        found += part
        if len(found) > LONGEST_REPLY:
            raise _Transient(f"the answer has more than {LONGEST_REPLY} bytes")
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


def _read_message(content: bytes) -> str:
    """Return the message of an error reply in one line: OpenAI's JSON field, or the beginning of any other text."""
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
    """Return the key in this environment variable. Raises UserError if the variable is not set."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"params: api_key_env names the environment variable {variable}, which is not set. "
            f"Set it where snakemake is started: export {variable}=..."
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"The key in the environment variable {variable} contains characters that an HTTP header cannot carry."
        )
    return key
