"""Bring up and end a machine's part of a fleet: its lock, its ports, its supervisor."""

import importlib.util
import logging
import sys
from collections import Counter

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.core.fleet_accounts import drop_old_accounts
from editlane.core.locks import check_links
from editlane.core.paths import FleetPaths
from editlane.core.tokens import LOOPBACK, read_token
from editlane.fleet.adapters import publish_base
from editlane.fleet.background import end_supervisor, start_in_background, stop_at_signals
from editlane.fleet.config import FleetConfig
from editlane.fleet.devices import count_servers, list_gpus
from editlane.fleet.node_lock import hold_lock
from editlane.fleet.ports import check_free
from editlane.fleet.sessions import end_members
from editlane.fleet.site import Site
from editlane.fleet.supervisor import Supervisor

log = logging.getLogger(__name__)


def up(config: FleetConfig, node: str, *, has_routers: bool) -> None:
    """Run the fleet until SIGTERM or Ctrl-C, which finish the work at hand; then Ctrl-C ends at once.

    Raises UserError.
    """
    check_installed(has_routers=has_routers)
    paths = FleetPaths(config.fleet)
    if not has_routers and config.host in (*LOOPBACK, "0.0.0.0", "::"):
        raise UserError(
            f"config: `host: {config.host}` is no address at which the router of another machine could ask the servers "
            "of this one. Give this machine's: `--host 10.0.0.2`, for example."
        )
    servers = count_model_servers(config)
    token = read_token(config.token_env, config.host)
    published = publish_base(config.model, config.revision, config.base_name)
    make_folder(paths.nodes)
    check_links(paths.folder)
    drop_old_accounts(paths.accounts)
    with hold_lock(paths.lock(node), f"The fleet {config.fleet} is up on {node}", "fleet") as lock:
        site = Site(config=config, paths=paths, node=node, token=token, published=published, on_cpu=not list_gpus())
        leftovers = end_members(paths.sessions(node))
        if leftovers:
            log.warning("ended %d processes of an earlier supervisor that was killed", leftovers)
        check_ports(config, servers, has_routers=has_routers)
        supervisor = Supervisor(site, servers, lock, has_routers=has_routers)
        stop_at_signals(supervisor.stopping)
        urls = ", ".join(f"{router.url}/v1" for router in supervisor.routers.values())
        print(f"The fleet {config.fleet} is starting{f' at {urls}' if urls else ''}.", flush=True)
        supervisor.run()


def check_installed(*, has_routers: bool) -> None:
    """Raise UserError if this Python has no vLLM or no router. Without them servers would be started for ever."""
    wanted = {"vllm": "vLLM", "vllm_router": "vllm-router"} if has_routers else {"vllm": "vLLM"}
    missing = [name for module, name in wanted.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(
            f"A fleet needs vLLM and vllm-router, and {sys.executable} has no {' and no '.join(missing)}. On a machine "
            "with GPUs, install what envs/fleet.yaml lists into a venv of its own. To try a fleet on the CPU, run "
            "`make fleet-demo`, which installs vLLM for the CPU into .venv-vllm (4 GB)."
        )


def count_model_servers(config: FleetConfig) -> int:
    """Return the number of servers on this machine. Raises UserError if it has too few GPUs."""
    servers = count_servers(config.servers, "servers")
    if config.affinity == "hard" and servers < len(config.groups):
        raise UserError(
            f"config: `affinity: hard` needs a server for each of the {len(config.groups)} groups, but there are only "
            f"{servers} on this machine."
        )
    return servers


def check_ports(config: FleetConfig, servers: int, *, has_routers: bool) -> None:
    """Raise UserError for a port that another program has, before anything is started."""
    routers = max(1, len(config.groups)) if config.affinity == "hard" else 1
    wanted = {config.base_port + number: "a server (`base_port`)" for number in range(servers)}
    own = {config.port - place: "a router (`port`)" for place in range(routers if has_routers else 0)}
    figures = {config.metrics_port + place: "metrics (`metrics_port`)" for place in range(routers + 1)}
    twice = [port for port, times in Counter([*wanted, *own, *figures]).items() if times > 1]
    if twice:
        raise UserError(
            f"config: port {twice[0]} would be used twice. Choose `base_port`, `port` and `metrics_port` apart."
        )
    for port, whose in (wanted | own | figures).items():
        check_free("127.0.0.1" if port in figures else config.host, port, whose)


def detach(config: FleetConfig, node: str, words: list[str]) -> None:
    """Start this program in the background, and return once its supervisor runs. Raises UserError with its reason."""
    paths = FleetPaths(config.fleet)
    log_file = paths.logs / f"{node}-supervisor.log"
    pid = start_in_background(words, log_file, paths.lock(node), paths.state(node))
    print(f"The fleet {config.fleet} is starting (process {pid}); its log is {log_file}.")


def down(config: FleetConfig, node: str) -> None:
    """End this machine's part, and return once all of it is gone. Raises UserError if it is not up."""
    paths = FleetPaths(config.fleet)
    end_supervisor(
        paths.lock(node),
        seconds=config.grace + 60,
        what=f"The fleet {config.fleet}",
        node=node,
        logs=paths.logs,
    )
    print(f"The fleet {config.fleet} is down.")
