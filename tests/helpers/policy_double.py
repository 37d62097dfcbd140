"""A policy server that does what a test tells it to, in the test's own event loop."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from editlane.robots.addresses import PolicyAddress
from editlane.robots.wire import pack, unpack

Trick = Callable[["PolicyDouble", ServerConnection, dict[str, Any]], Any]


def observe(number: float = 1.0) -> dict[str, Any]:
    """An observation that its number tells from others."""
    pictures = {f"observation/{name}": np.zeros((4, 4, 3), np.uint8) for name in ("image", "wrist_image")}
    return pictures | {"observation/state": np.full(8, number), "prompt": f"go to {number}"}


def act(observation: dict[str, Any]) -> np.ndarray:
    """The right actions: the number of the observation."""
    return np.full((5, 7), observation["observation/state"][0], np.float32)


class PolicyDouble:
    """Answers rightly, after `delay` seconds. `tricks` are what it does with the next observations instead."""

    def __init__(self, delay: float = 0.0, policy: str = "double", dialect: str = "openpi") -> None:
        self.delay, self.dialect = delay, dialect
        self.metadata: dict[str, Any] = {"policy": policy, "action_dim": 7}
        self.tricks: list[Trick] = []
        self.greeting: str | bytes | None = None
        self.greets_after = 0.0
        self.port = 0
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.at_work = self.most_at_work = 0
        self.clients: set[ServerConnection] = set()
        self._server: Server | None = None

    @property
    def address(self) -> PolicyAddress:
        return PolicyAddress("127.0.0.1", self.port, self.dialect)

    async def start(self) -> "PolicyDouble":
        """Listen, on the port of before if there was one."""
        self._server = await serve(self._answer, "127.0.0.1", self.port, ping_interval=None, compression=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def kill(self) -> None:
        """Break all sockets at once, as the death of a process does."""
        assert self._server is not None
        self._server.close(close_connections=False)
        for client in self.clients:
            client.transport.abort()
        await asyncio.sleep(0.005)  # the caller may be one of the handlers for whose end the server waits

    async def close_idle(self, code: int = 1000) -> None:
        """Close every socket in good order, as a server does that was asked nothing for a while."""
        for client in list(self.clients):
            await client.close(code)

    async def _answer(self, client: ServerConnection) -> None:
        self.clients.add(client)
        self.paths.append(client.request.path if client.request else "")
        try:
            await asyncio.sleep(self.greets_after)
            await client.send(self.greeting if self.greeting is not None else pack(self.metadata))
            while True:
                observation = unpack(await client.recv())
                self.asked.append(observation)
                self.at_work += 1
                self.most_at_work = max(self.at_work, self.most_at_work)
                try:
                    await self._play(client, observation)
                finally:
                    self.at_work -= 1
        except ConnectionClosed:
            pass
        finally:
            self.clients.discard(client)

    async def _play(self, client: ServerConnection, observation: dict[str, Any]) -> None:
        if self.tricks:
            await self.tricks.pop(0)(self, client, observation)
            return
        await asyncio.sleep(self.delay)
        await client.send(pack({"actions": act(observation), "state": observation["observation/state"]}))
