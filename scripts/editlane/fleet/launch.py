"""Bring up and end a machine's part of a fleet: its lock, its ports, its supervisor."""

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import IO

from editlane.core.errors import UserError
from editlane.core.files import make_folder
from editlane.core.fleet_accounts import drop_old_accounts
from editlane.core.locks import check_links
from editlane.core.paths import FleetPaths
from editlane.core.tokens import LOOPBACK, read_token
from editlane.fleet.adapters import publish_base
from editlane.fleet.config import FleetConfig
from editlane.fleet.model_server import is_free
from editlane.fleet.node_lock import hold_lock, read_holder
from editlane.fleet.sessions import end_members
from editlane.fleet.site import Site
from editlane.fleet.status import is_locked
from editlane.fleet.supervisor import Supervisor
from editlane.lanes.gpu_lease import NO_DEVICE, device_pool

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
    servers = count_servers(config)
    token = read_token(config.token_env, config.host)
    published = publish_base(config.model, config.revision, config.base_name)
    make_folder(paths.nodes)
    check_links(paths.folder)
    drop_old_accounts(paths.accounts)
    with hold_lock(paths, node) as lock:
        site = Site(config=config, paths=paths, node=node, token=token, published=published, on_cpu=not list_gpus())
        leftovers = end_members(paths.sessions(node))
        if leftovers:
            log.warning("ended %d processes of an earlier supervisor that was killed", leftovers)
        check_ports(config, servers, has_routers=has_routers)
        supervisor = Supervisor(site, servers, lock, has_routers=has_routers)
        _stop_at_signals(supervisor)
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


def list_gpus() -> list[str]:
    """Return the GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""
    return [name for name in device_pool().values() if name not in NO_DEVICE]


def count_servers(config: FleetConfig) -> int:
    """Return the number of servers on this machine. Raises UserError if it has too few GPUs."""
    pool = device_pool()
    servers = config.servers or max(1, len(list_gpus()))
    if servers > len(pool):
        raise UserError(
            f"config: `servers: {servers}`, but this machine offers {len(pool)}: {', '.join(pool)}. Each server takes "
            "one for itself."
        )
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
        if not 0 < port < 65536:
            raise UserError(f"config: {whose} would need port {port}, which there is not.")
        if not is_free("127.0.0.1" if port in figures else config.host, port):
            raise UserError(
                f"Port {port} is wanted for {whose}, but another program has it, or {config.host} is no address of "
                f"this machine. See `ss -ltnp sport = :{port}`; free it, or choose another."
            )


def _stop_at_signals(supervisor: Supervisor) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        if supervisor.stopping.is_set():
            if number == signal.SIGINT:
                os._exit(128 + number)  # the guards notice, and end everything at once
            return  # a second `down` must not drop the work at hand
        log.info("finishes the work at hand; Ctrl-C now ends at once")
        supervisor.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def detach(config: FleetConfig, node: str, words: list[str]) -> None:
    """Start this program in the background, and return once its supervisor runs. Raises UserError with its reason."""
    paths = FleetPaths(config.fleet)
    make_folder(paths.logs)
    log_file = paths.logs / f"{node}-supervisor.log"
    with log_file.open("ab", buffering=0) as out:
        _begin_log(out, log_file)
        began = log_file.stat().st_size
        process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    while process.poll() is None:
        holder = read_holder(paths.lock(node))
        if paths.state(node).exists() and holder and holder.pid == process.pid and is_locked(paths.lock(node)):
            print(f"The fleet {config.fleet} is starting (process {process.pid}); its log is {log_file}.")
            return
        time.sleep(0.1)
    with log_file.open("rb") as lines:
        lines.seek(began)
        said = lines.read().decode(errors="replace").strip()
    raise UserError(said.removeprefix("error: ") or f"The supervisor ended with exit code {process.returncode}.")


def _begin_log(out: IO[bytes], path: Path) -> None:
    """Write a first line, because on a full disk nobody would read why the supervisor ended. Raises OSError."""
    try:
        out.write(f"-- up, {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
    except OSError as error:
        error.filename = str(path)
        raise


def down(config: FleetConfig, node: str) -> None:
    """End this machine's part, and return once all of it is gone. Raises UserError if it is not up."""
    paths = FleetPaths(config.fleet)
    holder = read_holder(paths.lock(node))
    if holder is None or not is_locked(paths.lock(node)):
        raise UserError(f"The fleet {config.fleet} is not up on {node}.")
    if not holder.is_here:
        raise UserError(f"{node} is another machine, whose processes cannot be ended from here. Run `down` there.")
    os.kill(holder.pid, signal.SIGTERM)
    until = time.monotonic() + config.grace + 60
    while is_locked(paths.lock(node)):
        if time.monotonic() > until:
            raise UserError(f"The supervisor (process {holder.pid}) has not ended yet. See {paths.logs}.")
        time.sleep(0.1)
    print(f"The fleet {config.fleet} is down.")
