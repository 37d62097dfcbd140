"""Ask the servers of this machine whether they are healthy, and whether their adapters act."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from editlane.core.fleet_state import NodeState, ServerState
from editlane.fleet.smoke import SmokeResult, run_smoke_test
from editlane.fleet.vllm_api import ServerError, VllmServer


@dataclass(frozen=True, slots=True)
class Health:
    """What a server, or a router, answered. Healthy is one that passes all three."""

    server: str
    answers: bool
    """GET /health is 200. The body is empty, and a hanging engine does not change it."""
    lists: bool
    """/v1/models has the base model and every adapter."""
    generates: bool
    """It generated a token."""
    problem: str

    @property
    def is_healthy(self) -> bool:
        """Return whether it passed everything."""
        return self.answers and self.lists and self.generates


def check_health(node: NodeState, token: str) -> Iterator[Health]:
    """Yield the health of each server."""
    for server in node.servers:
        api, name = VllmServer(server.url, token or None), f"{node.node}/{server.number}"
        yield _check(node, name, server.group, api, server.error or f"no answer; it is {server.state}")


def check_routers(node: NodeState, token: str) -> Iterator[Health]:
    """Yield what each router answers for the servers behind it."""
    for group, url in node.routers.items():
        name = f"{node.node}/router{f' {group}' if group else ''}"
        yield _check(node, name, group or None, VllmServer(url, token or None), "no answer")


def _check(node: NodeState, name: str, group: str | None, api: VllmServer, silent: str) -> Health:
    if not api.is_healthy():
        return Health(name, False, False, False, silent)
    try:
        listed = api.list_models()
    except ServerError as error:
        return Health(name, True, False, False, str(error))
    own = [one for one in node.published if group is None or node.groups.get(one) in (None, group)]
    missing = sorted({node.published[one] for one in own} - listed.keys())
    if missing or not listed:
        return Health(name, True, False, False, f"it does not list {', '.join(missing) or 'anything'}")
    try:
        api.check_generates(next(iter(listed)))
    except ServerError as error:
        return Health(name, True, True, False, str(error))
    return Health(name, True, True, True, "")


def check_smoke(node: NodeState, server: ServerState, token: str) -> SmokeResult:
    """Prove once more that the adapters of a server act."""
    api = VllmServer(server.url, token or None)
    base = node.published.get(node.model) if node.model else None
    return run_smoke_test(api.first_tokens, sorted(server.adapters), base=base)


def to_json(found: Health) -> dict[str, object]:
    """Return a server's health as JSON has it."""
    return asdict(found) | {"healthy": found.is_healthy}
