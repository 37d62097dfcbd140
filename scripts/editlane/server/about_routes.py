"""The routes that tell of the server: health, judges, figures."""

from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from editlane.server.backend import BackendState
from editlane.server.reward_front import RewardFront
from editlane.server.score_routes import REWARD


async def health(front: RewardFront, request: Request) -> Response:
    """Answer that the process lives. UniRL looks for its rewards here."""
    judges = {REWARD: front.service.find_judge(None)} | front.service.judges
    states = {name: ["ready" if judge.is_available else "loading"] for name, judge in judges.items()}
    return JSONResponse({"status": "ok", "rewards": states})


async def ready(front: RewardFront, request: Request) -> Response:
    """Answer 200 if edits are judged now, else 503 with the judges that are not ready."""
    waiting = [name for name, judge in front.service.judges.items() if not judge.is_available]
    if front.draining.is_set():
        return PlainTextResponse("going down", 503)
    if waiting:
        return PlainTextResponse(f"not ready: {', '.join(waiting)}", 503)
    return PlainTextResponse("ready")


async def pool_status(front: RewardFront, request: Request) -> Response:
    """Answer what every worker does, and how full the queue is. The first two keys are the Pi0 reward server's."""
    service = front.service
    backends = [one for judge in service.judges.values() for one in judge.backends]
    ready = [one for one in backends if one.state == BackendState.READY]
    return JSONResponse(
        {
            "total_clients": len(backends),
            "available_clients": sum(not one.running for one in ready),
            "workers": [one.describe() for one in backends],
            "queue": {
                "items": service.room.items,
                "bytes": service.room.bytes,
                "max_items": service.room.max_items,
                "max_bytes": service.room.max_bytes,
                "waiting": {name: len(judge.queue) for name, judge in service.judges.items()},
            },
            "known_scores": len(service.store),
            "requests": front.running,
            "draining": front.draining.is_set(),
            "canary": front.canary.describe(),
            "canary_minutes": front.service.config.canary.minutes,
            "recent": list(service.recent),
        }
    )


async def judges(front: RewardFront, request: Request) -> Response:
    """Answer who judges here: what a run's report says of its judges, and what a request may hold."""
    limits = front.limits
    return JSONResponse(
        {
            "judges": {name: _describe(front, name) for name in front.service.judges},
            "server": front.service.config.server,
            "default": next(iter(front.service.judges)),
            "default_category": front.service.default_category,
            "categories": {name: judge.categories for name, judge in front.service.judges.items()},
            "limits": {
                "items": limits.request_items,
                "body_bytes": int(limits.body_megabytes * 1e6),
                "image_bytes": int(limits.image_megabytes * 1e6),
                "image_pixels": limits.image_pixels,
                "text": limits.text,
                "deadline_s": limits.deadline_seconds,
            },
        }
    )


def _describe(front: RewardFront, name: str) -> dict[str, Any]:
    judge = front.service.judges[name]
    return front.service.provenance[name] | {
        "workers": sum(one.state in (BackendState.READY, BackendState.IDLE) for one in judge.backends)
    }


async def metrics(front: RewardFront, request: Request) -> Response:
    """Answer the figures for Prometheus."""
    front.service.show_workers()
    return Response(generate_latest(front.service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def drain(front: RewardFront, request: Request) -> Response:
    """Refuse new work, finish what is at work, then end, as after SIGTERM."""
    front.draining.set()
    return JSONResponse({"draining": True, "requests": front.running})
