"""The routes of a server of roll-outs."""

import asyncio
from collections.abc import Sequence
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from editlane.core.errors import UserError
from editlane.core.printable import hide_places
from editlane.core.types import Row
from editlane.robots.videos import find_encoder
from editlane.rollouts.request import Asked, TooMany, UnfitItem, read_request
from editlane.rollouts.service import NotReady, RolloutService
from editlane.rollouts.tally import make_rate
from editlane.server.dialects import Malformed, load_json
from editlane.server.front import NOT_READY_SECONDS, Front, note
from editlane.server.reading import Refused
from editlane.server.work_queue import Full

TRIAL = (
    "solved", "seed", "init_state", "prompt", "steps", "infers", "retries", "servers", "attempts", "seconds", "policy",
    "versions", "cached", "video",
)  # fmt: skip
"""What is told of a trial, besides its error."""


class RolloutFront(Front):
    """The state of the HTTP side."""

    def __init__(self, service: RolloutService, token: str) -> None:
        self.service, limits = service, service.config.limits
        size = int(limits.body_megabytes * 1e6)
        super().__init__(
            service.metrics,
            service.folder,
            token,
            body_bytes=size,
            body_seconds=limits.body_seconds,
            all_bytes=8 * size,
        )


async def score(front: RolloutFront, request: Request) -> Response:
    """Answer POST /score: a list in, an ordered list out. What has no result is null and has an error."""
    body = await front.read(request)
    try:
        asked = await asyncio.to_thread(lambda: read_request(load_json(body), front.service.config))
    except Malformed as error:
        raise Refused(400, str(error)) from error
    except TooMany as error:
        raise Refused(413, str(error)) from error
    if asked.is_filmed:
        _check_encoder()
    try:
        found = await front.while_connected(request, front.service.play(asked))
    except Full as full:
        raise Refused(503, "the queue is full", full.seconds) from full
    except NotReady as error:
        raise Refused(503, str(error), NOT_READY_SECONDS) from error
    answer = _make_answer(front.service, asked, found)
    note(request, items=len(asked.items), errors=answer["num_errors"])
    return JSONResponse(answer)


def _check_encoder() -> None:
    """Refuse a request for videos before anything is played. Raises Refused."""
    try:
        find_encoder()
    except UserError as error:
        raise Refused(422, hide_places(str(error))) from error


def _make_answer(service: RolloutService, asked: Asked, found: Sequence[Sequence[Row] | UnfitItem]) -> dict[str, Any]:
    items = [_make_item(one) for one in found]
    zero = 0.0 if asked.is_zero else None
    players = service.players
    return {
        "done_result": [zero if item["score"] is None else item["score"] for item in items],
        "errors": [item["error"] for item in items],
        "num_samples": len(items),
        "num_errors": sum(item["error"] is not None for item in items),
        "items": items,
        "ignored": asked.ignored,
        "policy": {"name": players.policy or None, "metadata": service.pool.policy},
        "simulator": {"name": players.simulator, "versions": dict(players.versions)},
    }


def _make_item(found: Sequence[Row] | UnfitItem) -> dict[str, Any]:
    """Return what is told of an item. Its score is null if any of its trials has no result."""
    if isinstance(found, UnfitItem):
        error = {"kind": found.kind, "message": str(found)}
        unnamed = {"suite": None, "task_id": None}
        return unnamed | {"score": None, "error": error} | make_rate(0, 0) | {"trials": []}
    trials = [{name: row[name] for name in TRIAL} | {"error": _make_error(row)} for row in found]
    failed = next((trial["error"] for trial in trials if trial["error"]), None)
    played = [trial["solved"] for trial in trials if trial["solved"] is not None]
    rate = make_rate(sum(played), len(played))
    named = {"suite": found[0]["suite"], "task_id": found[0]["task_id"]}
    return named | {"score": None if failed else rate["rate"], "error": failed} | rate | {"trials": trials}


def _make_error(row: Row) -> dict[str, str] | None:
    """Return the error of a trial. Addresses of policy servers are told, as in `servers`; paths are not."""
    if row["error_kind"] is None:
        return None
    is_policys = row["error_kind"].startswith("policy_") or row["error_kind"] == "no_server"
    return {"kind": row["error_kind"], "message": row["error"] if is_policys else hide_places(row["error"])}


async def health(front: RolloutFront, request: Request) -> Response:
    """Answer that the process lives."""
    return JSONResponse({"status": "ok"})


async def ready(front: RolloutFront, request: Request) -> Response:
    """Answer 200 if episodes are played now, else 503 with what is missing."""
    service = front.service
    if front.draining.is_set():
        return PlainTextResponse("going down", 503)
    if not service.is_warm:
        return PlainTextResponse("not ready: no simulator has started yet", 503)
    if not service.is_ready:
        return PlainTextResponse("not ready: no policy server is up", 503)
    return PlainTextResponse("ready")


async def pool_status(front: RolloutFront, request: Request) -> Response:
    """Answer what every policy server and every simulator does, and how full the queue is."""
    more = {"requests": front.running, "draining": front.draining.is_set()}
    return JSONResponse(front.service.describe() | more)


async def episodes(front: RolloutFront, request: Request) -> Response:
    """Answer the success rates by suite and task, failures by kind, and the episodes that ended last."""
    tally = front.service.tally
    rates = {"rates": tally.list_rates(), "totals": tally.list_totals()}
    return JSONResponse(rates | {"recent": front.service.list_recent()})


async def video(front: RolloutFront, request: Request) -> Response:
    """Answer the video of an episode."""
    try:
        path = front.service.videos.path_of(request.path_params["key"])
    except ValueError as error:
        raise Refused(404, str(error)) from error
    if not path.is_file():
        raise Refused(404, "there is no such video; the oldest make room for new ones")
    return FileResponse(path, media_type="video/mp4")


async def metrics(front: RolloutFront, request: Request) -> Response:
    """Answer the figures for Prometheus."""
    front.service.show_load()
    return Response(generate_latest(front.service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def drain(front: RolloutFront, request: Request) -> Response:
    """Refuse new work, finish the episodes at hand, then end, as after SIGTERM."""
    front.draining.set()
    return JSONResponse({"draining": True, "requests": front.running})
