"""The routes of the reward server, and its process: it starts the workers, answers, and ends in good order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from editlane.server import about_routes, job_routes, openapi, score_routes
from editlane.server.front import Front, refuse_unrouted
from editlane.server.pages import SHARED, list_page_routes
from editlane.server.reward_front import RewardFront
from editlane.server.service import log_failure

log = logging.getLogger(__name__)

Handler = Callable[[RewardFront, Request], Awaitable[Response]]

SCRIPTS = ("texts.js", "images.js", "scoring.js", "status.js", "page.js")
"""Those of the page, in the order in which they run."""

TWICE_SECONDS = 1.0
"""Time within which a second signal counts as the first one."""


def list_routes(front: RewardFront) -> list[Route]:
    """Return every route. Those that are not private answer without the token."""

    def route(path: str, handler: Handler, method: str = "GET", *, private: bool = True) -> Route:
        return front.route(path, partial(handler, front), method, private=private)

    return [
        route("/v1/score", score_routes.score, "POST"),
        route("/v1/rows", score_routes.rows, "POST"),
        route("/compute", score_routes.flow_factory, "POST"),
        route("/get_reward", score_routes.openrlhf, "POST"),
        route("/score", score_routes.listed, "POST"),
        route("/", score_routes.pickled, "POST"),
        route("/mode/logits_non_cot", score_routes.pickled, "POST"),
        route("/v1/jobs", job_routes.begin, "POST"),
        route("/v1/jobs/{id}", job_routes.look, "GET"),
        route("/v1/jobs/{id}", job_routes.delete, "DELETE"),
        route("/v1/judges", about_routes.judges),
        route("/v1/drain", about_routes.drain, "POST"),
        route("/health", about_routes.health, private=False),
        route("/ping", about_routes.health, private=False),
        route("/ready", about_routes.ready),
        route("/pool_status", about_routes.pool_status),
        route("/metrics", about_routes.metrics),
        route("/openapi.json", openapi.openapi, private=False),
        *list_page_routes(front, SHARED, SCRIPTS),
    ]


def make_app(front: RewardFront) -> Starlette:
    """Return the application. Workers, jobs and the canary live as long as it does."""

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        await front.service.start()
        background = [asyncio.create_task(front.jobs.run()), asyncio.create_task(front.canary.run())]
        for task in background:
            task.add_done_callback(log_failure)
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await front.jobs.stop()
            await front.service.stop()
            front.access.close()

    handlers = dict.fromkeys((404, 405), refuse_unrouted)
    return Starlette(routes=list_routes(front), lifespan=live, exception_handlers=handlers)


class DrainingServer(uvicorn.Server):
    """Ends in good order: refuses new work, finishes what is at work, then ends. A second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, front: Front, drain_seconds: float) -> None:
        super().__init__(config)
        self._front, self._drain_seconds = front, drain_seconds
        self._until: float | None = None
        self._first_signal: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; at the second time, end. Launchers often send the first signal twice at once."""
        now = time.monotonic()
        if self._first_signal is not None and now - self._first_signal > TWICE_SECONDS:
            self._front.ending.set()
            self.should_exit = self.force_exit = True
        self._first_signal = self._first_signal or now
        self._front.draining.set()

    async def on_tick(self, counter: int) -> bool:
        """End once nothing is at work, or the time for it is over."""
        if self._front.draining.is_set():
            now = time.monotonic()
            if self._until is None:
                self._until = now + self._drain_seconds
                log.info("going down: %d requests are finished first", self._front.running)
            if now > self._until:
                self._front.ending.set()
            if self._front.running == 0 or now > self._until:
                self.should_exit = True
        return await super().on_tick(counter)
