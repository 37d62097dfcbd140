"""A WebSocket to a policy server, as openpi, SGLang and vLLM-Omni speak it."""

from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.protocol import State

from editlane.robots.addresses import PolicyAddress
from editlane.robots.dialects import DIALECTS, Metadata, Observation, make_frame, read_answer, read_metadata
from editlane.robots.wire import MAX_FRAME, WireError, unpack


class WebSocket:
    """The socket to one server, with one observation in flight."""

    def __init__(self, address: PolicyAddress) -> None:
        self._address = address
        self._socket: ClientConnection | None = None
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Return whether the last socket is still open. One that the server closed while it was idle is not."""
        return self._socket is not None and self._socket.state is State.OPEN

    async def open(self) -> Metadata:
        """Open a new socket and return the metadata.

        Raises OSError, WebSocketException, WireError, and UnfitServer for metadata that is no JSON.
        """
        self.drop()
        self._check()
        self._socket = await connect(
            f"ws://{self._address}{DIALECTS[self._address.dialect].path}",
            host=self._address.host,  # a redirect to another host is refused
            port=self._address.port,
            compression=None,
            max_size=MAX_FRAME,
            ping_interval=None,  # a server that computes answers no pings
            open_timeout=None,
            proxy=None,
        )
        self._check()
        first = await self._socket.recv()
        if isinstance(first, str):
            raise WireError("the first frame is text, not the policy's metadata")
        return read_metadata(unpack(first))

    def _check(self) -> None:
        if self._is_closed:
            raise ConnectionAbortedError("the pool was closed")

    async def ask(self, observation: Observation, metadata: Metadata) -> dict[str, Any]:
        """Send an observation over the open socket and return the answer.

        Raises OSError, WebSocketException, WireError, Refusal, UnfitServer, and UnsendableObservation.
        """
        if self._socket is None:
            raise ConnectionAbortedError("the socket was closed")
        await self._socket.send(make_frame(self._address.dialect, observation, metadata))
        return read_answer(await self._socket.recv())

    def drop(self) -> None:
        """Throw the socket away: its next frame may be the answer to somebody else's observation."""
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None

    async def close(self) -> None:
        """Throw the socket away for good, and wait until it is gone."""
        self._is_closed, socket = True, self._socket
        self.drop()
        if socket is not None:
            await socket.wait_closed()
