"""What all routes of a server share: the token, the limits, the refusals, the log of requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route

from editlane.server.access_log import AccessLog
from editlane.server.metrics import RequestMetrics
from editlane.server.reading import Refused, check_origin, check_token, read_body
from editlane.server.wire import WARNING_HEADER

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Status in the log of a request whose client has left."""

NOT_READY_SECONDS = 5.0
"""When to ask again while nothing is ready."""

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class Front:
    """The state of a server's HTTP side, whatever it answers."""

    def __init__(
        self, metrics: RequestMetrics, folder: Path, token: str, *, body_bytes: int, body_seconds: float, all_bytes: int
    ) -> None:
        """`body_bytes`, `body_seconds`: bounds of one body; `all_bytes`: of all that are being answered."""
        self.metrics, self.token = metrics, token
        self._body_bytes, self._body_seconds, self._all_bytes = body_bytes, body_seconds, max(all_bytes, body_bytes)
        self.draining, self.ending = asyncio.Event(), asyncio.Event()
        """Set when no new work is taken, and when the work at hand is given up."""
        self.fatal = ""
        """Why the server will never be ready, if that is so; it ends then."""
        self.find_warning: Callable[[], str] = lambda: ""
        """Returns what every answer should say besides."""
        self.running = 0
        """Requests with a body that are being read or answered."""
        self._arriving = 0
        self.access = AccessLog(folder / "access.jsonl")

    def route(self, path: str, handler: Handler, method: str = "GET", *, private: bool = True) -> Route:
        """Return the route of a handler. A private one needs the token."""

        async def answer(request: Request) -> Response:
            started = time.monotonic()
            self.running += method == "POST"
            try:
                response = await self._answer(handler, request, private)
            finally:
                self.running -= method == "POST"
                self._arriving -= getattr(request.state, "held", 0)
            status = str(response.status_code)
            if method == "POST":
                self.metrics.seconds.labels(path).observe(time.monotonic() - started)
            self.metrics.requests.labels(path, status).inc()
            self.access.write(request, path, response.status_code, time.monotonic() - started)
            return response

        return Route(path, answer, methods=[method])

    async def _answer(self, handler: Handler, request: Request, private: bool) -> Response:
        try:
            check_origin(request, self.token)
            if private:
                check_token(request, self.token)
            response = await handler(request)
        except Refused as refused:
            return self._refuse(refused, str(refused.status))
        except (ClientDisconnect, ClientGone):
            return Response(status_code=CLIENT_GONE)
        except Exception:
            log.exception("%s failed", request.url.path)
            return JSONResponse({"error": "the server failed; its log says more"}, 500)
        if warning := self.find_warning():
            response.headers[WARNING_HEADER] = warning
        return response

    def _refuse(self, refused: Refused, why: str) -> Response:
        self.metrics.refused.labels(why).inc()
        return refused.make_response()

    async def read(self, request: Request) -> bytes:
        """Return the body of a request for work. Raises Refused."""
        if self.draining.is_set():
            raise Refused(503, "the server is going down", NOT_READY_SECONDS)
        return await read_body(request, self._body_bytes, self._body_seconds, self._hold)

    def _hold(self, request: Request, size: int) -> None:
        """Count bytes of a body until its request is answered. Raises Refused if all bodies together are too large."""
        if self._arriving + size > self._all_bytes:
            raise Refused(503, "too much is arriving at once", NOT_READY_SECONDS)
        request.state.held = getattr(request.state, "held", 0) + size
        self._arriving += size

    async def while_connected(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns.

        Cancels it and raises ClientGone if the client closes the connection before, and Refused if the server ends.
        """
        task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_wait_until_left(request))
        ending = asyncio.ensure_future(self.ending.wait())
        try:
            await asyncio.wait([task, leaving, ending], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if leaving.done():
                raise ClientGone
            raise Refused(503, "the server ended before this was finished; ask again", NOT_READY_SECONDS)
        finally:
            for one in (task, leaving, ending):
                one.cancel()
            await asyncio.gather(task, leaving, ending, return_exceptions=True)


def note(request: Request, **values: Any) -> None:
    """Add values to the request's line in the log."""
    request.state.note = getattr(request.state, "note", {}) | values


async def _wait_until_left(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def refuse_unrouted(request: Request, error: Exception) -> Response:
    """Answer a request that no route takes, in the shape of all refusals and with all methods of the path."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE]
    methods = {method for route in matching for method in route.methods}
    if not methods:
        paths = ", ".join(sorted({route.path for route in request.app.routes}))
        return JSONResponse({"error": f"there is nothing at this path; there are {paths}"}, 404)
    listed = ", ".join(sorted(methods))
    return JSONResponse({"error": f"this path takes {listed}"}, 405, {"Allow": listed})
