"""What all routes of the server share: the token, the limits, the refusals, the log of requests."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from editlane.core.errors import UnknownName
from editlane.core.types import Row
from editlane.server.access_log import AccessLog
from editlane.server.canary import CanaryWatch
from editlane.server.jobs import Jobs
from editlane.server.online_judge import OnlineJudge
from editlane.server.reading import Refused, check_origin, check_token, read_body
from editlane.server.service import ClientGone, NotReady, RewardService
from editlane.server.wire import WARNING_HEADER, ScoreItem
from editlane.server.work_queue import Full

log = logging.getLogger(__name__)

CLIENT_GONE = 499
"""Status in the log of a request whose client has left."""

MAX_SECONDS = 3600.0
"""Longest deadline of a request; longer work is a job."""

NOT_READY_SECONDS = 5.0
"""When to ask again while no judge is ready."""

T = TypeVar("T")
Handler = Callable[["Front", Request], Awaitable[Response]]


class Front:
    """The state of the HTTP side."""

    def __init__(self, service: RewardService, token: str) -> None:
        self.service, self.token = service, token
        self.canary, self.jobs = CanaryWatch(service), Jobs(service)
        self.limits = service.config.limits
        self.draining = asyncio.Event()
        self.fatal = ""
        """Why no judge will ever be ready, if that is so; the server ends then."""
        for judge in service.judges.values():
            for backend in judge.backends:
                backend.on_fatal = partial(self._give_up, judge)
        self.running = 0
        """Requests with a body that are being read or answered."""
        self._arriving = 0
        self.access = AccessLog(service.folder / "access.jsonl")

    def _give_up(self, judge: OnlineJudge, reason: str) -> None:
        """End the server if a judge has never been ready and cannot be loaded. A single worker is tried again."""
        if not judge.was_ready:
            self.fatal = reason
            self.draining.set()

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
                self.service.metrics.seconds.labels(path).observe(time.monotonic() - started)
            self.service.metrics.requests.labels(path, status).inc()
            self.access.write(request, path, response.status_code, time.monotonic() - started)
            return response

        return Route(path, answer, methods=[method])

    async def _answer(self, handler: Handler, request: Request, private: bool) -> Response:
        try:
            check_origin(request, self.token)
            if private:
                check_token(request, self.token)
            response = await handler(self, request)
        except Refused as refused:
            return self._refuse(refused, str(refused.status))
        except (ClientDisconnect, ClientGone):
            return Response(status_code=CLIENT_GONE)
        except Exception:
            log.exception("%s failed", request.url.path)
            return JSONResponse({"error": "the server failed; its log says more"}, 500)
        if warning := self.canary.warning:
            response.headers[WARNING_HEADER] = warning
        return response

    def _refuse(self, refused: Refused, why: str) -> Response:
        self.service.metrics.refused.labels(why).inc()
        return refused.make_response()

    async def read(self, request: Request) -> bytes:
        """Return the body of a request for scores. Raises Refused."""
        if self.draining.is_set():
            raise Refused(503, "the server is going down", NOT_READY_SECONDS)
        return await read_body(request, int(self.limits.body_megabytes * 1e6), self.limits.body_seconds, self._hold)

    def _hold(self, request: Request, size: int) -> None:
        """Count bytes of a body until its request is answered. Raises Refused if all bodies together are too large."""
        if self._arriving + size > max(self.service.room.max_bytes, int(self.limits.body_megabytes * 1e6)):
            raise Refused(503, "too much is arriving at once", NOT_READY_SECONDS)
        request.state.held = getattr(request.state, "held", 0) + size
        self._arriving += size

    async def score(
        self,
        request: Request,
        items: Sequence[ScoreItem],
        judge: str | None = None,
        seconds: float | None = None,
        at_once: int | None = None,
    ) -> list[Row]:
        """Return the row of each item, in order. Raises Refused for the request as a whole, and ClientGone."""
        if len(items) > self.limits.request_items:
            raise Refused(413, f"{len(items)} edits; a request may have {self.limits.request_items}")
        try:
            named = self.service.find_judge(judge)
        except UnknownName as error:
            raise Refused(400, str(error)) from error
        seconds = min(max(self.limits.deadline_seconds if seconds is None else seconds, 0.1), MAX_SECONDS)
        try:
            if at_once is None:
                return await _while_connected(request, self.service.score(named, items, seconds))
            rows: dict[int, Row] = {}
            await _while_connected(request, self.service.score_few_at_once(named, items, at_once, seconds, rows))
            return [rows[place] for place in range(len(items))]
        except Full as full:
            if full.seconds is None:
                raise Refused(413, "the request is larger than the queue; send fewer edits at once") from full
            raise Refused(503, "the queue is full", full.seconds) from full
        except NotReady as error:
            raise Refused(503, str(error), NOT_READY_SECONDS) from error
        finally:
            note(request, items=len(items))


def note(request: Request, **values: Any) -> None:
    """Add values to the request's line in the log."""
    request.state.note = getattr(request.state, "note", {}) | values


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns. Cancels it and raises ClientGone if the client closes the connection before."""
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_wait_until_left(request))
    try:
        await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for one in (task, leaving):
            one.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _wait_until_left(request: Request) -> None:
    """Wait until the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
