"""Find the server of a judge by its params: at an address, or behind the router of a fleet."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from editlane.core.errors import JudgeFailed
from editlane.core.fleets import fix_version
from editlane.core.published_names import is_published, strip_fingerprint
from editlane.endpoint.places import connect
from editlane.judges.endpoint.completions import Completions
from editlane.judges.endpoint.params import EndpointParams


def list_versions(model: str, params: EndpointParams, timeout: float) -> list[str]:
    """Return the published names that the endpoint lists for this model, as servers of a fleet do.

    Raises UserError if the endpoint does not answer a single attempt, or does not serve this model; FleetDown if its
    fleet does not run.
    """
    listed = make_completions(model, params).with_one_attempt(timeout).check_served()
    return [one.name for one in listed if is_published(one.name) and strip_fingerprint(one.name) == model]


def name_version(model: str, params: Mapping[str, Any]) -> str:
    """Return the name that stands for the model's weights in keys; with a fleet it changes with them.

    Raises UserError if the fleet never ran here, or does not serve the model.
    """
    return fix_version(params["fleet"], model) if params.get("fleet") else model


def make_completions(model: str, params: EndpointParams, on_attempt: Callable[[], None] | None = None) -> Completions:
    """Build the client of the endpoint, or of the fleet's router. `on_attempt` is called before each attempt.

    Raises UserError if the key is not set, or if the fleet does not serve the model; FleetDown if it does not run.
    """
    endpoint, served, record = connect(params, model, JudgeFailed)
    return Completions(endpoint=replace(endpoint, on_attempt=on_attempt), model=served, record=record)
