"""Run one machine's part of a fleet: its model servers, its routers, its state file, and what it is asked for."""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from editlane.core.errors import UserError
from editlane.core.files import make_folder, replace_text
from editlane.core.fleet_state import NodeState
from editlane.fleet.adapters import Adapter, read_adapter, store_adapter
from editlane.fleet.catalogue import Catalogue
from editlane.fleet.commands import takes_adapters
from editlane.fleet.metrics import FleetMetrics
from editlane.fleet.model_server import ModelServer
from editlane.fleet.node_lock import NodeLock
from editlane.fleet.nodes import Neighbours
from editlane.fleet.routers import Router
from editlane.fleet.site import Site
from editlane.fleet.wishes import drop_wishes, grant_wishes

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
ALIAS_SECONDS = 30.0
COPY_SECONDS = 5.0
"""Time between two looks whether the copies of the adapters are still there."""


class Supervisor:
    """One machine's part of a fleet. `run` belongs to the main thread; each server has a thread of its own."""

    def __init__(self, site: Site, servers: int, lock: NodeLock, *, has_routers: bool) -> None:
        config = site.config
        self._lock = lock
        self.site, self.catalogue = site, Catalogue()
        self.stopping = threading.Event()
        groups = list(config.groups) if config.affinity == "hard" else [""]
        self.servers = [
            ModelServer(number, site, self.catalogue, groups[number * len(groups) // servers] or None)
            for number in range(servers)
        ]
        self.routers = {
            group: Router(site, group, port=config.port - place, metrics_port=config.metrics_port + 1 + place)
            for place, group in enumerate(groups if has_routers else [])
        }
        self._neighbours = Neighbours(site.paths, site.node)
        self._metrics = FleetMetrics(self)
        self._beat = 0
        self._last_error = ""
        for name, folder in config.adapters.items():
            self.catalogue.add(self.read_adapter(name, folder), config.group_of(name))

    def read_adapter(self, name: str, folder: str) -> Adapter:
        """Check an adapter and copy it into the fleet's folder. Raises UserError."""
        config = self.site.config
        model, revision, rank = config.model, config.revision, config.max_lora_rank
        towers = "--enable-tower-connector-lora" in config.extra_args
        found = read_adapter(name, Path(folder), model=model, revision=revision, max_rank=rank, towers=towers)
        return store_adapter(found, self.site.paths.adapters)

    def run(self) -> None:
        """Run until `stopping` is set; then finish the work at hand and end everything."""
        drop_wishes(self.site.paths, self.site.node)
        self._metrics.serve(self.site.config.metrics_port)
        asked = threading.Thread(target=self._grant, name="wishes", daemon=True)
        for server in self.servers:
            server.begin()
        asked.start()
        try:
            while not self.stopping.wait(LOOK_SECONDS):
                self._look()
        finally:
            self._end()

    def _look(self) -> None:
        is_blind = bool(self._last_error)
        others = self._neighbours.find_servers(self.describe(), is_blind=is_blind) if self.routers else []
        for group, router in self.routers.items():
            wanted = [one.state for one in self.servers if one.is_routed] + others
            router.look_after({one.url for one in wanted if group in ("", one.group)})
        routed = set().union(*(router.routed for router in self.routers.values()))
        for server in self.servers:
            if not server.is_routed and server.state.url not in routed:
                server.left_router.set()
        self.write()

    def _end(self) -> None:
        """Finish the work at hand of all servers at the same time; the routers end last, since answers pass them."""
        for server in self.servers:
            server.stop()
        while any(server.is_living for server in self.servers):
            self._look()
            time.sleep(LOOK_SECONDS)
        for router in self.routers.values():
            router.end()
        self._neighbours.close()
        self._metrics.close()
        with suppress(OSError):
            self.site.paths.state(self.site.node).unlink()

    def write(self) -> None:
        """Write the state file. A full disk is no reason to end: clients then see an older state."""
        self._beat += 1
        try:
            self._lock.renew()
            make_folder(self.site.paths.nodes)
            replace_text(self.site.paths.state(self.site.node), self.describe().to_json().decode())
        except OSError as error:
            if not self._last_error:
                log.warning("the state file cannot be written, so that clients see an older state: %s", error)
            self._last_error = str(error)
            return
        if self._last_error:
            log.info("the state file can be written again")
        self._last_error = ""

    def describe(self) -> NodeState:
        """Return the state of this machine's part."""
        config, newest = self.site.config, self.catalogue.newest()
        published = {name: own for name, (own, _) in newest.items()}
        groups = {name: group for name, (_, group) in newest.items()}
        if config.serve_base:
            published[config.base_name], groups[config.base_name] = self.site.published, None
        return NodeState(
            fleet=config.fleet,
            node=self.site.node,
            pid=self.site.pid,
            beat=self._beat,
            model=config.base_name if config.serve_base else None,
            published=published,
            served=self.catalogue.served(),
            groups=groups,
            affinity=config.affinity,
            routers={group: router.url for group, router in self.routers.items()},
            metrics=f"http://127.0.0.1:{config.metrics_port}/metrics",
            token_env=config.token_env,
            servers=[server.state for server in self.servers],
        )

    def _grant(self) -> None:
        looked_at = time.monotonic()
        while not self.stopping.wait(LOOK_SECONDS):
            with suppress(OSError):
                grant_wishes(self.site.paths, self.site.node, self._carry_out)
            if time.monotonic() - looked_at > COPY_SECONDS:
                looked_at = time.monotonic()
                self._keep_copies()

    def _keep_copies(self) -> None:
        """Put back copies of adapters that somebody removed, for servers that start again."""
        for adapter in self.catalogue.adapters():
            if not adapter.path.is_dir():
                try:
                    store_adapter(replace(adapter, path=adapter.source), self.site.paths.adapters)
                    log.warning("%s was removed; it is copied again from %s", adapter.path, adapter.source)
                except (OSError, UserError) as error:
                    log.warning("%s was removed and cannot be copied again: %s", adapter.path, error)

    def _carry_out(self, wish: dict[str, Any]) -> str:
        match wish:
            case {"drain": int(number)}:
                return self._drain(number)
            case {"try": str(name), "folder": str(folder), "group": str() | None as group}:
                return self._try(name, folder, group).published
            case {"add": str(name), "folder": str(folder), "group": str() | None as group}:
                return self._add(name, folder, group)
            case {"remove": str(name)}:
                return self._remove(name)
            case {"give_up": str(published)}:
                return self._give_up(published)
        raise UserError("This supervisor knows no such wish; it runs another version of Editlane.")

    def _drain(self, number: int) -> str:
        if not 0 <= number < len(self.servers):
            raise UserError(f"There is no server {number} on {self.site.node}; they are 0 to {len(self.servers) - 1}.")
        server = self.servers[number]
        if server.state.state not in ("ready", "silent", "wrong"):
            raise UserError(f"Server {number} is {server.state.state}, so there is nothing to drain.")
        server.drain()
        return f"server {number} finishes its work, then it starts again"

    def _try(self, name: str, folder: str, group: str | None) -> Adapter:
        """Have every server load and prove an adapter, of which nobody is told yet."""
        if not takes_adapters(self.site.config):
            raise UserError("The fleet was started without adapters. Set `max_loras:` and start it again.")
        if self.site.config.affinity == "hard" and group not in self.site.config.groups:
            raise UserError(f"With `affinity: hard` an adapter needs a group: {', '.join(self.site.config.groups)}.")
        adapter = self.read_adapter(name, folder)
        if adapter.published != self._newest(name):
            self.catalogue.add(adapter, group, is_trial=True)
            try:
                self._wait_for_proof(adapter.published)
            except UserError:
                self.catalogue.remove(adapter.published)
                raise
        return adapter

    def _add(self, name: str, folder: str, group: str | None) -> str:
        before, adapter = self._newest(name), self._try(name, folder, group)
        if adapter.published == before:
            return f"{adapter.published} is served already"
        self.catalogue.add(adapter, group)
        self._wait_for_alias()
        return f"{adapter.published} is served; `{name}` now means it"

    def _wait_for_alias(self) -> None:
        """Wait until all servers that work have what is wanted, plain names included, so that what is said is true."""
        until = time.monotonic() + ALIAS_SECONDS
        while time.monotonic() < until and not self.stopping.is_set():
            if not any(one.sync.is_changed() for one in self.servers if one.state.state == "ready"):
                return
            time.sleep(LOOK_SECONDS)

    def _newest(self, name: str) -> str | None:
        """Return the published name that an adapter's name means now."""
        published, _ = self.catalogue.newest().get(name, (None, None))
        return published

    def _wait_for_proof(self, published: str) -> None:
        """Wait until all servers that work have proved the adapter. Raises UserError."""
        until = time.monotonic() + self.site.config.start_seconds
        while True:
            ready = [one for one in self.servers if one.state.state == "ready" and one.sync.is_for(published)]
            for server in ready:
                if problem := server.sync.rejected.get(published):
                    raise UserError(f"Server {server.state.number} does not take {published}: {problem}")
            if ready and all(published in one.sync.verified for one in ready):
                return
            if time.monotonic() > until or self.stopping.is_set():
                raise UserError(f"No server is ready to try {published}. See `status`.")
            time.sleep(LOOK_SECONDS)

    def _remove(self, name: str) -> str:
        versions = self.catalogue.versions(name)
        if not versions:
            known = ", ".join(self.catalogue.newest()) or "none"
            raise UserError(f"There is no adapter {name!r}. Adapters: {known}.")
        for published in versions:
            self.catalogue.remove(published)
        self._wait_for_alias()
        return f"{', '.join(versions)} {'is' if len(versions) == 1 else 'are'} no longer served"

    def _give_up(self, published: str) -> str:
        """Forget an adapter that another machine did not take, unless it is served here already."""
        if published not in [own for own, _ in self.catalogue.newest().values()]:
            self.catalogue.remove(published)
        return f"{published} is not tried any more"
