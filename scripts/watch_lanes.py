"""Show the progress of a run until it is over, on any machine that sees its folder.

    python scripts/watch_lanes.py results/demo

A terminal gets a table, redrawn every second; a pipe gets one line per minute (--every SECONDS). Start it before,
during or after the run. Ctrl-C ends only this program, with exit code 130. It writes nothing.
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
    text = "seconds between two lines if the output is not a terminal; at least 1"
    parser.add_argument("--every", type=seconds, default=60.0, metavar="SECONDS", help=text)
    args = parser.parse_args()
    check_run_folder(args.run_dir)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the terminal keeps the alternate screen
    console = Console()
    watch(args.run_dir, console, table=sys.stdout.isatty() and not console.is_dumb_terminal, every=args.every)


if __name__ == "__main__":
    run_step(main)
