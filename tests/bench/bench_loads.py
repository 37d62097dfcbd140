"""Count the loads of judges, and time a run, with one process per judge and lane and with one per editor, too.

    python tests/bench/bench_loads.py [--load 3] [--editors 4] [--judges 2] [--lanes 4] [--items 40] [--devices 2]

Two real Snakemake runs of the same items with the fake editor and the fake judge. `per editor` is the arrangement of
older versions: a rule of its own judges the edits of each editor in a process of its own.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2] / "scripts")]

from project import ROOT, Project  # noqa: E402 (found through the line above)

from editlane.core.paths import RunPaths  # noqa: E402
from editlane.lanes.lane_status import read_heartbeats  # noqa: E402

PER_EDITOR = f"""
include: "{ROOT}/workflow/Snakefile"


use rule score_lane as score_lane_of_editor with:
    input:
        edits=expand("<results>/{{{{editor}}}}/edits/{{category}}/lane{{{{lane}}}}.parquet", category=CATEGORIES),
        protocol=lambda wildcards: PARAMS.find_protocol(wildcards.judge),
        plan="<results>/plan.parquet",
    output:
        expand(
            "<results>/{{{{editor}}}}/scores/{{{{judge}}}}/{{category}}/lane{{{{lane}}}}.parquet", category=CATEGORIES
        ),
        "<results>/{{editor}}/controls/{{judge}}/lane{{lane}}.parquet",
    log:
        "<results>/logs/score_lane/{{editor}}/{{judge}}/lane{{lane}}.log",
    benchmark:
        "<results>/benchmarks/score_lane/{{editor}}/{{judge}}/lane{{lane}}.tsv"
    params:
        adapter=lambda wildcards: PARAMS.make_model_flags("judge", wildcards.judge),
        version=lambda wildcards: PARAMS.describe_version("judge", wildcards.judge),
        timeout=config["lane_timeout"],
        run_dir=subpath(input.plan, parent=True),
        editors=lambda wildcards: [wildcards.editor],
        categories=CATEGORIES,


ruleorder: score_lane_of_editor > score_lane
"""


class Measured(NamedTuple):
    """What one arrangement took."""

    editors: int
    """Loads of editors, as the next of judges."""
    judges: int
    wall: float
    """Seconds of the whole run."""
    again: list[float]
    """Seconds of each score lane when everything is in its journal."""


def run(folder: Path, args: argparse.Namespace, rule: str, *arguments: str) -> Measured:
    folder.mkdir()
    project = Project(folder)
    project.write_items(range(args.items))
    project.config["lanes"] = args.lanes
    project.devices = ",".join(f"bench-{place}" for place in range(args.devices))
    fake = {"adapter": "fake", "params": {"load_seconds": args.load, "seconds": 0.05}}
    project.config["editors"] = {f"editor-{place}": fake for place in range(args.editors)}
    project.config["judges"] = {f"judge-{place}": fake for place in range(args.judges)}
    (folder / "per_editor.smk").write_text(PER_EDITOR, encoding="utf-8")
    limits = ["--cores", str(args.devices), "--resources", f"gpu={args.devices}"]
    started = time.monotonic()
    project.run("merge_scores", *arguments, *limits)
    wall = time.monotonic() - started
    assert len(project.scores()) == args.items * args.editors * args.judges
    loads = [one.stage for one in read_heartbeats(RunPaths(project.results))]
    project.run("merge_scores", *arguments, *limits, "--forcerun", rule)
    assert len(read_heartbeats(RunPaths(project.results))) == len(loads), "nothing was loaded"
    times = sorted((project.results / "benchmarks/score_lane").rglob("*.tsv"))
    again = [float(path.read_text().splitlines()[1].split("\t")[0]) for path in times]
    return Measured(loads.count("edit"), loads.count("score"), wall, again)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=float, default=3.0, help="seconds to load a model")
    parser.add_argument("--editors", type=int, default=4)
    parser.add_argument("--judges", type=int, default=2)
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--devices", type=int, default=2, help="devices, each held by one lane at a time")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        before = run(Path(folder) / "before", args, "score_lane_of_editor", "--snakefile", "per_editor.smk")
        after = run(Path(folder) / "after", args, "score_lane")
    print(f"{args.editors} editors, {args.judges} judges, {args.lanes} lanes, {args.items} items,", end=" ")
    print(f"{args.devices} devices, {args.load:g} s to load a model")
    print("| judging in | loads of editors | loads of judges | wall, s | score lanes with nothing to do |")
    print("|---|---|---|---|---|")
    for name, one in (("a process per editor", before), ("one process", after)):
        nothing = f"{len(one.again)} x {sum(one.again) / len(one.again):.2f} s = {sum(one.again):.1f} s"
        print(f"| {name} | {one.editors} | {one.judges} | {one.wall:.1f} | {nothing} |")
    ratios = before.judges / after.judges, before.wall / after.wall, sum(before.again) / sum(after.again)
    print("ratio: {:.1f} times fewer loads, {:.2f} times faster, {:.1f} times less for nothing".format(*ratios))


if __name__ == "__main__":
    main()
