"""Play episodes in a simulator for a robot's policy; not for use by hand: Editlane starts this program.

    python scripts/simulate_episodes.py libero

Runs in the simulator's own environment (envs/libero.yaml), with numpy, msgspec and that simulator. Reads frames from
standard input and writes frames to standard output (editlane/simulators/wire.py). Ends when standard input closes.
"""

import argparse
import os
import sys

from editlane.simulators.worker import SIMULATORS, Pipes, serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("simulator", choices=SIMULATORS, help="what to play in")
    args = parser.parse_args()
    code = serve(args.simulator, Pipes())
    sys.stderr.flush()
    os._exit(code)  # the destructors of renderers raise at a usual end


if __name__ == "__main__":
    main()
