"""Know which machines of a fleet live, and which of their servers a router should send requests to."""

import time
from collections.abc import Iterator

from editlane.core.fleet_state import NodeState, ServerState, read_nodes
from editlane.core.paths import FleetPaths

FRESH_SECONDS = 10.0
"""A machine whose state file stands still for so long is gone."""


class OtherNodes:
    """The supervisors of other machines, as their state files show them. Used by one thread."""

    def __init__(self, paths: FleetPaths, own: str) -> None:
        self._paths, self._own = paths, own
        self._heard: dict[str, tuple[tuple[int, int], float]] = {}

    def look(self) -> list[NodeState]:
        """Return those that live. One counts as gone until its file was seen to change."""
        now, living = time.monotonic(), []
        for state in read_nodes(self._paths.nodes):
            if state.node == self._own:
                continue
            beat = (state.pid, state.beat)
            known = self._heard.get(state.node)
            if known is None or known[0] != beat:
                self._heard[state.node] = (beat, now if known else now - FRESH_SECONDS)
            if now - self._heard[state.node][1] < FRESH_SECONDS:
                living.append(state)
        return living


def ready_servers(nodes: list[NodeState], group: str) -> Iterator[ServerState]:
    """Yield the servers of other machines that a router of this group should ask."""
    for node in nodes:
        yield from (one for one in node.servers if one.state == "ready" and group in ("", one.group))
