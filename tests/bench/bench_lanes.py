"""How much of the lanes' time is spent on items, beside a thread pool with barriers that does the same items.

    python tests/bench/bench_lanes.py [--items 270] [--lanes 6] [--json OUT]

A real Snakemake run with the fake editor and the fake judge, 50 to 150 ms an item and stage. Efficiency = sum of
item times / (lanes x wall), where wall is that of the slowest lane from its first item to its last; start-up is listed
apart. `even` is what lanes without any overhead would reach: the rest is items that happen to be slower in one lane.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2] / "scripts")]

from project import Project  # noqa: E402 (found through the line above)

SECONDS = {"edit": [0.05, 0.15], "score": [0.025, 0.075]}  # the judge is asked twice


def run_lanes(folder: Path, items: int, lanes: int) -> Project:
    project = Project(folder)
    project.write_items(range(items))
    project.config["lanes"] = lanes
    project.devices = ",".join(f"bench-{lane}" for lane in range(lanes))  # a device a lane; the fakes use none
    project.config["editors"]["fake-a"]["params"] = {"seconds": SECONDS["edit"]}
    project.config["judges"]["judge"]["params"] = {"seconds": SECONDS["score"], "batch_size": 2}
    project.run("--cores", str(lanes), "merge_scores")
    return project


def stamps(log: Path) -> list[float]:
    """Seconds of day of the lane's start of work and of every item's end."""
    text = log.read_text(encoding="utf-8")
    marks = re.findall(r"^(\d\d:\d\d:\d\d\.\d{3}) (?=.*(?:in the journal$| edited | score ))", text, re.MULTILINE)
    return [datetime.strptime(mark, "%H:%M:%S.%f").timestamp() for mark in marks]


def stage(project: Project, name: str, lanes: int) -> dict[str, Any]:
    logs = sorted((project.results / f"logs/{name}_lane").rglob("lane*.log"))
    walls = [marks[-1] - marks[0] for marks in map(stamps, logs)]
    folder = project.results / "fake-a" / ("edits" if name == "edit" else "scores/judge")
    column = f"{name}_seconds"
    busy = [
        sum(sum(pq.read_table(path)[column].to_pylist()) for path in folder.glob(f"*/lane{lane}.parquet"))
        for lane in range(lanes)
    ]
    times = (project.results / f"benchmarks/{name}_lane").rglob("*.tsv")
    whole = [float(path.read_text().splitlines()[1].split("\t")[0]) for path in times]
    return {
        "what": f"lanes, {name}",
        "items_s": sum(busy),
        "wall_s": max(walls),
        "efficiency": sum(busy) / (lanes * max(walls)),
        "even": sum(busy) / (lanes * max(busy)),
        "startup_s": sum(whole) / len(whole) - sum(walls) / len(walls),
    }


def with_barriers(what: str, seconds: Sequence[float], lanes: int) -> dict[str, Any]:
    """The common way: a pool that waits for all after every `lanes` items."""
    started = time.monotonic()
    with ThreadPoolExecutor(lanes) as pool:
        for first in range(0, len(seconds), lanes):
            list(pool.map(time.sleep, seconds[first : first + lanes]))
    wall = time.monotonic() - started
    row = {"what": what, "items_s": sum(seconds), "wall_s": wall, "efficiency": sum(seconds) / (lanes * wall)}
    return row | {"even": None, "startup_s": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=270)
    parser.add_argument("--lanes", type=int, default=6)
    parser.add_argument("--json", type=Path, help="write the table here, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = run_lanes(Path(folder), args.items, args.lanes)
        rows = [stage(project, name, args.lanes) for name in SECONDS]
        table = pq.read_table(project.results / "scores.parquet").to_pylist()
    rows += [
        with_barriers(f"barriers, {name}", [row[f"{name}_seconds"] for row in table], args.lanes) for name in SECONDS
    ]
    print(f"{args.items} items, {args.lanes} lanes")
    print(f"{'':16} {'items s':>8} {'wall s':>8} {'efficiency':>11} {'even':>6} {'start-up s':>11}")
    for row in rows:
        even = "" if row["even"] is None else f"{row['even']:.3f}"
        numbers = f"{row['items_s']:8.2f} {row['wall_s']:8.2f} {row['efficiency']:11.3f}"
        print(f"{row['what']:16} {numbers} {even:>6} {row['startup_s']:11.2f}")
    ratio = (rows[2]["wall_s"] + rows[3]["wall_s"]) / (rows[0]["wall_s"] + rows[1]["wall_s"])
    print(f"barriers / lanes, both stages: {ratio:.2f}")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "ratio": ratio}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
