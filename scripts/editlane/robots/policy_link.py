"""One policy server: its socket, and what is known of it."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from editlane.core.errors import one_line
from editlane.robots.addresses import PolicyAddress
from editlane.robots.dialects import HTTP, Metadata, Observation
from editlane.robots.http_socket import HttpSocket
from editlane.robots.web_socket import WebSocket

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
    rests_until: float = 0.0
    used_at: float = 0.0
    doubts: int = 0
    """Failures since it last answered, and deadlines of callers: others are asked first."""
    failed_in_row: int = 0
    asked: int = 0
    """Observations that it was sent."""
    served: int = 0
    failures: int = 0
    last_error: str = ""
    _was_away: bool = False
    """Whether it failed last because there was no connection. Others fail again at once if they are asked."""
    _socket: WebSocket | HttpSocket = field(init=False)

    def __post_init__(self) -> None:
        self._socket = HttpSocket(self.address) if self.address.dialect == HTTP else WebSocket(self.address)

    @property
    def is_open(self) -> bool:
        """Return whether the last socket is still open. One that the server closed while it was idle is not."""
        return self._socket.is_open

    async def open(self, seconds: float) -> None:
        """Open a new socket and read the metadata.

        Raises TimeoutError, OSError, WebSocketException, WireError, and UnfitServer for metadata that is no JSON.
        """
        async with asyncio.timeout(seconds):
            self.metadata = await self._socket.open()

    async def ask(self, observation: Observation, seconds: float) -> dict[str, Any]:
        """Send an observation over the open socket and return the answer.

        Raises TimeoutError, OSError, WebSocketException, WireError, Refusal, UnfitServer, and UnsendableObservation.
        """
        self.asked += 1
        async with asyncio.timeout(seconds):
            return await self._socket.ask(observation, self.metadata)

    def drop(self) -> None:
        """Throw the socket away: what comes next may be the answer to somebody else's observation."""
        self._socket.drop()

    async def close(self) -> None:
        """Throw the socket away for good, and wait until it is gone."""
        await self._socket.close()

    def blame(self, error: Exception | str) -> None:
        """Count a failure, and let the server rest for 1, 2, 4 ... 30 s."""
        self.failures += 1
        self.failed_in_row += 1
        self.doubts += 1
        self.last_error = one_line(Exception(error))
        self._was_away = getattr(error, "kind", "") == "policy_transport"
        self.rests_until = time.monotonic() + min(LONGEST_REST, FIRST_REST * 2 ** min(self.failed_in_row - 1, 9))

    def welcome(self) -> None:
        """End the rest of a server that could not be reached, and now can."""
        if self._was_away:
            self.rests_until = 0.0

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
