"""Find the server that params name: at an address, or behind the router of a fleet."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from editlane.core.errors import EditFailed, ItemError, JudgeFailed
from editlane.core.fleet_accounts import open_ledger
from editlane.core.fleets import find_fleet, fix_version
from editlane.endpoint.http import Endpoint, Refused, read_key

T = TypeVar("T")


class Place(Protocol):
    """The params that say where a server is and how it is asked."""

    base_url: str | None
    fleet: str | None
    api_key_env: str | None
    proxy: str | None
    timeout: float
    attempts: int


class Connection(NamedTuple):
    """A server and the name by which it has the model."""

    endpoint: Endpoint
    model: str
    record: Callable[[float, bool], None] | None
    """Is told of each request that reached an end: its seconds with all attempts, and whether it was answered."""


def connect(place: Place, model: str, failed: type[ItemError]) -> Connection:
    """Return the server of these params, or the router of their fleet. A request without an answer raises `failed`.

    Raises UserError if the key is not set, or if the fleet does not serve the model; FleetDown if it does not run.
    """
    key = read_key(place.api_key_env)
    if place.fleet is None:
        assert place.base_url is not None, "checked with the params"
        return Connection(_make_endpoint(None, place, place.base_url, key, failed), model, None)
    version = fix_version(place.fleet, model)
    fleet = find_fleet(place.fleet)
    route = fleet.resolve(version)
    key = key or read_key(fleet.token_env, f"{place.fleet}: token_env")
    record = partial(open_ledger(fleet.name).record, route.model, route.group)
    return Connection(_make_endpoint(route.session, place, route.base_url, key, failed), route.model, record)


def record_end(record: Callable[[float, bool], None] | None, ask: Callable[[], T]) -> T:
    """Return what `ask` returns, and tell `record` how it ended, if anything was sent; see `Connection.record`."""
    started = time.monotonic()

    def note(answered: bool) -> None:
        if record is not None:
            record(time.monotonic() - started, answered)

    try:
        found = ask()
    except (Refused, JudgeFailed, EditFailed):  # and none that ended the wait for a turn
        note(False)
        raise
    note(True)
    return found


def name_version(model: str, params: Mapping[str, Any]) -> str:
    """Return the name that stands for the model's weights in keys; with a fleet it changes with them.

    Raises UserError if the fleet never ran here, or does not serve the model.
    """
    return fix_version(params["fleet"], model) if params.get("fleet") else model


def _make_endpoint(
    session: str | None, place: Place, base_url: str, key: str | None, failed: type[ItemError]
) -> Endpoint:
    return Endpoint(
        base_url=base_url.rstrip("/"),
        key=key,
        proxy=place.proxy,
        timeout=place.timeout,
        attempts=place.attempts,
        session=session,
        failed=failed,
    )
