"""The routes of a server of roll-outs, and its process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from editlane.rollouts import routes
from editlane.rollouts.config import RolloutsConfig
from editlane.rollouts.routes import RolloutFront
from editlane.rollouts.service import RolloutService
from editlane.server.front import refuse_unrouted
from editlane.server.pages import list_page_routes
from editlane.server.serve import run_server
from editlane.server.service import log_failure

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("texts.js", "pool.js", "rates.js", "episodes.js", "page.js")
"""Those of the page, in the order in which they run."""

Handler = Callable[[RolloutFront, Request], Awaitable[Response]]


def list_routes(front: RolloutFront) -> list[Route]:
    """Return every route. Those that are not private answer without the token."""

    def route(path: str, handler: Handler, method: str = "GET", *, private: bool = True) -> Route:
        return front.route(path, partial(handler, front), method, private=private)

    return [
        route("/score", routes.score, "POST"),
        route("/v1/episodes", routes.episodes),
        route("/videos/{key}.mp4", routes.video),
        route("/v1/drain", routes.drain, "POST"),
        route("/health", routes.health, private=False),
        route("/ready", routes.ready),
        route("/pool_status", routes.pool_status),
        route("/metrics", routes.metrics),
        *list_page_routes(front, PAGE, SCRIPTS, plays=True),
    ]


def make_app(front: RolloutFront) -> Starlette:
    """Return the application. Simulators and connections live as long as it does."""

    @asynccontextmanager
    async def live(app: Starlette) -> AsyncIterator[None]:
        running = asyncio.create_task(front.service.run(partial(_give_up, front)))
        running.add_done_callback(log_failure)
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await front.service.stop()
            front.access.close()

    handlers = dict.fromkeys((404, 405), refuse_unrouted)
    return Starlette(routes=list_routes(front), lifespan=live, exception_handlers=handlers)


def _give_up(front: RolloutFront, reason: str) -> None:
    """End the server: no episode could ever be played."""
    front.fatal = reason
    front.draining.set()


def serve(config: RolloutsConfig) -> None:
    """Serve roll-outs until the process is told to end. Raises UserError."""

    def make(folder: Path, token: str) -> tuple[RolloutFront, Starlette]:
        front = RolloutFront(RolloutService(config, folder), token)
        return front, make_app(front)

    run_server(config, config.limits.drain_seconds, make)
