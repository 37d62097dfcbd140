"""Find the server of a judge by its params: at an address, or behind the router of a fleet."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from editlane.core.fleet_accounts import open_ledger
from editlane.core.fleets import find_fleet, fix_version
from editlane.core.published_names import is_published, strip_fingerprint
from editlane.judges.endpoint.completions import Completions
from editlane.judges.endpoint.http import Endpoint, read_key
from editlane.judges.endpoint.params import EndpointParams


def list_versions(model: str, params: EndpointParams, timeout: float) -> list[str]:
    """Return the published names that the endpoint lists for this model, as servers of a fleet do.

    Raises UserError if the endpoint does not answer a single attempt, or does not serve this model; FleetDown if its
    fleet does not run.
    """
    listed = make_completions(model, params).with_one_attempt(timeout).check_served()
    return [name for name in listed if is_published(name) and strip_fingerprint(name) == model]


def name_version(model: str, params: Mapping[str, Any]) -> str:
    """Return the name that stands for the model's weights in keys; with a fleet it changes with them.

    Raises UserError if the fleet never ran here, or does not serve the model.
    """
    return fix_version(params["fleet"], model) if params.get("fleet") else model


def make_completions(model: str, params: EndpointParams, on_attempt: Callable[[], None] | None = None) -> Completions:
    """Build the client of the endpoint, or of the fleet's router. `on_attempt` is called before each attempt.

    Raises UserError if the key is not set, or if the fleet does not serve the model; FleetDown if it does not run.
    """
    key = read_key(params.api_key_env)
    if params.fleet is None:
        assert params.base_url is not None, "checked with the params"
        return Completions(endpoint=_make_endpoint(None, params, params.base_url, key, on_attempt), model=model)
    version = fix_version(params.fleet, model)
    fleet = find_fleet(params.fleet)
    route = fleet.resolve(version)
    key = key or read_key(fleet.token_env, f"{params.fleet}: token_env")
    record = partial(open_ledger(fleet.name).record, route.model, route.group)
    return Completions(
        endpoint=_make_endpoint(route.session, params, route.base_url, key, on_attempt),
        model=route.model,
        record=record,
    )


def _make_endpoint(
    session: str | None,
    params: EndpointParams,
    base_url: str,
    key: str | None,
    on_attempt: Callable[[], None] | None,
) -> Endpoint:
    return Endpoint(
        base_url=base_url.rstrip("/"),
        key=key,
        proxy=params.proxy,
        timeout=params.timeout,
        attempts=params.attempts,
        session=session,
        on_attempt=on_attempt,
    )
