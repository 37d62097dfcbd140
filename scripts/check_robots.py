"""Check this machine before robots play: packages, simulator, memory, ports, policy servers, videos, token.

    python scripts/check_robots.py --configfile config/robots.yaml

Run it in the folder that the servers run in. It begins one episode, which takes seconds, with LIBERO up to a minute.
Policy servers are asked what they serve, not for actions. It writes nothing.
Each line is `pass`, `warn` (it may not do what was intended) or `fail` (something is missing), with a remedy.
Exit codes: 0 nothing failed; 1 something failed; 2 the config or a flag is wrong.
"""

import sys
from pathlib import Path

from editlane.cli.flags import StepParser
from editlane.cli.step import run_step
from editlane.core.checkout import find_file
from editlane.core.findings import format_counts, format_findings, get_terminal_width, run_checks
from editlane.preflight.rollouts_config import read_rollouts_config
from editlane.rollouts.checks import ALL


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--configfile", type=Path, default=find_file("config/robots.yaml"), help="default: the demo's")
    args = parser.parse_args()
    findings = run_checks(ALL, read_rollouts_config(args.configfile))
    print(*format_findings(findings, get_terminal_width()), format_counts(findings), sep="\n")
    sys.exit(any(one.level == "fail" for one in findings))


if __name__ == "__main__":
    run_step(main)
