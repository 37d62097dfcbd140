"""What happens around the models with a million items on 64 lanes: seconds, memory, files, and where it is not linear.

    python tests/bench/bench_scale.py [--items 1000000] [--lanes 64] [--keep FOLDER]

The workflow's own programs, each in a process of its own, with a hundredth, a tenth and all of the items. There are no
photos: one editor's journal is full, with a tiny image for each item of lane 0 and `edit_failed` for all others; the
lanes' tables are made up. "moved" is a lane that finds none of its items in its own journal file but all of them in
the others', as after a change of the number of lanes. Files come from the page cache.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from bench_statistics import CATEGORIES, SCRIPTS
from made_run import (
    EDITORS,
    FAKE,
    JUDGES,
    PROTOCOL,
    SEED,
    edits_paths,
    shard_paths,
    write_edit_journal,
    write_items,
    write_score_journal,
    write_tables,
)

from editlane.lanes.journal import Journal

ADAPTER = ["--adapter", "fake", "--params", "{}"]

Cost = tuple[float, float, float]
"""Seconds, seconds of CPU and peak memory (MB) of a program."""


def measured(*command: object) -> Cost:
    """A child's peak begins at its parent's memory, so the tables are made in processes of their own."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, command)], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed:\n{said}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, called in a process of its own, which does not wait for the disk."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_hasty, function, *arguments).result()


def _hasty(function: Callable[..., Any], *arguments: Any) -> Any:
    with mock.patch("os.fsync"):
        return function(*arguments)


def time_journal(run: Path) -> dict[str, float]:
    """Microseconds a record."""
    with Journal(run / "journal/edit" / EDITORS[0], "lane0") as journal:
        rows = dict(list(journal.finished.rows.items())[:1000])
    with tempfile.TemporaryDirectory(dir=run) as folder, Journal(Path(folder), "lane0") as journal:
        calls = {
            "begin": lambda key: journal.begin([key]),
            "finish": lambda key: journal.finish({key: rows[key]}),
        }
        costs = {}
        for name, call in calls.items():
            started = time.perf_counter()
            for key in rows:
                call(key)
            costs[name] = (time.perf_counter() - started) / len(rows) * 1e6
    return costs


def edit(run: Path) -> Cost:
    """Lane 0 again, with nothing left to do."""
    flags = ["--run-dir", run, "--editor", EDITORS[0], *ADAPTER, "--lane", 0, "--seed", SEED]
    return measured(SCRIPTS / "edit_lane.py", *flags, "--shards", *shard_paths(run, 0), "--edits", *edits_paths(run, 0))


def score(run: Path) -> Cost:
    """Lane 0 again, with nothing left to do."""
    flags = ["--run-dir", run, "--editors", EDITORS[0], "--judge", JUDGES[0], *ADAPTER, "--protocol", PROTOCOL]
    flags += ["--lane", 0, "--categories", *CATEGORIES, "--plan", run / "plan.parquet"]
    return measured(SCRIPTS / "score_lane.py", *flags)


def moved(folder: Path) -> None:
    """The rows of lane 0 were found by another lane."""
    (folder / "lane0.jsonl").rename(folder / "lane00.jsonl")


def collect(run: Path) -> Cost:
    judging = FAKE | {"protocol": str(PROTOCOL)}
    config = {"editors": {EDITORS[0]: FAKE}, "judges": {JUDGES[0]: judging}, "seed": SEED}
    config["controls"] = {"share": 0.1, "repeats": 0.1, "canary": False}
    flags = ["--run-dir", run, "--items", run / "items.parquet", "--plan", run / "plan.parquet"]
    flags += ["--out", run / "partial/scores.parquet", "--controls", run / "partial/controls.parquet"]
    return measured(SCRIPTS / "collect_scores.py", *flags, "--config", json.dumps(config))


def steps(run: Path, items: int, lanes: int) -> dict[str, Cost]:
    """The cost of each program, in the order of a run."""
    items_table, found = run / "items.parquet", {}
    apart(write_items, run, items)
    flags = ["--items", items_table, "--editors", *EDITORS, "--share", 0.1, "--repeats", 0.1, "--seed", SEED]
    plan = run / "plan.parquet"
    found["plan_controls"] = measured(SCRIPTS / "plan_controls.py", *flags, "--run-dir", run, "--out", plan)
    flags = ["--items", items_table, "--categories", *CATEGORIES, "--lanes", lanes, "--shards", run / "shards"]
    found["split_lanes"] = measured(SCRIPTS / "split_lanes.py", *flags)
    apart(write_edit_journal, run, lanes)
    found["edit_lane, all kept"] = edit(run)
    apart(write_score_journal, run, lanes)
    found["score_lane, all kept"] = score(run)
    if items <= 100_000:  # above it takes more memory than a small machine has
        found["collect_scores, 1 editor, 1 judge"] = collect(run)
    moved(run / "journal/edit" / EDITORS[0])
    found["edit_lane, moved"] = edit(run)
    moved(run / "journal/score" / EDITORS[0] / JUDGES[0])
    found["score_lane, moved"] = score(run)
    apart(write_tables, run, lanes)
    many, ids = ["--run-dir", run, "--lanes", lanes], ["--items", items_table]
    both = ["--editors", *EDITORS, "--judges", *JUDGES]
    out = ["--categories", *CATEGORIES, "--out", run / "scores.parquet"]
    found["merge_scores, 2 x 2"] = measured(SCRIPTS / "merge_scores.py", *many, *both, *ids, *out)
    out = ["--plan", plan, "--out", run / "controls.parquet"]
    found["merge_controls, 2 x 2"] = measured(SCRIPTS / "merge_controls.py", *many, *both, *out)
    out = ["--editors", *EDITORS, "--out", run / "preservation.parquet"]
    found["merge_preservation, 2"] = measured(SCRIPTS / "merge_preservation.py", *many, *ids, *out)
    return found


def print_files(run: Path) -> None:
    """How many files of which kind lie there, their bytes, and the folder with the most."""
    files = [path for path in run.rglob("*") if path.is_file()]
    count, size = Counter(path.suffix for path in files), Counter[str]()
    for path in files:
        size[path.suffix] += path.stat().st_size
    folder, most = Counter(path.parent for path in files).most_common(1)[0]
    print(", ".join(f"{count[suffix]:,} {suffix} ({size[suffix] / 1e6:,.0f} MB)" for suffix in sorted(count)))
    print(f"most files in one folder: {most:,} in {folder.relative_to(run)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--keep", type=Path, help="leave the runs in this folder")
    args = parser.parse_args()
    sizes = [args.items // 100, args.items // 10, args.items]
    with tempfile.TemporaryDirectory() as folder:
        runs = [(args.keep or Path(folder)) / str(size) for size in sizes]
        found = [steps(run, size, args.lanes) for run, size in zip(runs, sizes, strict=True)]
        print(f"{args.lanes} lanes; seconds, CPU seconds, MB" + "".join(f" | {size:,}" for size in sizes))
        for name in found[0]:
            cells = ("{:.1f}, {:.1f}, {:.0f}".format(*one[name]) if name in one else "" for one in found)
            print(" | ".join([name, *cells]), flush=True)
        for name, cost in time_journal(runs[-1]).items():
            print(f"journal, {name}: {cost:.0f} microseconds a record")
        print_files(runs[-1])


if __name__ == "__main__":
    main()
