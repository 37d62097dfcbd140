"""The routes of jobs: begin one, look at it, delete it."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from editlane.core.errors import UnknownName
from editlane.server.front import note
from editlane.server.jobs import NoRoom
from editlane.server.reading import Refused, decode_request
from editlane.server.reward_front import RewardFront
from editlane.server.service import PANEL

NO_ROOM_SECONDS = 60.0

_MISSING = Refused(404, "there is no job of this id; finished ones are deleted after a while")


async def begin(front: RewardFront, request: Request) -> Response:
    """Answer POST /v1/jobs: the id of the job."""
    asked = await decode_request(request, await front.read(request))
    if asked.judge == PANEL:
        raise Refused(400, "a job asks one judge; begin one for each")
    try:
        front.service.find_judge(asked.judge)
        name = await front.jobs.add(asked)
    except UnknownName as error:
        raise Refused(400, str(error)) from error
    except (NoRoom, OSError) as error:
        raise Refused(503, "there is no room for another job", NO_ROOM_SECONDS) from error
    note(request, items=len(asked.items))
    return JSONResponse({"id": name, "count": len(asked.items)}, 202, {"Location": f"/v1/jobs/{name}"})


async def look(front: RewardFront, request: Request) -> Response:
    """Answer GET /v1/jobs/<id>: how far it is, and what is there."""
    found = await front.jobs.look(request.path_params["id"])
    if found is None:
        raise _MISSING
    return Response(found, media_type="application/json")


async def delete(front: RewardFront, request: Request) -> Response:
    """Answer DELETE /v1/jobs/<id>."""
    if not await front.jobs.delete(request.path_params["id"]):
        raise _MISSING
    return Response(status_code=204)
