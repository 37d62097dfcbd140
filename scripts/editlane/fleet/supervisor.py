"""Run one machine's part of a fleet: its model servers, its routers, its state file, and what it is asked for."""

import logging
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from editlane.core.errors import UserError
from editlane.core.files import make_folder, replace_text
from editlane.core.fleet_state import NodeState
from editlane.core.machine import read_machine
from editlane.core.strict_model import Name
from editlane.fleet.adapters import Adapter, read_adapter, store_adapter
from editlane.fleet.catalogue import Catalogue
from editlane.fleet.commands import takes_adapters
from editlane.fleet.metrics import FleetMetrics
from editlane.fleet.model_server import ModelServer
from editlane.fleet.node_lock import NodeLock
from editlane.fleet.nodes import Neighbours, find_missing
from editlane.fleet.routers import Router
from editlane.fleet.site import Site
from editlane.fleet.wishes import drop_wishes, grant_wishes

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
END_SECONDS = 15.0
"""Time beyond the graces after which servers are killed when the fleet ends."""
READY_SECONDS = 60.0
"""Time for a server to be ready for a new adapter; one that only starts may take half an hour."""
ALIAS_SECONDS = 30.0
COPY_SECONDS = 5.0
"""Time between two looks whether the copies of the adapters are still there."""


class Told(NamedTuple):
    """What clients and other machines are told. What is tried, or on its way to the servers, is no part of it."""

    newest: Mapping[str, tuple[str, str | None]]
    """Adapter -> published name of its newest version, and its group."""
    served: Sequence[str]
    """Published names of all versions."""


def check_adapter_name(name: str) -> None:
    """Raise UserError for a name that the config would not take: it becomes a part of paths."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise UserError(f"{name!r} cannot be an adapter's name: {error.errors()[0]['msg']}") from error


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
        self._uncopied: set[str] = set()
        """Published names of adapters whose copy is gone, and cannot be made again yet."""
        for name, folder in config.adapters.items():
            self.catalogue.add(self.read_adapter(name, folder), config.group_of(name))
        self._told = Told(self.catalogue.newest(), self.catalogue.served())

    def read_adapter(self, name: str, folder: str) -> Adapter:
        """Check an adapter and copy it into the fleet's folder. Raises UserError."""
        config = self.site.config
        if name == config.base_name:
            raise UserError(f"The adapter {name!r} has the name of the base model. Give it another one.")
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
        own, is_blind = self.describe(), bool(self._last_error)
        is_asking = bool(self.routers) and not self.stopping.is_set()
        others = self._neighbours.find_servers(own, is_blind=is_blind) if is_asking else []
        # One that lacks an adapter would answer 404, which nobody asks again.
        fitting = [one.state for one in self.servers if one.is_routed and not find_missing(own, own, one.state)]
        for group, router in self.routers.items():
            router.look_after({one.url for one in fitting + others if group in ("", one.group)})
        routed = set().union(*(router.routed for router in self.routers.values()))
        for server in self.servers:
            if not server.is_routed and server.state.url not in routed:
                server.left_router.set()
        self.write()

    def _end(self) -> None:
        """Finish the work at hand of all servers at the same time; the routers end last, since answers pass them."""
        for server in self.servers:
            server.stop()
        until = time.monotonic() + 2 * self.site.config.grace + END_SECONDS
        while any(server.is_living for server in self.servers):
            self._look()
            time.sleep(LOOK_SECONDS)
            if time.monotonic() > until:
                for server in self.servers:
                    server.kill()  # its thread waits for an answer that does not come
        for router in self.routers.values():
            router.end()
        self._neighbours.close()
        self._metrics.close()
        self.write()  # kept: a finished run asks it for the names that its scores were made with

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
        config, told = self.site.config, self._told
        published = {name: own for name, (own, _) in told.newest.items()}
        groups = {name: group for name, (_, group) in told.newest.items()}
        if config.serve_base:
            published[config.base_name], groups[config.base_name] = self.site.published, None
        return NodeState(
            fleet=config.fleet,
            node=self.site.node,
            pid=self.site.pid,
            beat=self._beat,
            model=config.base_name if config.serve_base else None,
            published=published,
            served=list(told.served),
            groups=groups,
            affinity=config.affinity,
            routers={group: router.url for group, router in self.routers.items()},
            metrics=f"http://127.0.0.1:{config.metrics_port}/metrics",
            token_env=config.token_env,
            servers=[server.state for server in self.servers],
            machine=read_machine(),
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
                    if adapter.published not in self._uncopied:  # or the log would fill
                        log.warning("%s was removed and cannot be copied again: %s", adapter.path, error)
                    self._uncopied.add(adapter.published)

    def _carry_out(self, wish: dict[str, Any]) -> str:
        match wish:
            case {"try": str(name)} | {"add": str(name)}:
                check_adapter_name(name)
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
        others = [one for one in self.servers if one is not server and one.state.group == server.state.group]
        if server.is_routed and others and not any(one.is_routed for one in others):
            raise UserError(f"Server {number} is the only one that is ready. Wait for another one; see `status`.")
        server.drain()
        return f"server {number} finishes its work, then it starts again"

    def _try(self, name: str, folder: str, group: str | None) -> Adapter:
        """Have every server load and prove an adapter, of which nobody is told yet."""
        if not takes_adapters(self.site.config):
            raise UserError("The fleet was started without adapters. Set `max_loras:` and start it again.")
        if self.site.config.affinity == "hard" and group not in self.site.config.groups:
            raise UserError(f"With `affinity: hard` an adapter needs a group: {', '.join(self.site.config.groups)}.")
        adapter = self.read_adapter(name, folder)
        if adapter.published not in self.catalogue.versions(name):  # one that is served was proved
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
        self._tell()
        return f"{adapter.published} is served; `{name}` now means it"

    def _wait_for_alias(self) -> None:
        """Wait until all servers that work have what is wanted, plain names included, so that what is said is true."""
        until = time.monotonic() + ALIAS_SECONDS
        while time.monotonic() < until and not self.stopping.is_set():
            if not any(one.sync.is_changed() for one in self.servers if one.state.state == "ready"):
                return
            time.sleep(LOOK_SECONDS)

    def _tell(self) -> None:
        """Tell clients and other machines of what is served now. Returns once it is in the state file."""
        self._told = Told(self.catalogue.newest(), self.catalogue.served())
        beat = self._beat + 2  # the next one may be written already
        while self._beat < beat and not self.stopping.is_set():
            time.sleep(LOOK_SECONDS / 5)

    def _newest(self, name: str) -> str | None:
        """Return the published name that an adapter's name means now."""
        published, _ = self.catalogue.newest().get(name, (None, None))
        return published

    def _wait_for_proof(self, published: str) -> None:
        """Wait until all servers that work have proved the adapter. Raises UserError."""
        until, ready_until = time.monotonic() + self.site.config.start_seconds, time.monotonic() + READY_SECONDS
        while True:
            ready = [one for one in self.servers if one.state.state == "ready" and one.sync.is_for(published)]
            ready_until = time.monotonic() + READY_SECONDS if ready else ready_until
            for server in ready:
                if problem := server.sync.rejected.get(published):
                    raise UserError(f"Server {server.state.number} does not take {published}: {problem}")
            if ready and all(published in one.sync.verified for one in ready):
                return
            if time.monotonic() > min(until, ready_until) or self.stopping.is_set():
                raise UserError(f"No server is ready to try {published}. See `status`.")
            time.sleep(LOOK_SECONDS)

    def _remove(self, name: str) -> str:
        versions = self.catalogue.versions(name)
        if not versions:
            known = ", ".join(self.catalogue.newest()) or "none"
            raise UserError(f"There is no adapter {name!r}. Adapters: {known}.")
        removed = [one for one in self.catalogue.adapters() if one.published in versions]
        self.catalogue.remove(*versions)
        self._tell()  # first, or the servers would count as lacking what they unload
        self._wait_for_alias()
        for adapter in removed:
            shutil.rmtree(adapter.path, ignore_errors=True)
        return f"{', '.join(versions)} {'is' if len(versions) == 1 else 'are'} no longer served"

    def _give_up(self, published: str) -> str:
        """Forget an adapter that another machine did not take, unless it is served here already."""
        if published not in self._told.served:
            self.catalogue.remove(published)
        return f"{published} is not tried any more"
