"""Know which machines of a fleet live, and which of their servers a router of this one should send requests to."""

import logging
import math
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from editlane.core.fleet_state import NodeState, ServerState, read_nodes
from editlane.core.paths import FleetPaths
from editlane.core.published_names import strip_fingerprint
from editlane.fleet.vllm_api import VllmServer

log = logging.getLogger(__name__)

FRESH_SECONDS = 10.0
"""A machine whose state file stands still for so long is gone."""
PROBE_SECONDS = 1.0
"""Time between two looks whether a server of another machine answers this one."""
MISSES = 2
"""Looks without an answer after which it gets no more requests from here."""


class OtherNodes:
    """The supervisors of other machines, as their state files show them. Used by one thread."""

    def __init__(self, paths: FleetPaths, own: str) -> None:
        self._paths, self._own = paths, own
        self._heard: dict[str, tuple[tuple[int, int], float]] = {}

    def look(self, *, is_blind: bool = False) -> list[NodeState]:
        """Return those that live. One counts as gone until its file was seen to change.

        With `is_blind` the folder cannot be written, so that files that stand still prove nothing.
        """
        now, living = time.monotonic(), []
        for state in read_nodes(self._paths.nodes):
            if state.node == self._own:
                continue
            beat = (state.pid, state.beat)
            known = self._heard.get(state.node)
            if known is None or known[0] != beat:
                self._heard[state.node] = (beat, now if known else -math.inf)
            elif is_blind and now - known[1] < FRESH_SECONDS:
                self._heard[state.node] = (beat, now)
            if now - self._heard[state.node][1] < FRESH_SECONDS:
                living.append(state)
        return living


@dataclass(slots=True)
class _Probe:
    """What is known of one server of another machine."""

    misses: int = MISSES
    begun: float = 0.0
    job: Future[bool] | None = None
    is_told: bool = False


class Reach:
    """Which servers of other machines answer this one: a closed port or a cut cable shows in no state file.

    A router waits for the servers that it is told of, so one that cannot be reached would keep it from all others. Used
    by one thread.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(16, "reach")
        self._probes: dict[str, _Probe] = {}

    def find_answering(self, urls: Collection[str]) -> set[str]:
        """Return those that answer. Never waits: what is new counts from a later look on."""
        self._probes = {url: self._probes.get(url) or _Probe() for url in urls}
        for url, probe in self._probes.items():
            self._renew(url, probe)
        return {url for url, probe in self._probes.items() if probe.misses < MISSES}

    def _renew(self, url: str, probe: _Probe) -> None:
        if probe.job is not None and probe.job.done():
            answers = probe.job.exception() is None and probe.job.result()  # the address may be anything
            probe.misses = 0 if answers else probe.misses + 1
            probe.job = None
            if probe.misses >= MISSES and not probe.is_told:
                log.warning("%s is ready on its machine, but does not answer here. Is its port closed?", url)
            probe.is_told = probe.misses >= MISSES
        if probe.job is None and time.monotonic() - probe.begun >= PROBE_SECONDS:
            probe.begun, probe.job = time.monotonic(), self._threads.submit(VllmServer(url).is_healthy)

    def close(self) -> None:
        """Ask no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Neighbours:
    """The servers of other machines that routers of this one should ask. Used by one thread."""

    def __init__(self, paths: FleetPaths, own: str) -> None:
        self._nodes, self._reach = OtherNodes(paths, own), Reach()
        self._told: set[tuple[str, str]] = set()

    def find_servers(self, own: NodeState, *, is_blind: bool) -> list[ServerState]:
        """Return those that are ready, have what this machine tells clients of, and answer."""
        found = [(node, one) for node in self._nodes.look(is_blind=is_blind) for one in node.servers]
        fitting = [one for node, one in found if one.state == "ready" and not self._lacks(own, node, one)]
        answering = self._reach.find_answering([one.url for one in fitting])
        return [one for one in fitting if one.url in answering]

    def _lacks(self, own: NodeState, node: NodeState, server: ServerState) -> bool:
        missing = ", ".join(find_missing(own, node, server))
        if missing and (server.url, missing) not in self._told:
            self._told.add((server.url, missing))
            log.warning("%s/%d gets no requests from here as long as it lacks %s", node.node, server.number, missing)
        return bool(missing)

    def close(self) -> None:
        """Look no more."""
        self._reach.close()


def find_missing(own: NodeState, node: NodeState, server: ServerState) -> list[str]:
    """Return the published names of which this machine tells clients and that a server of another one lacks.

    It lacks those that were added while its machine was away, those whose plain name means another version there, and
    all if its machine runs another config.
    """
    names = [
        name for name in own.published if None in (server.group, own.groups[name]) or server.group == own.groups[name]
    ]
    base = {own.published[own.model]} if own.model in names else set()
    behind = {own.published[name] for name in names if server.aliases.get(name) != own.published[name]} - base
    versions = {one for one in own.served if strip_fingerprint(one) in names}
    return sorted(behind | (versions - set(server.adapters)) | (base - set(node.published.values())))
