"""What every route takes and answers with a config, for its description."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from editlane.server import dialects, wire
from editlane.server.reward_front import RewardFront
from editlane.server.service import PANEL

JSON, MSGPACK, FORM, BYTES = (
    "application/json",
    "application/msgpack",
    "multipart/form-data",
    "application/octet-stream",
)
FILE = {"type": "string", "contentMediaType": BYTES}
STRING = {"type": "string"}
OBJECT = {"type": "object"}
TEXT = {"text/plain": STRING}

READING = (400, 408, 413, 503)
"""Refusals of every route with a body."""

TAKING = (*READING, 415)
"""Refusals of those that read several formats."""


class Operation(NamedTuple):
    """What one method of a path takes and answers. A type stands for its schema."""

    summary: str
    answer: Mapping[str, Any]
    """By media type, as `body`."""
    refusals: Iterable[int] = ()
    body: Mapping[str, Any] = {}
    status: int | None = 200
    private: bool = True


def list_operations(front: RewardFront) -> dict[tuple[str, str], Operation]:
    """Return every operation by its method and path."""
    return _list_scoring(front) | _list_dialects(front) | _list_others()


def _list_scoring(front: RewardFront) -> dict[tuple[str, str], Operation]:
    names, most = list(front.service.judges), front.limits.request_items
    score, rows, job = _ask([*names, PANEL], most), _ask(names, most), _ask(names, None)
    either = {"anyOf": [wire.ScoreAnswer, wire.PanelAnswer]}
    tabled = dict.fromkeys((JSON, MSGPACK), wire.RowsAnswer)
    return {
        ("POST", "/v1/score"): Operation(
            "A score of each edit, or the reason for none", {JSON: either, MSGPACK: either}, TAKING, score
        ),
        ("POST", "/v1/rows"): Operation("The score columns of each edit, as in a run's table", tabled, TAKING, rows),
        ("POST", "/v1/jobs"): Operation("Begin work without a connection", {JSON: wire.JobBegun}, TAKING, job, 202),
        ("GET", "/v1/jobs/{id}"): Operation("What is there of a job", {JSON: wire.JobProgress}, (404,)),
        ("DELETE", "/v1/jobs/{id}"): Operation("Interrupt a job and forget it", {}, (404,), status=204),
    }


def _list_dialects(front: RewardFront) -> dict[tuple[str, str], Operation]:
    lost = (*READING, 422) if front.service.config.on_error == "fail" else READING
    flow, rewards = {JSON: dialects.FlowFactoryRequest}, {JSON: dialects.Rewards}
    openrlhf, twice = {JSON: dialects.OpenrlhfRequest}, {JSON: dialects.OpenrlhfRewards}
    listed = {JSON: {"anyOf": [dialects.ListedRequest, dialects.HistoriesRequest]}}
    ordered = {JSON: {"anyOf": [dialects.ListedRewards, dialects.HistoryRewards]}}
    plain = {BYTES: FILE}
    pickled = (lost, plain, 200) if front.service.config.pickle else ((415,), plain, None)
    return {
        ("POST", "/compute"): Operation("Rewards for Flow-Factory", rewards, lost, flow),
        ("POST", "/get_reward"): Operation("Rewards for OpenRLHF", twice, lost, openrlhf),
        ("POST", "/score"): Operation(
            "A list in, an ordered list out; rewards for UniRL's remote backend", ordered, READING, listed
        ),
        ("POST", "/"): Operation("Rewards for pickles of UniRL, Edit-R1 and EditScore", plain, *pickled),
        ("POST", "/mode/logits_non_cot"): Operation("The same, under Edit-R1's path", plain, *pickled),
    }


def _list_others() -> dict[tuple[str, str], Operation]:
    return {
        ("GET", "/v1/judges"): Operation("The judges, their categories and the limits", {JSON: OBJECT}),
        ("POST", "/v1/drain"): Operation("Finish the work at hand, then end", {JSON: OBJECT}),
        ("GET", "/health"): Operation("That the process lives, and its workers", {JSON: OBJECT}, private=False),
        ("GET", "/ping"): Operation("The same", {JSON: OBJECT}, private=False),
        ("GET", "/ready"): Operation("Whether edits are judged now", TEXT, (503,)),
        ("GET", "/pool_status"): Operation("What every worker does, and how full the queue is", {JSON: OBJECT}),
        ("GET", "/metrics"): Operation("Figures for Prometheus", TEXT),
        ("GET", "/"): Operation("The page", {"text/html": STRING}, private=False),
        ("GET", "/page.css"): Operation("Its style", {"text/css": STRING}, private=False),
        ("GET", "/page.js"): Operation("Its program", {"text/javascript": STRING}, private=False),
        ("GET", "/openapi.json"): Operation("This description", {JSON: OBJECT}, private=False),
    }


def _ask(judges: list[str], most: int | None) -> dict[str, Any]:
    """Return the bodies that ask one of these judges about so many edits at most."""
    bounds = {"judge": {"enum": [*judges, None]}, "items": {"maxItems": most} if most else {}}
    names = [name for name in wire.ScoreItem.__struct_fields__ if name not in wire.IMAGES]
    form = dict.fromkeys(wire.IMAGES, FILE) | dict.fromkeys(names, STRING) | {"judge": {"enum": judges}}
    required = [*wire.IMAGES, "instruction"]
    return {
        JSON: {"allOf": [wire.JsonRequest, {"properties": bounds}]},
        MSGPACK: {"allOf": [wire.ScoreRequest, {"properties": bounds}]},
        FORM: OBJECT | {"properties": form, "required": required, "additionalProperties": False},
    }
