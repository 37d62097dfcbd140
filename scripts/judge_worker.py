"""Judge edits for a reward server, which starts this program; not for use by hand.

    python scripts/gpulease.py -- python scripts/judge_worker.py --run-dir results/servers/demo --judge fake \\
        --adapter fake --protocol resources/protocols/rubric.yaml

Reads frames from standard input and writes frames to standard output; see editlane/server/worker.py.
"""

import gc
import signal
from pathlib import Path

from editlane.cli.flags import StepParser, folder_name, input_folder, whole_number
from editlane.cli.model_flags import add_model_flags, read_model_flags
from editlane.cli.step import run_step
from editlane.core.errors import UserError, one_line
from editlane.core.paths import SCORE, LaneId, RunPaths
from editlane.core.types import RunsOn
from editlane.lanes.budget import count_requests
from editlane.lanes.gpu_strikes import HeldDevices
from editlane.lanes.judging import JudgeSpec
from editlane.models import registry
from editlane.protocols.scoring import load_protocol
from editlane.server.worker import Wire, Worker


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--run-dir", type=input_folder, required=True, help="results/servers/<server>")
    parser.add_argument("--judge", type=folder_name, required=True, help="the judge's name in the config")
    parser.add_argument("--protocol", type=Path, required=True, help="a file of resources/protocols")
    parser.add_argument("--max-pixels", type=whole_number(1), default=25_000_000, help="width x height of an image")
    add_model_flags(parser)
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # launchers signal every process of a job; the server ends its workers
    wire = Wire()
    wire.send("hello")
    devices = HeldDevices.from_environment()
    devices.mark_unproven()  # a GPU on which judges die before they answer is left out, as for lanes
    gc.disable()  # a model library's objects all stay; looking for garbage among them delays the start
    try:
        options = read_model_flags(args)
        spec = JudgeSpec.of(args.run_dir, args.judge, load_protocol(args.protocol), options)
        judge = registry.build("judge", **options)
        count_requests(judge, RunPaths(args.run_dir), LaneId(SCORE, None, args.judge, 0))
        worker = Worker(spec, judge, wire, args.max_pixels)
        worker.warm_up()
    except UserError as error:
        devices.mark_blameless()
        is_served = registry.find_adapter("judge", args.adapter).RUNS_ON == RunsOn.SERVER
        wire.send("fatal", error=one_line(error), may_pass=is_served)  # an endpoint may answer later
        raise
    devices.mark_working()
    gc.enable()
    worker.serve()


if __name__ == "__main__":
    run_step(main)
