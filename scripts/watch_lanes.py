"""Show what the lanes of a run are doing, until it is over; from any machine that sees the folder.

    python scripts/watch_lanes.py results/demo

In a terminal a table, redrawn every second; in a pipe one line a minute (--every SECONDS). Begin before the run, beside
it or after it; Ctrl-C ends the watching (exit code 130) and nothing else. Reads, and writes nothing.
"""

import signal
import sys
from pathlib import Path

from rich.console import Console

from editlane.cli.flags import StepParser, seconds
from editlane.cli.step import run_step
from editlane.watching.live import check_run_folder, watch


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="results/<run>")
    text = "seconds between two lines where the output is no terminal; 1 at least"
    parser.add_argument("--every", type=seconds, default=60.0, metavar="SECONDS", help=text)
    args = parser.parse_args()
    check_run_folder(args.run_dir)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the terminal gets its screen back
    console = Console()
    watch(args.run_dir, console, table=sys.stdout.isatty() and not console.is_dumb_terminal, every=args.every)


if __name__ == "__main__":
    run_step(main)
