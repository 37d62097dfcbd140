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
        version=lambda wildcards: PARAMS.get_adapter_version("judge", wildcards.judge),
        timeout=config["lane_timeout"],
        run_dir=subpath(input.plan, parent=True),
        editors=lambda wildcards: [wildcards.editor],
        categories=CATEGORIES,


ruleorder: score_lane_of_editor > score_lane
"""


def run(folder: Path, args: argparse.Namespace, *arguments: str) -> tuple[int, int, float]:
    """Return the loads of editors and of judges, and the wall time in seconds."""
    folder.mkdir()
    project = Project(folder)
    project.write_items(range(args.items))
    project.config["lanes"] = args.lanes
    project.devices = ",".join(f"bench-{place}" for place in range(args.devices))
    fake = {"adapter": "fake", "params": {"load_seconds": args.load, "seconds": 0.05}}
    project.config["editors"] = {f"editor-{place}": fake for place in range(args.editors)}
    project.config["judges"] = {f"judge-{place}": fake for place in range(args.judges)}
    (folder / "per_editor.smk").write_text(PER_EDITOR, encoding="utf-8")
    started = time.monotonic()
    project.run("--cores", str(args.devices), "--resources", f"gpu={args.devices}", *arguments, "merge_scores")
    wall = time.monotonic() - started
    stages = [one.stage for one in read_heartbeats(RunPaths(project.results))]
    rows = len(project.scores())
    assert rows == args.items * args.editors * args.judges, rows
    return stages.count("edit"), stages.count("score"), wall


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
        before = run(Path(folder) / "before", args, "--snakefile", "per_editor.smk")
        after = run(Path(folder) / "after", args)
    print(f"{args.editors} editors, {args.judges} judges, {args.lanes} lanes, {args.items} items,", end=" ")
    print(f"{args.devices} devices, {args.load:g} s to load a model")
    print("| judging in | loads of editors | loads of judges | wall, s |")
    print("|---|---|---|---|")
    for name, (editors, judges, wall) in (("a process per editor", before), ("one process", after)):
        print(f"| {name} | {editors} | {judges} | {wall:.1f} |")
    print(f"ratio: {before[1] / after[1]:.1f} times fewer loads, {before[2] / after[2]:.2f} times faster")


if __name__ == "__main__":
    main()
