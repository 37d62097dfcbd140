"""Read requests: who may ask, how much is taken and for how long, and in which of the formats."""

import asyncio
import hmac
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from editlane.core.printable import escape
from editlane.core.tokens import LOOPBACK
from editlane.server.wire import IMAGES, ScoreItem, ScoreRequest, decode_json, decode_msgpack, is_text

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it logs what is wrong with each form


class Refused(Exception):
    """The request as a whole is refused."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after

    def make_response(self) -> Response:
        """Return the response. After 408 and 413 the connection is closed, or a body without end would be read on."""
        headers = {"Retry-After": str(max(1, round(self.retry_after)))} if self.retry_after else {}
        if self.status in (408, 413):
            headers["Connection"] = "close"
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": escape(str(self))[:500]}, self.status, headers)


def check_token(request: Request, token: str) -> None:
    """Raise Refused if the server has a token and the request does not bring it."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token and not hmac.compare_digest(given.encode(), token.encode()):
        wrong = "the token is another one" if given else "no token was sent"
        raise Refused(401, f"this server needs a token, and {wrong}: send `Authorization: Bearer <token>`")


def check_origin(request: Request, token: str) -> None:
    """Refuse what a foreign page makes a browser send to a server without a token.

    Such a page can send forms to an address of this machine, or name the machine by a name of its own.
    """
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        raise Refused(403, "requests from pages of other servers are refused")
    if not token and host.rpartition(":")[0].strip("[]") not in LOOPBACK and host.strip("[]") not in LOOPBACK:
        raise Refused(403, "this server has no token, so it answers to 127.0.0.1 and localhost only")


async def read_body(request: Request, max_bytes: int, seconds: float, hold: Callable[[Request, int], None]) -> bytes:
    """Return the body. `hold` is told of each piece, and may refuse.

    Raises Refused for one that is too long or too slow, ClientDisconnect if the client left.
    """
    too_large = Refused(413, f"the request has more than {max_bytes / 1e6:g} MB; send less at once")
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large
    found = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                hold(request, len(part))
                found += part
                if len(found) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {seconds:g} s") from None
    return bytes(found)


async def decode_request(request: Request, body: bytes) -> ScoreRequest:
    """Return what a body of /v1/score asks: JSON, msgpack, or a form with one edit. Raises Refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            return await _decode_form(request, body)
        if kind in ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack"):
            return _check_deadline(await asyncio.to_thread(decode_msgpack, body))
        if kind in ("", "application/json", "application/x-www-form-urlencoded"):  # the last is what curl -d says
            return _check_deadline(await asyncio.to_thread(decode_json, body))
    except (msgspec.DecodeError, MultiPartException, RecursionError, UnicodeError) as error:
        raise Refused(400, f"the request cannot be read: {error or type(error).__name__}") from error
    raise Refused(415, "send application/json, application/msgpack or multipart/form-data")


def _check_deadline(asked: ScoreRequest) -> ScoreRequest:
    """Refuse a deadline that is no number above 0. A loop would never reach the NaN that msgpack can hold."""
    if asked.deadline_s is not None and not asked.deadline_s > 0:
        raise Refused(400, "deadline_s is not a number of seconds above 0")
    return asked


async def _decode_form(request: Request, body: bytes) -> ScoreRequest:
    """Return the request for the one edit of a form, such as curl sends."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, whole(), max_files=2, max_fields=8, max_part_size=len(body) + 1)
    parser.spool_max_size = len(body) + 1  # in memory, where the body is already, rather than in a file
    form = await parser.parse()
    values: dict[str, Any] = {}
    try:
        for name, value in form.multi_items():
            if name in values:
                raise Refused(400, f"the form has the field {name!r} twice")
            if isinstance(value, str) and not is_text(value):
                raise Refused(400, f"the form's field {name!r} is no text")
            values[name] = value if isinstance(value, str) else await value.read()
    finally:
        await form.close()
    for name in IMAGES:
        if not isinstance(values.get(name), bytes):
            raise Refused(400, f"the form has no file {name!r}; with curl: -F {name}=@photo.png")
    judge = values.pop("judge", None)
    return ScoreRequest([msgspec.convert(values, ScoreItem)], judge=judge if isinstance(judge, str) else None)
