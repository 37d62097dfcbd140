"""Play episodes in a simulator for a robot's policy; not for use by hand: Editlane starts this program.

    python scripts/simulate_episodes.py libero

Runs in the simulator's own environment (envs/libero.yaml), with numpy, msgspec and that simulator. Reads frames from
standard input and writes frames to standard output (editlane/simulators/wire.py). Ends when standard input closes.
"""

import os
import sys

from editlane.simulators.worker import SIMULATORS, Pipes, serve


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in SIMULATORS:
        print(f"simulate_episodes: name one of {', '.join(SIMULATORS)}.", file=sys.stderr)
        sys.exit(2)
    code = serve(sys.argv[1], Pipes())
    sys.stderr.flush()
    os._exit(code)  # the destructors of renderers raise at a usual end


if __name__ == "__main__":
    main()
