"""One policy server: its socket, and what is known of it."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.protocol import State

from editlane.core.errors import one_line
from editlane.robots.addresses import PolicyAddress
from editlane.robots.dialects import DIALECTS, Metadata, Observation, UnfitServer, make_frame, read_answer
from editlane.robots.wire import MAX_FRAME, WireError, unpack

FIRST_REST = 1.0
"""Seconds after a failure; each further one in a row doubles them."""
LONGEST_REST = 30.0


@dataclass(slots=True, eq=False)
class PolicyLink:
    """A policy server, lent to one caller at a time. Times are those of `time.monotonic`."""

    address: PolicyAddress
    metadata: Metadata = field(default_factory=dict)
    is_busy: bool = False
    is_unfit: bool = False
    is_closed: bool = False
    rests_until: float = 0.0
    used_at: float = 0.0
    doubts: int = 0
    """Failures since it last answered, and deadlines of callers: others are asked first."""
    failed_in_row: int = 0
    served: int = 0
    failures: int = 0
    last_error: str = ""
    _socket: ClientConnection | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the last socket is still open. One that the server closed while it was idle is not."""
        return self._socket is not None and self._socket.state is State.OPEN

    async def open(self, seconds: float) -> None:
        """Open a new socket and read the metadata.

        Raises TimeoutError, OSError, WebSocketException, WireError, and UnfitServer for metadata that is no JSON.
        """
        self.drop()
        if self.is_closed:
            raise ConnectionAbortedError("the pool was closed")
        async with asyncio.timeout(seconds):
            self._socket = await connect(
                f"ws://{self.address}{DIALECTS[self.address.dialect].path}",
                host=self.address.host,  # a redirect to another host is refused
                port=self.address.port,
                compression=None,
                max_size=MAX_FRAME,
                ping_interval=None,  # a server that computes answers no pings
                open_timeout=None,
                proxy=None,
            )
            if self.is_closed:
                raise ConnectionAbortedError("the pool was closed")
            first = await self._socket.recv()
        if isinstance(first, str):
            raise WireError("the first frame is text, not the policy's metadata")
        self.metadata = _read_metadata(first)

    async def ask(self, observation: Observation, seconds: float) -> dict[str, Any]:
        """Send an observation over the open socket and return the answer.

        Raises TimeoutError, OSError, WebSocketException, WireError, Refusal, UnfitServer, and UnsendableObservation.
        """
        if self._socket is None:
            raise ConnectionAbortedError("the socket was closed")
        frame = make_frame(self.address.dialect, observation, self.metadata)
        async with asyncio.timeout(seconds):
            await self._socket.send(frame)
            answer = await self._socket.recv()
        return read_answer(answer)

    def drop(self) -> None:
        """Throw the socket away: its next frame may be the answer to somebody else's observation."""
        if self._socket is not None:
            self._socket.transport.abort()
            self._socket = None

    async def close(self) -> None:
        """Throw the socket away for good, and wait until it is gone."""
        self.is_closed, socket = True, self._socket
        self.drop()
        if socket is not None:
            await socket.wait_closed()

    def blame(self, error: Exception | str) -> None:
        """Count a failure, and let the server rest for 1, 2, 4 ... 30 s."""
        self.failures += 1
        self.failed_in_row += 1
        self.doubts += 1
        self.last_error = one_line(Exception(error))
        self.rests_until = time.monotonic() + min(LONGEST_REST, FIRST_REST * 2 ** min(self.failed_in_row - 1, 9))

    def exclude(self, error: Exception) -> None:
        """Leave out a server that is unfit. It is looked at again after the longest rest."""
        self.is_unfit, self.last_error = True, one_line(error)
        self.rests_until = time.monotonic() + LONGEST_REST

    def praise(self) -> None:
        """Count an answer."""
        self.served += 1
        self.failed_in_row = self.doubts = 0

    def describe(self) -> dict[str, Any]:
        """Describe the server for people and programs, as JSON."""
        rest = max(0.0, self.rests_until - time.monotonic())
        state = "unfit" if self.is_unfit else "busy" if self.is_busy else "resting" if rest else "idle"
        about: dict[str, Any] = {"host": self.address.host, "port": self.address.port, "dialect": self.address.dialect}
        about |= {"state": state if self.metadata or self.failures or self.is_unfit else "unknown"}
        about |= {"connected": self.is_open or self.is_busy, "rest_seconds": round(rest, 1)}
        about |= {"served": self.served, "failures": self.failures}
        return about | {"last_error": self.last_error}


def _read_metadata(frame: bytes) -> dict[str, Any]:
    """Read the first frame as what JSON can hold. Raises WireError for garbage, UnfitServer for what is no JSON."""
    metadata = unpack(frame)
    if not isinstance(metadata, dict):
        raise WireError(f"the metadata is {type(metadata).__name__}, not a map")
    try:
        read: dict[str, Any] = json.loads(json.dumps(metadata, sort_keys=True, default=_to_json))
    except TypeError as error:
        raise UnfitServer(f"its metadata cannot be compared: {error}") from error
    return read


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.hex()  # bytes; frames hold nothing else
