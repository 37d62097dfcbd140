"""Start the policy servers of robots: one per GPU, each with its own port.

    python scripts/serve_policies.py up          # until SIGTERM or Ctrl-C
    python scripts/serve_policies.py status      # what each server does
    python scripts/serve_policies.py down

They are started with the command in `policy: start:` of the config, and again when they end. Each command has its own
--help. config/robots.md describes the config. State and logs are in results/servers/<server>/policies/.
Exit codes: 0 ended in good order, or all is well; 1 a server is not ready; 2 the config or the machine is wrong, or
nothing is up.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from editlane.cli.flags import StepParser
from editlane.cli.step import run_step
from editlane.core.checkout import find_file
from editlane.preflight.rollouts_config import read_rollouts_config
from editlane.rollouts.config import RolloutsConfig
from editlane.rollouts.policy_servers import detach, down, up
from editlane.rollouts.policy_state import make_table, read_state


def bring_up(config: RolloutsConfig, args: argparse.Namespace) -> int:
    """Run `up`."""
    if args.detach:
        detach(config, [word for word in sys.argv if word != "--detach"])
    else:
        up(config)
    return 0


def show_status(config: RolloutsConfig, args: argparse.Namespace) -> int:
    """Run `status`."""
    state = read_state(config.server)
    if args.json:
        print(json.dumps(state.to_json(), ensure_ascii=False, indent=1))
    else:
        Console().print(*make_table(state), sep="\n")
    return 0 if state.is_ready else 1


def bring_down(config: RolloutsConfig, args: argparse.Namespace) -> int:
    """Run `down`."""
    down(config)
    return 0


def main() -> None:
    parser = StepParser(__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(run: Any, name: str, text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=text, doc=text)
        made.add_argument(
            "--configfile", type=Path, default=find_file("config/robots.yaml"), help="default: the demo's"
        )
        made.set_defaults(run=run)
        return made

    one = command(bring_up, "up", "Start the policy servers of this machine.")
    one.add_argument("--detach", action="store_true", help="in the background")
    one = command(show_status, "status", "Show what each server does.")
    one.add_argument("--json", action="store_true", help="for programs")
    command(bring_down, "down", "End them, and wait until they are gone.")
    args = parser.parse_args()
    sys.exit(args.run(read_rollouts_config(args.configfile), args))


if __name__ == "__main__":
    run_step(main)
