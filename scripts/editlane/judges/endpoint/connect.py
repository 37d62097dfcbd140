"""Find the server of a judge by its params: at an address, or behind the router of a fleet."""

from collections.abc import Callable
from dataclasses import replace

from editlane.core.errors import JudgeFailed
from editlane.endpoint.places import connect
from editlane.judges.endpoint.completions import Completions
from editlane.judges.endpoint.params import EndpointParams


def make_completions(model: str, params: EndpointParams, on_attempt: Callable[[], None] | None = None) -> Completions:
    """Build the client of the endpoint, or of the fleet's router. `on_attempt` is called before each attempt.

    Raises UserError if the key is not set, or if the fleet does not serve the model; FleetDown if it does not run.
    """
    endpoint, served, record = connect(params, model, JudgeFailed)
    return Completions(endpoint=replace(endpoint, on_attempt=on_attempt), model=served, record=record)
