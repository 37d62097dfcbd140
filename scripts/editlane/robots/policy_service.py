"""Serve a policy over openpi's protocol."""

import asyncio
import http
import logging
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from editlane.core.errors import UserError, one_line
from editlane.robots.policies import Policy
from editlane.robots.wire import MAX_FRAME, WireError, pack, unpack

log = logging.getLogger(__name__)

ERROR = "Internal server error. Traceback included in previous frame."
"""The reason with which openpi closes a socket after an exception. Only its last line leaves this house."""


class PolicyService:
    """One policy for any number of clients. It infers in a thread, one observation at a time."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._thread = ThreadPoolExecutor(1)
        self._at_work = 0
        self._is_ending = False

    async def answer(self, client: ServerConnection) -> None:
        """Send the metadata, then answer every observation until the client leaves or an exception ends it."""
        with suppress(ConnectionClosed):
            await client.send(pack(self._policy.metadata))
            spent: float | None = None
            while True:
                frame, began = await client.recv(), time.monotonic()
                if self._is_ending:
                    return
                self._at_work += 1
                try:
                    if not await self._reply(client, frame, spent):
                        return
                finally:
                    self._at_work -= 1
                spent = time.monotonic() - began

    async def _reply(self, client: ServerConnection, frame: str | bytes, spent: float | None) -> bool:
        """Answer an observation, and return whether the socket may go on."""
        try:
            reply = await self._infer(frame, spent)
        except asyncio.CancelledError:
            if not self._is_ending:
                raise
            return False  # it was never begun
        except Exception as error:
            log.warning("a policy failed: %s", one_line(error), exc_info=not isinstance(error, WireError))
            await client.send(f"{type(error).__name__}: {one_line(error)}")
            await client.close(1011, ERROR)
            return False
        await client.send(reply)
        return True

    async def _infer(self, frame: str | bytes, spent: float | None) -> bytes:
        """Return the frame of the reply. `spent` are the seconds of this client's last observation."""
        if isinstance(frame, str):
            raise WireError("an observation is a binary frame, not text")
        observation = unpack(frame)
        if not isinstance(observation, dict):
            raise WireError("an observation is a map")
        loop, began = asyncio.get_running_loop(), time.monotonic()
        reply = await loop.run_in_executor(self._thread, self._policy.infer, observation)
        timing = {"infer_ms": (time.monotonic() - began) * 1e3}
        if spent is not None:
            timing["prev_total_ms"] = spent * 1e3
        return pack(reply | {"server_timing": timing})

    async def end(self) -> None:
        """Forget observations that wait, and return once the one at hand is answered."""
        self._is_ending = True
        self._thread.shutdown(wait=False, cancel_futures=True)
        while self._at_work:
            await asyncio.sleep(0.02)


def answer_health(client: ServerConnection, request: Request) -> Response | None:
    """Answer GET /healthz, and leave other requests to the protocol."""
    return client.respond(http.HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there. Raises UserError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UserError(
            f"Cannot listen on {host}, port {port}: {reason}. Choose another --port; 0 is any free one."
        ) from error


async def run_service(policy: Policy, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT. Prints the address."""
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # every client, and every look at the port
    stop, service = asyncio.Event(), PolicyService(policy)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(
        service.answer,
        sock=listening,
        compression=None,
        max_size=MAX_FRAME,
        ping_interval=None,
        origins=[None],  # no page of a browser on this machine
        process_request=answer_health,
    ):
        host, port = listening.getsockname()[:2]
        print(f"serving {policy.metadata['policy']} at ws://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
        await stop.wait()
        await service.end()
