"""Serve a model with LoRA adapters: one vLLM server per GPU, one URL in front.

    python scripts/serve_fleet.py up        # until SIGTERM or Ctrl-C
    python scripts/serve_fleet.py demo      # try it with tiny models, on the CPU
    python scripts/serve_fleet.py status    # what each server does
    python scripts/serve_fleet.py health    # do all answer, list their models, generate
    python scripts/serve_fleet.py smoke     # does every adapter act
    python scripts/serve_fleet.py drain 3   # finish its work, then start it again
    python scripts/serve_fleet.py adapters add strict adapters/strict
    python scripts/serve_fleet.py adapters remove strict
    python scripts/serve_fleet.py down

Each command has its own --help. config/fleet.md describes the config. State and logs are in results/fleets/<fleet>/.
Exit codes: 0 ended in good order, or all is well; 1 a server is not ready, not healthy, or an adapter does not act;
2 the config or the machine is wrong, or the fleet is not up.
"""

import argparse
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from editlane.cli.flags import StepParser, folder_name, number, whole_number
from editlane.cli.step import run_step
from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.core.fleet_accounts import read_accounts
from editlane.core.fleet_state import NodeState
from editlane.core.paths import FleetPaths
from editlane.core.tokens import read_token
from editlane.fleet import checks, status
from editlane.fleet.config import FleetConfig
from editlane.fleet.demo import Demonstration, build_models
from editlane.fleet.launch import check_installed, detach, down, up
from editlane.fleet.site import name_node
from editlane.fleet.wishes import ask_supervisor
from editlane.preflight.fleet_config import read_fleet_config


def find_nodes(config: FleetConfig, own: str) -> list[NodeState]:
    """Return the machines on which the fleet is up. Raises UserError if there is none."""
    nodes = status.read_living(FleetPaths(config.fleet), own)
    if not nodes:
        raise UserError(f"The fleet {config.fleet} is not up. Start it: python scripts/serve_fleet.py up")
    return nodes


def bring_up(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `up`."""
    if args.detach:
        detach(config, args.node, [word for word in sys.argv if word != "--detach"])
    else:
        up(config, args.node, has_routers=not args.no_router)
    return 0


def show_demo(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `demo`."""
    check_installed(has_routers=True)
    build_models(config)
    demonstration = Demonstration(config, args.node, stays=not args.check)
    demonstration.begin()
    up(config, args.node, has_routers=True)
    return int(demonstration.has_failed)


def show_status(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `status`."""
    nodes = find_nodes(config, args.node)
    accounts = read_accounts(FleetPaths(config.fleet).accounts)
    if args.json:
        print(json.dumps(status.to_json(nodes, accounts), ensure_ascii=False, indent=1))
    else:
        Console().print(*status.make_tables(nodes, accounts), sep="\n")
    return 0 if status.is_ready(nodes) else 1


def check_health(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `health`."""
    until = time.monotonic() + args.wait
    while True:
        token = read_token(config.token_env, config.host)
        nodes = status.read_living(FleetPaths(config.fleet), args.node)
        kinds = (checks.check_health, checks.check_routers)
        found = [one for node in nodes for check in kinds for one in check(node, token)]
        is_well = bool(found) and all(one.is_healthy for one in found) and status.is_ready(nodes)
        if is_well or time.monotonic() > until:
            break
        time.sleep(1)
    if not found:
        raise UserError(f"The fleet {config.fleet} is not up. Start it: python scripts/serve_fleet.py up")
    print_health(found, as_json=args.json)
    return 0 if is_well else 1


def print_health(found: list[checks.Health], *, as_json: bool) -> None:
    """Print the health of each server and router."""
    if as_json:
        print(json.dumps([checks.to_json(one) for one in found], ensure_ascii=False, indent=1))
        return
    for one in found:
        passed = [name for name in ("answers", "lists", "generates") if getattr(one, name)]
        print(f"{one.server}: {'healthy' if one.is_healthy else one.problem} ({', '.join(passed) or 'nothing'})")


def check_smoke(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `smoke`."""
    token, is_well = read_token(config.token_env, config.host), True
    for node in find_nodes(config, args.node):
        for server in node.servers:
            if server.state not in ("ready", "wrong"):
                print(f"{node.node}/{server.number}: {server.state} {server.error}")
                is_well = False
                continue
            found = checks.check_smoke(node, server, token)
            is_well &= not found.problems
            print(f"{node.node}/{server.number}: {' '.join(found.problems) or 'every name acts for itself'}")
    return 0 if is_well else 1


def bring_down(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `down`."""
    down(config, args.node)
    return 0


def drain(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `drain`."""
    find_nodes(config, args.node)
    print(ask_supervisor(FleetPaths(config.fleet), args.node, {"drain": args.server}, timeout=10))
    return 0


def change_adapters(config: FleetConfig, args: argparse.Namespace) -> int:
    """Run `adapters add` or `adapters remove`, on every machine of the fleet; those with routers tell clients last."""
    nodes = [one.node for one in sorted(find_nodes(config, args.node), key=lambda node: bool(node.routers))]
    paths, seconds = FleetPaths(config.fleet), config.start_seconds + 60
    wish: dict[str, Any] = {"remove": args.name}
    if args.verb == "add":
        about = {"folder": str(args.folder.absolute()), "group": args.group or config.group_of(args.name)}
        try_everywhere(paths, nodes, {"try": args.name} | about, seconds)
        wish = {"add": args.name} | about
    for node in nodes:
        print(f"{node}: {ask_supervisor(paths, node, wish, seconds)}.")
    print(f"This lasts until the fleet ends. To keep it, change `adapters:` in {args.configfile}, too.")
    return 0


def try_everywhere(paths: FleetPaths, nodes: list[str], wish: dict[str, Any], seconds: float) -> None:
    """Have all machines prove an adapter before any tells clients of it. Raises UserError, and then none keeps it."""
    for place, node in enumerate(nodes):
        try:
            published = ask_supervisor(paths, node, wish, seconds)
        except UserError as error:
            for other in nodes[:place]:
                with suppress(UserError):  # it was served before, or its supervisor is gone
                    ask_supervisor(paths, other, {"give_up": published}, seconds)
            raise UserError(f"{node}: {error}") from error


def make_parser() -> StepParser:
    """Return the parser of all commands."""
    parser = StepParser(__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Any, name: str, text: str, within: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = within.add_parser(name, help=text, doc=text)
        made.add_argument("--configfile", type=Path, default=find_file("config/fleet.yaml"), help="default: the demo's")
        made.add_argument("--node", type=folder_name, default=name_node(), help="name of this machine in the fleet")
        made.set_defaults(run=run)
        return made

    one = command(bring_up, "up", "Start the fleet on this machine.")
    one.add_argument("--detach", action="store_true", help="in the background")
    one.add_argument("--no-router", action="store_true", help="only add servers to a fleet of another machine")
    one.add_argument("--host", help="address of this machine, instead of the config's")
    one = command(show_demo, "demo", "Build tiny models, start the fleet here, and show that each adapter acts.")
    one.add_argument("--check", action="store_true", help="end after that, with exit code 1 if something failed")
    one = command(show_status, "status", "Show what each server does.")
    one.add_argument("--json", action="store_true", help="for programs")
    one = command(check_health, "health", "Ask every server whether it answers, lists its models and generates.")
    one.add_argument("--json", action="store_true", help="for programs")
    one.add_argument("--wait", type=number(0, 1e6), default=0, metavar="SECONDS", help="until all are healthy")
    command(check_smoke, "smoke", "Prove that every adapter acts.")
    one = command(drain, "drain", "Let a server finish its work, and start it again.")
    one.add_argument("server", type=whole_number(0), help="its number on this machine")
    command(bring_down, "down", "End the fleet on this machine.")
    verbs = commands.add_parser(
        "adapters", help="Add, replace or remove an adapter.", doc="Add, replace or remove an adapter."
    ).add_subparsers(metavar="add|remove", required=True, dest="verb")
    one = command(change_adapters, "add", "Add an adapter, or a new version of one.", verbs)
    one.add_argument("name")
    one.add_argument("folder", type=Path)
    one.add_argument("--group")
    command(change_adapters, "remove", "Remove an adapter, or one version of it.", verbs).add_argument("name")
    return parser


def main() -> None:
    args = make_parser().parse_args()
    config = read_fleet_config(args.configfile)
    if getattr(args, "host", None):
        config = config.model_copy(update={"host": args.host})
    sys.exit(args.run(config, args))


if __name__ == "__main__":
    run_step(main)
