"""A connection to a policy server of SGLang that is asked over HTTP.

The metadata is read over the same connection as the answers: a server that was started again, perhaps with another
policy, is asked for it again.
"""

import asyncio
import json
from typing import Any, cast

import httptools
import numpy as np

from editlane.robots.addresses import PolicyAddress
from editlane.robots.dialects import DIALECTS, Metadata, Observation, Refusal, make_frame, read_metadata
from editlane.robots.wire import MAX_FRAME, WireError, unpack

METADATA_PATH = "/v1/actions/metadata"
REFUSED = (400, 413, 422, 500)
"""Statuses with which a server says that it cannot act on an observation."""
LARGEST_HEAD = 2**16


class HttpSocket:
    """The connection to one server, with one observation in flight. Follows no redirect and asks no proxy."""

    def __init__(self, address: PolicyAddress) -> None:
        self._address = address
        self._connection: _Connection | None = None
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Return whether the last connection is still open. One that the server closed while it was idle is not."""
        return self._connection is not None and self._connection.is_open

    async def open(self) -> Metadata:
        """Open a new connection and return the metadata.

        Raises OSError, WireError, and UnfitServer for metadata that cannot be compared.
        """
        self.drop()
        self._check()
        loop = asyncio.get_running_loop()
        _, self._connection = await loop.create_connection(_Connection, self._address.host, self._address.port)
        self._check()
        response = await self._connection.exchange(f"GET {METADATA_PATH}", self._address)
        if response.status != 200:
            raise WireError(f"it answered GET {METADATA_PATH} with status {response.status}: {response.read_error()}")
        return read_metadata(response.read())

    def _check(self) -> None:
        if self._is_closed:
            self.drop()
            raise ConnectionAbortedError("the pool was closed")

    async def ask(self, observation: Observation, metadata: Metadata) -> dict[str, Any]:
        """Send an observation over the open connection and return the answer.

        Raises OSError, WireError, Refusal, UnfitServer, and UnsendableObservation.
        """
        if self._connection is None:
            raise ConnectionAbortedError("the connection was closed")
        body = make_frame(self._address.dialect, observation, metadata)
        path = DIALECTS[self._address.dialect].path
        response = await self._connection.exchange(f"POST {path}", self._address, body)
        if response.status in REFUSED:
            raise Refusal(response.read_error(), keeps_socket=self.is_open)
        if response.status != 200:
            raise WireError(f"it answered with status {response.status}: {response.read_error()}")
        return {"actions": _find_actions(response.read())}

    def drop(self) -> None:
        """Throw the connection away: its next answer may be that to somebody else's observation."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def close(self) -> None:
        """Throw the connection away for good, and wait until it is gone."""
        self._is_closed, connection = True, self._connection
        self.drop()
        if connection is not None:
            await connection.lost.wait()


class _Response:
    """A response while it arrives; httptools calls the methods that begin with `on`."""

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.status, self.keeps_open = 0, False
        self.messages = 0
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.size = 0
        self._body = bytearray()
        self._is_msgpack = False

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type":
            self._is_msgpack = b"msgpack" in value.lower()

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_headers_complete(self) -> None:
        self.status, self.keeps_open = self.parser.get_status_code(), self.parser.should_keep_alive()

    def on_message_complete(self) -> None:
        if not self.arrived.done():
            self.arrived.set_result(None)

    def read(self) -> Any:
        """Return the content. Raises WireError."""
        if self._is_msgpack:
            return unpack(bytes(self._body))
        try:
            return json.loads(self._body)
        except (ValueError, RecursionError) as error:
            raise WireError("the answer is neither msgpack nor JSON") from error

    def read_error(self) -> str:
        """Return what a server says of an error: FastAPI's `detail`, or the text."""
        try:
            told = self.read()
        except WireError:
            told = self._body[:1000].decode(errors="replace").strip() or "no message"
        if isinstance(told, dict):
            told = told.get("detail") or told.get("error") or told.get("message") or told
        if isinstance(told, dict):
            told = told.get("message", told)
        return str(told)


class _Connection(asyncio.Protocol):
    """One request at a time, each with its response. What arrives without a request ends the connection."""

    def __init__(self) -> None:
        self.is_open, self.lost = False, asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._response: _Response | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None or response.arrived.done():
            self.abort()
            return
        response.size += len(data)
        try:
            response.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(WireError(f"the answer is no HTTP: {error}"))
        if response.size > MAX_FRAME + LARGEST_HEAD:
            self._fail(WireError(f"the answer has more than {MAX_FRAME} bytes"))

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        self.lost.set()
        if self._response is not None and self._response.size:
            self._fail(WireError("the answer was cut off"))
        self._fail(ConnectionResetError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        self.abort()
        if self._response is not None and not self._response.arrived.done():
            self._response.arrived.set_exception(error)

    def abort(self) -> None:
        """Break the connection."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, what: str, address: PolicyAddress, body: bytes = b"") -> _Response:
        """Send a request and return its response.

        Raises WireError for what is no HTTP, and ConnectionResetError if the connection ends before any of it arrived.
        """
        if not self.is_open or self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        response = self._response = _Response()
        lines = [f"{what} HTTP/1.1", f"Host: {address}", "Accept: application/msgpack, application/json"]
        lines += ["Accept-Encoding: identity"]
        lines += ["Content-Type: application/msgpack", f"Content-Length: {len(body)}"] if body else []
        self._transport.write("\r\n".join([*lines, "", ""]).encode() + body)
        await response.arrived
        if response.messages > 1:
            raise WireError("it sent two answers to one request")
        if not response.keeps_open:
            self.abort()
        return response


def _find_actions(answer: Any) -> Any:
    """Return the array of actions in SGLang's envelope. Raises WireError."""
    try:
        values = answer["data"][0]["action"]["values"]
    except (KeyError, IndexError, TypeError) as error:
        raise WireError("the answer has no data[0].action.values") from error
    if not isinstance(values, list):
        return values
    try:
        return np.array(values, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise WireError("its actions are no numbers in rows of one length") from error
