"""A server of SGLang's action API, in the test's own event loop: `GET /v1/actions/metadata`, `POST .../generations`."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgpack
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from editlane.robots.addresses import PolicyAddress
from editlane.robots.wire import pack, unpack

Trick = Callable[["SglangDouble", dict[str, Any]], Awaitable[Response]]


def make_envelope(observation: dict[str, Any], values: Any = None) -> dict[str, Any]:
    """What SGLang answers: actions that have the number of the observation."""
    made = np.full((5, 7), observation["state"][0], np.float32) if values is None else values
    action = {"type": "continuous", "dtype": "float32", "shape": [5, 7], "values": made}
    data = [{"index": 0, "action": action}]
    return {"id": "act-1", "object": "action.generation", "created": 1, "model": "pi05", "data": data, "usage": {}}


def answer_msgpack(content: Any, status: int = 200) -> Response:
    return Response(pack(content), status, media_type="application/msgpack")


class SglangDouble:
    """Answers rightly, after `delay` seconds. `tricks` are what it does with the next observations instead."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.metadata: dict[str, Any] = {
            "object": "action.metadata",
            "policy_family": "pi05",
            "input": {"image_keys": ["image", "image2"], "image_size": [224, 224], "state_dim": 8},
            "output": {"action_horizon": 50, "action_dim": 7, "padded_action_dim": 32, "dtype": "float32"},
        }
        self.tricks: list[Trick] = []
        self.port = 0
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.metadata_reads = 0
        self.at_work = self.most_at_work = 0
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> PolicyAddress:
        return PolicyAddress("127.0.0.1", self.port, "sglang-http")

    async def start(self) -> "SglangDouble":
        """Listen, on the port of before if there was one."""
        routes = [
            Route("/v1/actions/metadata", self._tell),
            Route("/v1/actions/generations", self._answer, methods=["POST"]),
        ]
        listening = socket.create_server(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        settings = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", ws="none")
        self._server = uvicorn.Server(settings)
        self._task = asyncio.create_task(self._server._serve([listening]), name="whole")  # without its signal handlers
        while not self._server.started:
            await asyncio.sleep(0.01)
        return self

    async def kill(self) -> None:
        """Break all connections at once, as the death of a process does."""
        assert self._server is not None and self._task is not None
        for listener in self._server.servers:
            listener.close()
        self.close_idle()
        self._server.force_exit = self._server.should_exit = True
        await self._task

    def close_idle(self) -> None:
        """Close every connection, as a server does that was asked nothing for a while."""
        assert self._server is not None
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr]

    async def _tell(self, request: Request) -> Response:
        self.metadata_reads += 1
        return JSONResponse(self.metadata)

    async def _answer(self, request: Request) -> Response:
        self.headers.append(dict(request.headers))
        body = await request.body()
        msgpack.unpackb(body, raw=False)  # as SGLang reads it
        payload = unpack(body)
        self.asked.append(payload)
        observation = payload["input"]["observation"]
        self.at_work += 1
        self.most_at_work = max(self.at_work, self.most_at_work)
        try:
            if self.tricks:
                return await self.tricks.pop(0)(self, observation)
            await asyncio.sleep(self.delay)
            return answer_msgpack(make_envelope(observation))
        finally:
            self.at_work -= 1
