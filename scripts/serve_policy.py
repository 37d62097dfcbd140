"""Serve a policy for robots over openpi's WebSocket protocol.

    python scripts/serve_policy.py --policy reach --port 8000
    python scripts/serve_policy.py --policy transformers-pi0 --checkpoint checkpoints/pi0_libero

Policies: reach moves straight to the goal of the toy task; noise acts at random; expert solves LIBERO's pick-and-place
tasks from where the objects are; tiny-pi0 is the model pi0 of transformers, tiny and with random weights;
transformers-pi0 is that model with a checkpoint, and with the statistics that the checkpoint brings. Answers at the
printed address until SIGTERM or Ctrl-C, which finish the observation at hand. GET /healthz answers while it infers.

There is no token. With a --host other than this machine's, everyone who reaches it may ask.
Exit codes: 0 ended in good order; 2 a flag or the machine is wrong.
"""

import asyncio
from pathlib import Path

from editlane.cli.flags import StepParser, number, whole_number
from editlane.cli.step import run_step
from editlane.robots.policies import make_policy
from editlane.robots.policy_service import listen, run_service


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--policy", required=True, help="reach, noise, expert, tiny-pi0 or transformers-pi0")
    parser.add_argument("--checkpoint", type=Path, help="folder of a checkpoint of pi0, for transformers-pi0")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: only this machine")
    parser.add_argument("--port", type=whole_number(0, 65535), default=8000, help="default 8000; 0 is any free one")
    parser.add_argument("--delay", type=number(0, 3600), default=0.0, help="seconds that each observation takes longer")
    parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=0, help="of random weights and actions")
    args = parser.parse_args()
    policy = make_policy(args.policy, args.seed, args.delay, args.checkpoint)
    with listen(args.host, args.port) as listening:
        asyncio.run(run_service(policy, listening))


if __name__ == "__main__":
    run_step(main)
