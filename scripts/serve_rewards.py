"""Serve rewards: for edits the judges of a config, with the scores of the benchmark; for robots, roll-outs.

    python scripts/serve_rewards.py --configfile config/reward.yaml   # judges of edits; see config/rewards.md
    python scripts/serve_rewards.py --configfile config/robots.yaml   # robot roll-outs; see config/robots.md

Answers at the printed address until SIGTERM or Ctrl-C, which finish the work at hand; a second one ends at once.
Keeps results and logs in results/servers/<server>/.
Exit codes: 0 ended in good order; 2 the config or the machine is wrong.
"""

import subprocess
import sys
from pathlib import Path

from editlane.cli.flags import StepParser, folder_name, whole_number
from editlane.cli.step import run_step
from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.models.tiny import BUILT_MODELS
from editlane.preflight.reward_config import read_reward_config
from editlane.preflight.rollouts_config import is_of_rollouts, read_rollouts_config
from editlane.rollouts import app
from editlane.server.config import RewardConfig
from editlane.server.serve import serve


def build_tiny_models(config: RewardConfig) -> None:
    """Build the models that come with Editlane, in a process of its own: this one loads no model library."""
    program = Path(__file__).with_name("build_tiny_model.py")
    for judge in config.judges.values():
        if judge.model and judge.model.startswith(BUILT_MODELS):
            kind = judge.model.removeprefix(BUILT_MODELS)
            if subprocess.run([sys.executable, program, "--kind", kind, "--out", judge.model]).returncode:
                raise UserError(f"{judge.model} could not be built; the lines above say why.")


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--configfile", type=Path, default=find_file("config/reward.yaml"), help="default: the demo's")
    parser.add_argument("--server", type=folder_name, help="its name, instead of the config's")
    parser.add_argument("--port", type=whole_number(0, 65535), help="instead of the config's")
    args = parser.parse_args()
    given = {name: value for name in ("server", "port") if (value := getattr(args, name)) is not None}
    if is_of_rollouts(args.configfile):
        app.serve(read_rollouts_config(args.configfile).model_copy(update=given))
    else:
        config = read_reward_config(args.configfile)
        build_tiny_models(config)
        serve(config.model_copy(update=given))


if __name__ == "__main__":
    run_step(main)
