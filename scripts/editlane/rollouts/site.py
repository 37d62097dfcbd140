"""What a config stands for on this machine: policy servers and simulators."""

import os
import sys

from editlane.core.errors import UserError
from editlane.fleet.devices import count_servers
from editlane.models.host_memory import read_available_memory
from editlane.robots.addresses import PolicyAddress, parse_address
from editlane.robots.simulators import MEMORY_GB, Simulators
from editlane.rollouts.config import RolloutsConfig

LAST_PORT = 65535


def list_own_addresses(config: RolloutsConfig) -> list[PolicyAddress]:
    """Return where the servers listen that `serve_policies.py` starts. Raises UserError if there is no GPU for one."""
    start = config.policy.start
    if start is None:
        return []
    ports = range(start.base_port, start.base_port + count_servers(start.servers, "servers"))
    if ports[-1] > LAST_PORT:
        raise UserError(f"config: the last of {len(ports)} servers would need port {ports[-1]}; lower `base_port`.")
    return [parse_address(f"127.0.0.1:{port}", config.policy.dialect) for port in ports]


def list_addresses(config: RolloutsConfig) -> list[PolicyAddress]:
    """Return where the policy's servers listen: those that `serve_policies.py` starts, then the others."""
    others = [parse_address(one, config.policy.dialect) for one in config.policy.addresses]
    return list(dict.fromkeys([*list_own_addresses(config), *others]))


def make_simulators(config: RolloutsConfig, count: int | None = None) -> Simulators:
    """Return the simulators, or so many of them; none is started. Raises UserError."""
    simulator = config.simulator
    return Simulators(
        simulator.name,
        count or count_simulators(config),
        python=simulator.python or sys.executable,
        environment={"MUJOCO_GL": simulator.renderer},
        reset_seconds=simulator.reset_seconds,
        step_seconds=simulator.step_seconds,
    )


def count_simulators(config: RolloutsConfig) -> int:
    """Return how many there are: if the config does not say, one for each core, as far as the memory goes."""
    fitting = int(read_available_memory() / 1e9 / MEMORY_GB[config.simulator.name])
    return config.simulator.count or max(1, min(len(os.sched_getaffinity(0)), fitting))
