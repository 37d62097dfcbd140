"""The routes that score edits: the server's own, and those of trainers."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from editlane.core.errors import TRANSIENT_KINDS
from editlane.core.types import Row
from editlane.server import dialects
from editlane.server.front import note
from editlane.server.jobs import list_ids
from editlane.server.reading import Refused, decode_request
from editlane.server.reward_front import RewardFront
from editlane.server.service import PANEL
from editlane.server.wire import (
    PanelAnswer,
    PanelItem,
    ScoreAnswer,
    ScoreItem,
    ScoreRequest,
    encode_json,
    make_answer,
    name_answer,
    pack,
)

PASSING = TRANSIENT_KINDS | {"deadline"}
"""Kinds of failures for which another try may help."""

RETRY_SECONDS = 5.0

# A little less than the client of each dialect waits.
FLOW_FACTORY_SECONDS = 55.0
OPENRLHF_SECONDS = 170.0
PICKLE_SECONDS = 280.0
HISTORY_SECONDS = 280.0

REWARD = "editlane"
"""The name of the first judge's reward in UniRL's config."""


async def score(front: RewardFront, request: Request) -> Response:
    """Answer /v1/score: a state, and a score or a reason, for every item."""
    asked = await decode_request(request, await front.read(request))
    answer = await (_ask_panel if asked.judge == PANEL else _ask_one)(front, request, asked)
    note(request, ok=answer["n_ok"])
    return _encode(request, answer)


async def _ask_one(front: RewardFront, request: Request, asked: ScoreRequest) -> ScoreAnswer:
    rows = await front.score(request, asked.items, asked.judge, asked.deadline_s)
    scored = sum(row["score"] is not None for row in rows)
    items = list(map(name_answer, list_ids(asked.items), rows))
    return {"items": items, "n_ok": scored, "n_error": len(items) - scored}


async def _ask_panel(front: RewardFront, request: Request, asked: ScoreRequest) -> PanelAnswer:
    """Ask all judges at once. If one refuses, the request is refused."""
    names = list(front.service.judges)
    if len(asked.items) * len(names) > front.limits.request_items:
        most = front.limits.request_items // len(names)
        raise Refused(413, f"{len(asked.items)} edits for {len(names)} judges; a request may have {most}")
    try:
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(front.score(request, asked.items, name, asked.deadline_s)) for name in names]
    except ExceptionGroup as group:
        raise group.exceptions[0] from group  # they differ in the judge's name at most
    rows = zip(*[task.result() for task in asking], strict=True)
    items: list[PanelItem] = [
        {"id": own, "judges": dict(zip(names, map(make_answer, row), strict=True))}
        for own, row in zip(list_ids(asked.items), rows, strict=True)
    ]
    scored = sum(all(one["score"] is not None for one in item["judges"].values()) for item in items)
    return {"items": items, "n_ok": scored, "n_error": len(items) - scored}


async def rows(front: RewardFront, request: Request) -> Response:
    """Answer /v1/rows: the whole score columns of every item, as a run's table has them."""
    asked = await decode_request(request, await front.read(request))
    return _encode(request, {"rows": await front.score(request, asked.items, asked.judge, asked.deadline_s)})


def _encode(request: Request, answer: Any) -> Response:
    if "msgpack" in request.headers.get("accept", ""):
        return Response(pack(answer), media_type="application/msgpack")
    return Response(encode_json(answer), media_type="application/json")


async def flow_factory(front: RewardFront, request: Request) -> Response:
    """Answer Flow-Factory's POST /compute."""
    items = await _read(dialects.read_flow_factory, await front.read(request))
    return JSONResponse({"rewards": await _reward(front, request, items, FLOW_FACTORY_SECONDS)})


async def openrlhf(front: RewardFront, request: Request) -> Response:
    """Answer OpenRLHF's POST /get_reward."""
    items = await _read(dialects.read_openrlhf, await front.read(request))
    rewards = await _reward(front, request, items, OPENRLHF_SECONDS)
    return JSONResponse({"rewards": rewards, "scores": rewards, "extra_logs": {}})


async def pickled(front: RewardFront, request: Request) -> Response:
    """Answer the trainers that send pickles: UniRL, Edit-R1, EditScore."""
    if not front.service.config.pickle:
        raise Refused(415, "this server takes no pickles; its config can allow plain ones with `pickle: true`")
    dialect, items = await _read(dialects.read_pickle, await front.read(request))
    rewards = await _reward(front, request, items, PICKLE_SECONDS)
    return Response(dialects.write_pickle(dialect, rewards), media_type="application/octet-stream")


async def listed(front: RewardFront, request: Request) -> Response:
    """Answer POST /score: a list in and an ordered list out. What has no reward is null and has an error."""
    data = await _read(dialects.load_json, await front.read(request))
    if "requests" in data:
        return await _answer_histories(front, request, data)
    items, at_once = await _read(dialects.read_listed, data)
    rows = await front.score(request, items, at_once=at_once)
    zero = 0.0 if front.service.config.on_error == "zero" else None
    rewards = [zero if row["score"] is None else row["score"] / 10 for row in rows]
    errors = [None if row["score"] is not None else make_answer(row)["error"] for row in rows]
    return JSONResponse({"done_result": rewards, "errors": errors})


async def _answer_histories(front: RewardFront, request: Request, data: dict[str, Any]) -> Response:
    """Answer UniRL's RemoteRewardBackend, which leaves out what has no reward. A name is a judge's, or REWARD."""
    asked = await _read(dialects.read_histories, data)
    results: list[dict[str, Any]] = [{} for _ in asked]
    errors: list[dict[str, str]] = [{} for _ in asked]
    for name in dict.fromkeys(name for _, names in asked for name in names):
        places = [place for place, (_, names) in enumerate(asked) if name in names]
        judge = None if name == REWARD else name
        rows = await front.score(request, [asked[place][0] for place in places], judge, HISTORY_SECONDS)
        for place, row in zip(places, rows, strict=True):
            if row["score"] is None:
                errors[place][name] = f"{row['error_kind']}: {row['error']}"
            else:
                results[place][name] = {"reward": row["score"] / 10}
    return JSONResponse({"results": results, "errors": errors})


async def _read(read: Any, content: Any) -> Any:
    """Return what `read` finds in a body. In a thread, because a large one takes a while. Raises Refused."""
    try:
        return await asyncio.to_thread(read, content)
    except dialects.Malformed as error:
        raise Refused(400, str(error)) from error


async def _reward(front: RewardFront, request: Request, items: Sequence[ScoreItem], seconds: float) -> list[float]:
    """Return a number for each item, 0..1, for trainers that know no missing reward.

    One failed item refuses the request, so that its failure is no score, unless the config says `on_error: zero`.
    """
    rows = await front.score(request, items, seconds=seconds)
    failed = [(place, row) for place, row in enumerate(rows) if row["score"] is None]
    if failed and front.service.config.on_error == "fail":
        raise _explain(failed, len(rows))
    return [0.0 if row["score"] is None else row["score"] / 10 for row in rows]


def _explain(failed: Sequence[tuple[int, Row]], count: int) -> Refused:
    place, first = failed[0]
    lasting = [row for _, row in failed if row["error_kind"] not in PASSING]
    text = f"{len(failed)} of {count} edits have no score; number {place}: {first['state']}: {first['error']}"
    return Refused(422, text) if lasting else Refused(503, text, RETRY_SECONDS)
