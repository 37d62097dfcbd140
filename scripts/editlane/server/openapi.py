"""Describe every route of the server as OpenAPI 3.1, from the types of its requests and answers."""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from editlane import __version__
from editlane.server import wire
from editlane.server.operations import FILE, JSON, STRING, TEXT, Operation, list_operations
from editlane.server.reward_front import RewardFront

ABOUT = """Rewards for image edits: the judges of a benchmark, online, with the same scores.

Another path is refused with 404 and another method with 405; HEAD is answered wherever GET is. An address with a slash
too many at its end is redirected. /v1/score, /v1/rows and /v1/jobs read a body without a content
type, or with that of `curl -d`, as JSON, whose images are base64 or data URLs. An answer is msgpack if `Accept` names
it."""

REFUSALS = {
    400: "The request cannot be read, or names a judge that is not here.",
    401: "The token is missing or wrong.",
    403: "A page of another server sent the request, or it names this server by a name that it has not.",
    404: "There is no such job, or no longer.",
    408: "The request took too long to arrive.",
    413: "The request is too large; with fewer edits it is taken.",
    415: "This server does not take this format.",
    422: "An edit has no score, and another try will give none. So there are no rewards.",
    503: "The server has no room, is not ready or goes down. Ask again after Retry-After, in seconds.",
}
HEADERS = {202: "Location", 401: "WWW-Authenticate", 503: "Retry-After"}


async def openapi(front: RewardFront, request: Request) -> Response:
    """Answer the description of this server."""
    return JSONResponse(describe(front))


def describe(front: RewardFront) -> dict[str, Any]:
    """Return the description of a server with this config. What can only happen under another one is left out."""
    used: set[type] = {wire.Refusal}
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in list_operations(front).items():
        found = _describe(operation, needs_token=bool(front.token) and operation.private)
        if "{id}" in path:
            found["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": STRING}]
        paths.setdefault(path, {})[method.lower()] = _refer(found, used)
    in_order = sorted(used, key=lambda one: one.__name__)
    _, schemas = msgspec.json.schema_components(in_order, ref_template="#/components/schemas/{name}")
    for name in wire.IMAGES:
        schemas["ScoreItem"]["properties"][name] = FILE  # an item of msgpack
    return {
        "openapi": "3.1.0",
        "info": {"title": "Editlane reward server", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _describe(operation: Operation, *, needs_token: bool) -> dict[str, Any]:
    """Return what the description says of an operation, with types in it."""
    responses: dict[str, Any] = {}
    if operation.status:
        shown = {wire.WARNING_HEADER: "A judge has changed."} | _name_header(operation.status)
        responses[str(operation.status)] = _answer(operation.summary, operation.answer, shown)
    for status in sorted({403, *operation.refusals, *([401] if needs_token else [])}):
        content = TEXT if operation.answer == TEXT and status == 503 else {JSON: wire.Refusal}
        responses[str(status)] = _answer(REFUSALS[status], content, _name_header(status))
    found: dict[str, Any] = {"summary": operation.summary, "responses": responses}
    if operation.body:
        found["requestBody"] = {"required": True, "content": _content(operation.body)}
    return found | ({"security": [{"token": []}]} if needs_token else {})


def _name_header(status: int) -> dict[str, str]:
    return {HEADERS[status]: REFUSALS.get(status, "The path of the job.")} if status in HEADERS else {}


def _answer(text: str, content: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    shown = {name: {"description": about, "schema": STRING} for name, about in headers.items()}
    return {"description": text, "headers": shown} | ({"content": _content(content)} if content else {})


def _content(schemas: Mapping[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in schemas.items()}


def _refer(value: Any, used: set[type]) -> Any:
    """Replace each type in `value` by a reference to its schema, and add it to `used`."""
    if isinstance(value, type):
        used.add(value)
        return {"$ref": f"#/components/schemas/{value.__name__}"}
    if isinstance(value, dict):
        return {name: _refer(one, used) for name, one in value.items()}
    return [_refer(one, used) for one in value] if isinstance(value, list) else value
