"""Check that the servers of editors and judges answer and serve the model. No edit and no score is asked for."""

from collections.abc import Iterator
from typing import Any

from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.core.findings import Finding
from editlane.core.fleets import FleetDown
from editlane.core.published_names import is_published, strip_fingerprint
from editlane.core.text_width import pluralize
from editlane.endpoint.http import LONGEST_PAUSE
from editlane.endpoint.served_models import NoAnswer, ServedModel
from editlane.models.registry import check_params
from editlane.preflight.context import Part, RunContext
from editlane.protocols.load import load_protocol

_TIMEOUT = 3
"""Seconds."""
TESTS = 4
"""Test edits of a lane to an editor's server, at most; see editors/served/probe.py."""
_ANSWER_TIMEOUT = 30
"""Seconds until a model has answered a question about a small image."""


def check_endpoints(context: RunContext) -> Iterator[Finding]:
    """Yield one or two findings per editor and judge on a server.

    No answer is only a warning: the server, or the fleet, may be started later.
    """
    for part in context.parts:
        if part.is_served:
            try:
                params = check_params(part.kind, part.settings["adapter"], part.settings["params"])
                yield from _check_budget(part, params, context.config["lanes"])
                yield from _check_timeout(part, params, context.config["lane_timeout"])
                listed = part.adapter.check_served(part.model, params, _TIMEOUT)
                _check_readable(part, params)
            except (NoAnswer, FleetDown) as error:
                yield Finding("warn", "endpoints", f"{part}: {error}")
            except UserError as error:
                yield Finding("fail", "endpoints", f"{part}: {error}")
            else:
                yield from _tell_served(part, params, listed)


def _check_budget(part: Part, params: Any, lanes: int | None) -> Iterator[Finding]:
    """Warn of an editor's budget that tests of its server may use up."""
    tests = TESTS * (lanes or 1)
    if part.kind == "editor" and params.max_requests is not None and params.max_requests <= tests:
        yield Finding(
            "warn",
            "endpoints",
            f"{part}: `max_requests` is {params.max_requests}, but each lane tests the server with up to {TESTS} edits "
            f"each time it starts: {pluralize(tests, 'request')} before the first edit",
            "Set a larger `max_requests`, or fewer `lanes`.",
        )


def _check_timeout(part: Part, params: Any, lane_timeout: float) -> Iterator[Finding]:
    if params.timeout + LONGEST_PAUSE >= lane_timeout:
        yield Finding(
            "warn",
            "endpoints",
            f"{part}: an attempt and the pause after it may take {params.timeout + LONGEST_PAUSE:g} s (`timeout` and "
            f"{LONGEST_PAUSE}), but a lane is ended after {lane_timeout:g} s without progress (`lane_timeout`)",
            f"Set `lane_timeout` to more than {params.timeout + LONGEST_PAUSE:g}.",
        )


def _check_readable(part: Part, params: Any) -> None:
    """Ask for log-probabilities, if this judge may be hosted where there are none and its protocol reads them.

    Raises UserError if they do not come.
    """
    if not hasattr(part.adapter, "check_readable"):
        return
    if answers := load_protocol(find_file(part.settings["protocol"])).answers:
        part.adapter.check_readable(part.model, params, _ANSWER_TIMEOUT, answers)


def _tell_served(part: Part, params: Any, listed: list[ServedModel]) -> Iterator[Finding]:
    if params.fleet is not None:
        served = part.adapter.name_version(part.model, part.settings["params"])
        yield Finding("pass", "endpoints", f"{part}: the fleet of {params.fleet} serves {served}")
        return
    if not listed:
        yield Finding(
            "warn",
            "endpoints",
            f"{part}: {params.base_url} answers, and does not say whether it serves {part.model}",
            "If its list of models is at `/v1/models`, `base_url` ends with `/v1`.",
        )
        return
    yield Finding("pass", "endpoints", f"{part}: {params.base_url} serves {part.model}")
    if versions := [one.name for one in listed if is_published(one.name) and strip_fingerprint(one.name) == part.model]:
        yield Finding(
            "warn",
            "endpoints",
            f"{part}: {params.base_url} belongs to a fleet, and {part.model} there may get other weights, which would "
            f"keep the old {'edits' if part.kind == 'editor' else 'scores'}",
            f"Use `model: {versions[-1]}`, or `fleet:` with the config of the fleet in place of `base_url`.",
        )
