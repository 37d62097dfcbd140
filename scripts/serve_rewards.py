"""Serve rewards for edits: the judges of a config, online, with the scores of the benchmark.

    python scripts/serve_rewards.py --configfile config/reward.yaml

Answers at the printed address until SIGTERM or Ctrl-C, which finish the work at hand; a second one ends at once.
config/rewards.md describes the config and the requests. Keeps scores, jobs and logs in results/servers/<server>/.
Exit codes: 0 ended in good order; 2 the config or the machine is wrong.
"""

from pathlib import Path

from editlane.cli.flags import StepParser, whole_number
from editlane.cli.step import run_step
from editlane.core.checkout import find_file
from editlane.preflight.reward_config import read_reward_config
from editlane.server.serve import serve


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--configfile", type=Path, default=find_file("config/reward.yaml"), help="default: the demo's")
    parser.add_argument("--port", type=whole_number(0, 65535), help="instead of the config's")
    args = parser.parse_args()
    config = read_reward_config(args.configfile)
    serve(config if args.port is None else config.model_copy(update={"port": args.port}))


if __name__ == "__main__":
    run_step(main)
