"""Check this machine against a config of robot roll-outs: can episodes be played here, and who acts in them?"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from editlane.core.checkout import find_file
from editlane.core.errors import UserError, format_value, one_line
from editlane.core.findings import Finding, format_bytes, join_names
from editlane.core.pins import differ, read_pip_pins
from editlane.core.text_width import pluralize
from editlane.core.tokens import read_token
from editlane.fleet.ports import is_free
from editlane.models.host_memory import read_available_memory
from editlane.robots.addresses import PolicyAddress
from editlane.robots.policy_pool import PolicyPool, PoolLimits
from editlane.robots.simulators import MEMORY_GB, SimulatorFailed, check_memory
from editlane.robots.videos import find_encoder
from editlane.robots.warm_up import warm_up
from editlane.rollouts.config import RolloutsConfig
from editlane.rollouts.site import count_simulators, list_addresses, list_own_addresses, make_simulators

OWN_ENV = "envs/robots.yaml"
SIMULATOR_ENVS = {"libero": "envs/libero.yaml"}
"""What a simulator's Python needs. `reach` needs what the server has."""
FOR_SOME_POLICIES = {"torch", "transformers"}
"""Packages that only `serve_policy.py --policy tiny-pi0` needs."""

_PACKAGES_SECONDS = 60
_LIST_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
def find(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
print(json.dumps({name: find(name) for name in sys.argv[1:]}))
"""
_LIBRARIES = {
    "egl": "apt-get install libegl1 libegl-mesa0, or the GPU's driver",
    "osmesa": "apt-get install libosmesa6",
}


def check_packages(config: RolloutsConfig) -> Iterator[Finding]:
    """Compare the packages of this Python with the pins."""
    pins = read_pip_pins(find_file(OWN_ENV))
    found = {name: _find_version(name) for name in pins}
    yield _compare("packages", f"this Python, {sys.prefix}", OWN_ENV, pins, found)


def check_simulator_packages(config: RolloutsConfig) -> Iterator[Finding]:
    """Compare the packages of the simulator's Python with the pins, of which MuJoCo's decides about pictures."""
    simulator = config.simulator
    env = SIMULATOR_ENVS.get(simulator.name)
    if env is None:
        yield Finding("pass", "simulator", f"{simulator.name} needs no packages of its own")
        return
    pins, python = read_pip_pins(find_file(env)), simulator.python or sys.executable
    try:
        found = _list_versions(python, list(pins))
    except ValueError as error:
        remedy = f"Install {env} into an environment, and name its Python as `simulator.python`."
        yield Finding("fail", "simulator", f"{python} is no Python that runs: {error}", remedy)
        return
    yield _compare("simulator", python, env, pins, found)


def check_drawing(config: RolloutsConfig) -> Iterator[Finding]:
    """Begin an episode, so that the simulator really runs and draws."""
    simulator = config.simulator
    try:
        versions = asyncio.run(_begin_episode(config))
    except SimulatorFailed as error:
        remedy = "What it printed is above."
        if simulator.name in SIMULATOR_ENVS:
            remedy += (
                f" Packages are those of {SIMULATOR_ENVS[simulator.name]}. If it cannot draw: "
                f"{_LIBRARIES[simulator.renderer]}, or choose another `simulator.renderer`."
            )
        yield Finding("fail", "episode", f"{simulator.name} does not begin an episode: {error}", remedy)
        return
    told = ", ".join(f"{name} {one}" for name, one in versions.items() if name != "MUJOCO_GL")
    drawn = f", and draws with {versions['MUJOCO_GL']}" if "MUJOCO_GL" in versions else ""
    yield Finding("pass", "episode", f"{simulator.name} begins an episode{drawn}: {told}")


def check_room(config: RolloutsConfig) -> Iterator[Finding]:
    """Check that the simulators fit into memory, and compare them with the cores."""
    name, cores = config.simulator.name, len(os.sched_getaffinity(0))
    available = read_available_memory()
    fitting = int(available / 1e9 / MEMORY_GB[name])
    count = count_simulators(config)
    check_memory(name, count)
    text = f"{pluralize(count, 'simulator')} of {name}, {MEMORY_GB[name]:g} GB each; {format_bytes(available)} are "
    yield Finding("pass", "memory", f"{text}available, enough for {fitting}")
    if count > cores:
        text = f"{pluralize(count, 'simulator')} share {pluralize(cores, 'core')}"
        yield Finding("warn", "cores", text, f"Each keeps one busy: `simulator.count: {cores}` plays as fast.")
    else:
        yield Finding("pass", "cores", f"{pluralize(cores, 'core')} for {pluralize(count, 'simulator')}")


def check_port(config: RolloutsConfig) -> Iterator[Finding]:
    """Check that the server can listen."""
    if config.port == 0:
        yield Finding("pass", "port", "any free one")
    elif is_free(config.host, config.port):
        yield Finding("pass", "port", f"{config.host}, port {config.port}, is free")
    else:
        remedy = "End the server that uses it, or choose another `port:`; 0 is any free one."
        yield Finding("fail", "port", f"nobody can listen on {config.host}, port {config.port}", remedy)


def check_policies(config: RolloutsConfig) -> Iterator[Finding]:
    """Ask every policy server what it serves: all have to serve the same."""
    start = config.policy.start
    if start and start.folder and not Path(start.folder).is_dir():
        remedy = "Correct `policy.start.folder`, in which the command runs."
        yield Finding("fail", "policies", f"there is no folder {start.folder}", remedy)
    own = list_own_addresses(config)
    free = [one for one in own if is_free(one.host, one.port)]
    asked = [one for one in list_addresses(config) if one not in free]
    if free:
        text = f"none runs yet at {join_names([str(one) for one in free])}; the ports are free"
        yield Finding("warn", "policies", text, "Start them: `serve_policies.py up` with this file.")
    policy, servers = asyncio.run(_ask_policies(config, asked)) if asked else (None, [])
    if policy is not None:
        yield Finding("pass", "policies", f"the policy announces {_describe_policy(policy)}")
    for address, server in zip(asked, servers, strict=True):
        if not server["last_error"]:
            yield Finding("pass", "policies", f"{address} serves it")
        elif server["state"] == "unfit":
            yield Finding("fail", "policies", f"{address}: {server['last_error']}", "Leave it out, or restart it.")
        elif address in own:
            remedy = "End what uses its port, or choose another `policy.start.base_port`."
            yield Finding("fail", "policies", f"{address} is no policy server: {server['last_error']}", remedy)
        else:
            remedy = "Start it, or take it out of `policy.addresses`."
            yield Finding("fail", "policies", f"{address} does not answer: {server['last_error']}", remedy)


def check_video(config: RolloutsConfig) -> Iterator[Finding]:
    """Look for what makes videos, which requests may ask for."""
    try:
        yield Finding("pass", "video", f"{find_encoder()} makes videos")
    except UserError as error:
        yield Finding("warn", "video", str(error))


def check_token(config: RolloutsConfig) -> Iterator[Finding]:
    """Check that a server that others can reach has a token. Raises UserError."""
    token = read_token(config.token_env, config.host)
    text = f"requests need the token in {config.token_env}" if token else f"none; only this machine has {config.host}"
    yield Finding("pass", "token", text)


Checks = dict[str, Callable[[RolloutsConfig], Iterable[Finding]]]

ALL: Checks = {
    "packages": check_packages,
    "simulator": check_simulator_packages,
    "memory": check_room,
    "episode": check_drawing,
    "port": check_port,
    "policies": check_policies,
    "video": check_video,
    "token": check_token,
}


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _list_versions(python: str, packages: list[str]) -> dict[str, str | None]:
    """Return the versions in another Python's environment. Raises ValueError with the reason alone."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [python, "-c", _LIST_VERSIONS, *packages]
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=_PACKAGES_SECONDS)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"it takes more than {_PACKAGES_SECONDS} s") from error
    if done.returncode:
        raise ValueError(
            f"exit code {done.returncode}: {one_line(Exception(done.stderr[-300:].decode(errors='replace')))}"
        )
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


def _compare(what: str, place: str, env: str, pins: dict[str, str], found: dict[str, str | None]) -> Finding:
    """Compare versions with pins. A missing package is a failure, another version a warning."""
    missing = [name for name in pins if found.get(name) is None and name not in FOR_SOME_POLICIES]
    if missing:
        text = f"{place} lacks {join_names(missing, 6)}"
        return Finding("fail", what, text, f"Install the versions of {env} there.")
    other = [f"{name} {has}, not {pins[name]}" for name, has in found.items() if has and differ(has, pins[name])]
    if other:
        remedy = f"Results may differ: install the versions of {env}."
        return Finding("warn", what, f"{place}: {join_names(other, 6)}", remedy)
    return Finding("pass", what, f"{place}: as in {env}")


async def _begin_episode(config: RolloutsConfig) -> dict[str, str]:
    simulators = make_simulators(config, 1)
    try:
        await warm_up(simulators)
        return dict(simulators.versions)
    finally:
        await simulators.close()


async def _ask_policies(config: RolloutsConfig, addresses: list[PolicyAddress]) -> tuple[object, list[dict[str, str]]]:
    """Return what the policy announces, None if no server answers, and what is known of each server, in order."""
    pool = PolicyPool(addresses, PoolLimits(connect_seconds=config.policy.connect_seconds))
    try:
        return await pool.open(), pool.describe()["servers"]
    finally:
        await pool.close()


def _describe_policy(policy: object) -> str:
    if not isinstance(policy, dict) or not policy:
        return "nothing of itself; set `policy.name`, else no result is used twice"
    return ", ".join(f"{name} {format_value(value)}" for name, value in policy.items())
