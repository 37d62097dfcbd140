"""What the heartbeat of a lane costs, as a share of an item's time.

    python tests/bench/bench_heartbeat.py [--json OUT]

First the price of one beat: held back (the file was written less than half a second ago) and written. Then lanes
that do nothing but beat and sleep: a quick judge (50 ms an item, begun and finished one by one) and a full-size editor
(17 s, 40 denoising steps). Share: seconds inside the heartbeat's calls / seconds of the lane; beside it that of the
processor's time, which other programs on the machine do not change.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.core.paths import LaneId, RunPaths
from editlane.lanes import heartbeat as module
from editlane.lanes.heartbeat import Heartbeat

TIMEOUT = 1800.0  # as the workflow's lanes have it


def one_beat(folder: Path, *, held_back: bool, rounds: int) -> float:
    """Seconds of one step's beat."""
    module.WRITTEN_EVERY, module.WRITTEN_AT_LEAST_EVERY = (1e9, 1e9) if held_back else (0.0, 0.0)
    with Heartbeat(RunPaths(folder), LaneId("edit", "e", None, 0), total=1, kept=0, timeout=TIMEOUT) as heart:
        heart.begin("item", "物理")
        started = time.perf_counter()
        for step in range(rounds):
            heart.step(step, rounds)
        return (time.perf_counter() - started) / rounds


class Timed:
    """A heartbeat whose calls are timed."""

    def __init__(self, heart: Heartbeat) -> None:
        self._heart = heart
        self.seconds = self.cpu = 0.0

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **options: Any) -> None:
            started, cpu = time.perf_counter(), time.thread_time()
            getattr(self._heart, name)(*args, **options)
            self.seconds += time.perf_counter() - started
            self.cpu += time.thread_time() - cpu

        return call


def lane(folder: Path, *, items: int, seconds: float, steps: int) -> dict[str, Any]:
    """A lane that beats and sleeps."""
    with Heartbeat(RunPaths(folder), LaneId("edit", "e", None, 1), total=items, kept=0, timeout=TIMEOUT) as heart:
        timed = Timed(heart)
        timed.loaded("cpu")
        started = time.perf_counter()
        for item in range(items):
            timed.begin(f"item-{item}", "物理")
            for step in range(steps):
                time.sleep(seconds / steps)
                timed.step(step + 1, steps)
            if not steps:
                time.sleep(seconds)
            timed.finished(1, seconds=seconds, state="edited")
        wall = time.perf_counter() - started
    shares = {"share": timed.seconds / wall, "cpu_share": timed.cpu / wall}
    return {"items": items, "per_item_s": timed.seconds / items} | shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the table here, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logging.basicConfig(filename=folder / "lane.log", level=logging.INFO)
        usual = module.WRITTEN_EVERY, module.WRITTEN_AT_LEAST_EVERY
        beats = {
            "held back": one_beat(folder, held_back=True, rounds=20_000),
            "written": one_beat(folder, held_back=False, rounds=1_000),
        }
        module.WRITTEN_EVERY, module.WRITTEN_AT_LEAST_EVERY = usual
        lanes = {
            "judge, 50 ms an item": lane(folder, items=200, seconds=0.05, steps=0),
            "editor, 17 s an item, 40 steps": lane(folder, items=1, seconds=17.0, steps=40),
        }
    for what, seconds in beats.items():
        print(f"one beat, {what:22} {seconds * 1e6:8.1f} us")
    print(f"{'':32} {'items':>6} {'ms an item':>11} {'share':>8} {'of which CPU':>13}")
    for what, row in lanes.items():
        print(
            f"{what:32} {row['items']:6} {row['per_item_s'] * 1e3:11.3f} {row['share']:8.3%} {row['cpu_share']:13.3%}"
        )
    if args.json:
        args.json.write_text(json.dumps({"beats": beats, "lanes": lanes}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
