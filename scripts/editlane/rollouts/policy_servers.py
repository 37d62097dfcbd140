"""Bring up and end a machine's policy servers: their lock, their ports, their supervisor."""

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from editlane.core.errors import UserError
from editlane.core.files import make_folder, replace_text
from editlane.core.locks import check_links
from editlane.fleet.background import end_supervisor, start_in_background, stop_at_signals
from editlane.fleet.devices import count_servers
from editlane.fleet.node_lock import NodeLock, hold_lock
from editlane.fleet.ports import check_free
from editlane.fleet.sessions import end_members
from editlane.rollouts.config import PolicyServersConfig, RolloutsConfig
from editlane.rollouts.policy_server import HOST, PolicyServer
from editlane.rollouts.policy_state import PoliciesState, PolicyPaths

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
END_SECONDS = 15.0
"""Time beyond the grace after which servers are killed when all are ended."""
KEY = "server"
"""The config's key of the name."""


def up(config: RolloutsConfig) -> None:
    """Run the policy servers until SIGTERM or Ctrl-C, which finish the observations at hand. Raises UserError."""
    start, paths = find_start(config), PolicyPaths(config.server)
    servers = count_servers(start.servers, "servers")
    if start.folder and not Path(start.folder).is_dir():
        raise UserError(f"config: `folder: {start.folder}` is no folder. Name the one in which the command runs.")
    make_folder(paths.folder)
    check_links(paths.folder)
    with hold_lock(paths.lock, f"The policy servers of {config.server} are up", KEY) as lock:
        paths.state.unlink(missing_ok=True)  # of an earlier supervisor
        leftovers = end_members(paths.sessions)
        if leftovers:
            log.warning("ended %d processes of an earlier supervisor that was killed", leftovers)
        for number in range(servers):
            check_free(HOST, start.base_port + number, f"policy server {number} (`base_port`)")
        stopping = threading.Event()
        stop_at_signals(stopping)
        many = [PolicyServer(number, start, config.policy.dialect, paths) for number in range(servers)]
        ports = ", ".join(f"{HOST}:{one.state.port}" for one in many)
        print(f"The policy servers of {config.server} are starting at {ports}. Logs: {paths.folder}", flush=True)
        Supervisor(config.server, many, paths, lock).run(stopping, start.grace)


def find_start(config: RolloutsConfig) -> PolicyServersConfig:
    """Return how servers are started. Raises UserError if the config does not say."""
    if config.policy.start is None:
        raise UserError(
            "config: `policy:` has no `start:`, so that its servers are started by others. Give it a `start:` with "
            "their `command:`; config/robots.md describes it."
        )
    return config.policy.start


class Supervisor:
    """All policy servers of a machine. `run` belongs to the main thread; each server has a thread of its own."""

    def __init__(self, server: str, servers: Sequence[PolicyServer], paths: PolicyPaths, lock: NodeLock) -> None:
        self._server, self._servers, self._paths, self._lock = server, servers, paths, lock
        self._written, self._last_error = "", ""

    def run(self, stopping: threading.Event, grace: float) -> None:
        """Run until `stopping` is set; then have all finish the work at hand, at the same time, and end them."""
        for server in self._servers:
            server.begin()
        try:
            while not stopping.wait(LOOK_SECONDS):
                self._write()
        finally:
            for server in self._servers:
                server.stop()
            until = time.monotonic() + grace + END_SECONDS
            while any(server.is_living for server in self._servers):
                self._write()
                time.sleep(LOOK_SECONDS)
                if time.monotonic() > until:
                    for server in self._servers:
                        server.kill()
            self._write()

    def _write(self) -> None:
        """Write the state file if it would change, or is gone. A full disk is no reason to end."""
        state = PoliciesState(server=self._server, pid=os.getpid(), servers=[one.state for one in self._servers])
        text = json.dumps(state.to_json(), ensure_ascii=False, indent=1)
        try:
            self._lock.renew()
            if text != self._written or not self._paths.state.exists():
                make_folder(self._paths.folder)
                replace_text(self._paths.state, text)
                self._written = text
        except OSError as error:
            if not self._last_error:
                log.warning("the state file cannot be written, so that `status` tells an older state: %s", error)
            self._last_error = str(error)
            return
        self._last_error = ""


def detach(config: RolloutsConfig, words: list[str]) -> None:
    """Start this program in the background, and return once its supervisor runs. Raises UserError with its reason."""
    find_start(config)
    paths = PolicyPaths(config.server)
    pid = start_in_background(words, paths.supervisor_log, paths.lock, paths.state)
    print(f"The policy servers of {config.server} are starting (process {pid}); their logs are in {paths.folder}.")


def down(config: RolloutsConfig) -> None:
    """End the policy servers, and return once all of them are gone. Raises UserError if they are not up."""
    paths, start = PolicyPaths(config.server), config.policy.start
    seconds = (start.grace if start else 0) + 60
    what = f"The supervisor of the policy servers of {config.server}"
    end_supervisor(paths.lock, seconds=seconds, what=what, node="this machine", logs=paths.folder)
    print(f"The policy servers of {config.server} are down.")
