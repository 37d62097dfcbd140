"""Send requests to servers with OpenAI's HTTP interface. Transient failures are retried; errors have kinds.

The key is sent only to the address in the config, through the proxy in the config if there is one. It appears in no
message and in no reply: key_mask.py takes it out of all that is read from what a server sends.
"""

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

from requests import RequestException
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util.retry import RequestHistory, Retry

from editlane.core.errors import ItemError, JudgeFailed, UserError
from editlane.core.printable import escape
from editlane.core.secrets import is_variable_name
from editlane.core.waiting import waiting
from editlane.endpoint.error_replies import is_error, parse_error, read_message, read_status
from editlane.endpoint.key_mask import KeyMask
from editlane.endpoint.pages import LONGEST_START, is_page, read_page, read_start
from editlane.endpoint.session import send

T = TypeVar("T")

TRANSIENT_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Status codes after which the same request may succeed."""

FULL_STATUSES = frozenset({429, 503})
"""Those of a server that has no room. Another one behind the same router may have some."""

UNANSWERED = ("transport", "timeout")
"""Kinds of errors of a request that got no answer."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30
"""Seconds between two attempts, unless the server asks for another pause. The pause doubles each time, with jitter."""
LONGEST_REPLY = 4 * 2**20
"""Maximum bytes of a reply, unless the endpoint says another number."""
JSON = "application/json"
UNPAID_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""OpenAI's codes of an account without money. They come with the status of a busy server, but time does not help."""
LONGEST_MESSAGE = 300
"""Maximum characters of what a server says about an error."""


_mask_key = lru_cache(maxsize=4)(KeyMask)  # takes milliseconds, and an endpoint is copied for single requests

_NO_ERROR = RequestHistory(None, None, None, None, None)
"""Begins the history of errors, because urllib3 makes no pause after the first one, which overloads a busy server."""


class Refused(Exception):
    """The server rejected the request; another attempt would not help."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(f"HTTP {status}: {message}")
        self.status = status
        self.code = code
        """The `code` of OpenAI's error; empty if there is none."""

    @property
    def is_unpaid(self) -> bool:
        """True if the account has no money."""
        return self.status == 402 or self.code in UNPAID_CODES

    @property
    def is_redirect(self) -> bool:
        """True if the server sends requests elsewhere, where the images and the key would go, too."""
        return 300 <= self.status < 400

    @property
    def concerns_all(self) -> bool:
        """True if the server would refuse every request: the address, the key, the model's name or the account is
        wrong."""
        return self.status in (401, 403, 404) or self.is_unpaid or self.is_redirect


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Address of a server, without a trailing slash, and how to send requests to it."""

    base_url: str
    key: str | None = field(default=None, repr=False)
    proxy: str | None = None
    timeout: float = 120.0
    """Seconds that one attempt may take."""
    attempts: int = 5
    seconds: float = math.inf
    """Seconds that all attempts and pauses of a request may take together."""
    session: str | None = None
    """Sent as `X-Session-ID`, by which the consistent hash of vllm-router chooses the server: requests about one model
    then go to one server, which has it loaded. Other servers ignore the header."""

    on_attempt: Callable[[], None] | None = field(default=None, compare=False)
    """Is called before each attempt; what it raises ends the request."""
    failed: type[ItemError] = JudgeFailed
    """What a request without an answer raises."""
    longest_reply: int = LONGEST_REPLY
    """Maximum bytes of a reply."""

    _mask: KeyMask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mask", _mask_key(self.key))

    @property
    def via(self) -> str:
        """Name the proxy for messages, because what fails may be the proxy; empty without one."""
        return f" through the proxy {self.proxy}" if self.proxy else ""

    def once(self, timeout: float) -> "Endpoint":
        """Return a copy that makes one attempt of at most `timeout` seconds."""
        return replace(self, attempts=1, timeout=min(timeout, self.timeout))

    def ask(self, path: str, read: Callable[[Any], T], body: bytes | None = None, content_type: str = JSON) -> T:
        """Send a GET, or a POST of `body`, and return what `read` takes from the parsed JSON of the reply. Thread-safe.

        The key is hidden in that alone, because in a whole reply it may take half a minute. What `read` raises must not
        quote the reply. Raises that, Refused, and `failed` of kind `timeout` or `transport` after the last attempt.
        """
        # Stepped here and not mounted on the session, which hands out a reply before its body is read. An attempt whose
        # body is cut off, late or no JSON would not be repeated.
        retries = Retry(
            self.attempts - 1,
            backoff_factor=FIRST_PAUSE / 2,
            backoff_jitter=FIRST_PAUSE / 2,
            history=(_NO_ERROR,),
            backoff_max=LONGEST_PAUSE,
            retry_after_max=LONGEST_PAUSE,
        )
        until, asked, full = time.monotonic() + self.seconds, 0, 0
        while True:
            if self.on_attempt is not None:
                self.on_attempt()
            try:
                asked += 1
                timeout = max(0.0, min(self.timeout, until - time.monotonic()))
                reply = self._ask_once(path, body, timeout, self._make_headers(full, content_type))
                break
            except _Transient as error:
                full += error.status in FULL_STATUSES
                if not (retries.total and _pause(retries := retries.increment(error=error), error, until)):
                    times = f"{asked} times" if asked > 1 else "once"
                    where = self._mask.hide(f"{self.base_url}{path}{self.via}")
                    raise self.failed(f"{where}, asked {times}: {error}", kind=error.kind) from error
        found: T = self._mask.clean(read(reply))
        return found

    def _make_headers(self, full: int, content_type: str) -> dict[str, str]:
        """Return the headers of an attempt. With each server that was `full`, another one is hashed to."""
        headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        if self.session is not None:
            headers["X-Session-ID"] = quote(self.session, safe="@/:") + (f"/{full}" if full else "")
        return headers

    def _ask_once(self, path: str, body: bytes | None, timeout: float, headers: dict[str, str]) -> Any:
        content = b""
        try:
            with (
                send(f"{self.base_url}{path}", body, headers, timeout=timeout, proxy=self.proxy) as response,
                ExitStack() as at_end,
            ):
                # After what is no whole answer more may come, and the next request would take that for its own.
                at_end.callback(_close, response.raw.connection)
                status = response.status_code
                if 200 <= status < 300:
                    content = _read(response, self.longest_reply)
                    answer = json.loads(content)
                    at_end.pop_all()
                    if not is_error(answer):
                        return answer
                    status, found = read_status(answer), read_message(answer)
                else:
                    found = read_message(parse_error(_read_some(response)))
                message = self._shorten(read_page(found.text) or response.reason or "no message")
                if 400 <= status < 500 and response.raw.length_remaining == 0:
                    at_end.pop_all()
        except (RequestException, HTTPError) as error:  # `from None`, because their texts hold what was sent
            raise self._explain(error, timeout) from None
        except (ValueError, RecursionError):
            raise _Transient(self._explain_no_json(content)) from None
        if status in TRANSIENT_STATUSES and found.code not in UNPAID_CODES:
            raise _Transient(f"HTTP {status}: {message}", status=status, response=response.raw)
        raise Refused(status, message, self._shorten(found.code))

    def _explain_no_json(self, content: bytes) -> str:
        """Say that an answer is no JSON, how it begins, and what to check if it is a page."""
        start = self._shorten(read_start(content))[:LONGEST_START]
        shown = f' ("{start}")' if start else ""
        if not is_page(content[:100].decode("utf-8", errors="replace")):
            return f"the answer is not JSON{shown}"
        end = "" if self.base_url.endswith("/v1") else ", which mostly ends in /v1"
        return f"the answer is not JSON but a page{shown}; check that `base_url` is the address of the API{end}"

    def _explain(self, error: BaseException, timeout: float) -> "_Transient":
        """Say what lies below the errors of requests and urllib3, which wrap it several times.

        They do so by an argument or a cause. The context does not help: it may be an error that the caller handles.
        """
        while inner := next((one for one in (*error.args, error.__cause__) if isinstance(one, BaseException)), None):
            error = inner
        if isinstance(error, TimeoutError):
            return _Transient(f"no answer within {timeout:.4g} s", kind="timeout")
        return _Transient(self._shorten(f"{type(error).__name__}: {error}"))

    def _shorten(self, message: str) -> str:
        """Return one printable line. The key goes first, because a cut would leave a part of it."""
        return shorten(self._mask.hide(message))


def shorten(message: str) -> str:
    """Return what a server says in one printable line of at most LONGEST_MESSAGE characters."""
    return escape(" ".join(message.split()))[:LONGEST_MESSAGE]


class _Transient(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(
        self, message: str, *, kind: str = "transport", status: int | None = None, response: Any = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.response = response


def _close(connection: Any) -> None:
    if connection is not None:
        connection.close()


def _pause(retries: Retry, error: _Transient, until: float) -> bool:
    """Wait before another attempt. Return False if there is no time left for one."""
    left = max(0.0, until - time.monotonic())
    retries.backoff_max, retries.retry_after_max = min(LONGEST_PAUSE, left), math.ceil(min(LONGEST_PAUSE, left))
    with waiting():
        try:
            retries.sleep(error.response)
        except (InvalidHeader, ValueError, OverflowError):  # a Retry-After that is no time
            retries.sleep()
    return time.monotonic() < until


def _read(response: Any, most: int) -> bytes:
    found = bytearray()
    for part in response.iter_content(65536):
        found += part
        if len(found) > most:
            raise _Transient(f"the answer has more than {most} bytes")
    return bytes(found)


def _read_some(response: Any) -> bytes:
    try:
        return bytes(response.raw.read(20_000, decode_content=True))
    except HTTPError:
        return b""


def read_key(variable: str | None, named_by: str = "params: api_key_env") -> str | None:
    """Return the key in this environment variable. Raises UserError, which says who names it, if it is not set."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    name = variable if is_variable_name(variable) else "..."  # which may be the key itself
    if not key:
        raise UserError(
            f"{named_by} names the environment variable {name}, which is not set. "
            f"Set it where the command is started: export {name}=KEY"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"The key in the environment variable {name} contains characters that an HTTP header cannot carry."
        )
    return key
