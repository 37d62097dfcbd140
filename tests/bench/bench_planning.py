"""What Snakemake itself costs as the lanes grow: jobs, files, seconds, memory. Nothing of the workflow runs.

    python tests/bench/bench_planning.py [--lanes 8 64]

Two editors, two judges, five categories. `to plan` is a dry run with everything to do, `nothing to do` one on a
finished run, whose files are empty here.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2] / "scripts")]

from project import Project  # noqa: E402 (found through the line above)

from editlane.core import schemas, tables  # noqa: E402


def measured(project: Project, *arguments: str) -> tuple[str, str]:
    """What Snakemake says, and seconds, CPU seconds and peak memory (MB)."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            project.command(*arguments), cwd=project.folder, env=project.environment(), stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        text = said.read()
    if status:
        sys.exit(text[-3000:])
    cost = (time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)
    return text, "{:.1f}, {:.1f}, {:.0f}".format(*cost)


def plan(folder: Path, lanes: int) -> str:
    folder.mkdir()
    project = Project(folder)
    project.config |= {
        "lanes": lanes,
        "editors": {name: {"adapter": "fake"} for name in ("editor-a", "editor-b")},
        "judges": {name: {"adapter": "fake"} for name in ("judge-a", "judge-b")},
        "controls": {"canary": False},
        "preservation": True,
    }
    text, planned = measured(project, "--dry-run", "--quiet", "rules")
    found = re.search(r"^total\s+(\d+)$", text, re.MULTILINE)
    jobs = int(found[1]) if found else 0
    summary, _ = measured(project, "--summary")
    files = [line.split("\t")[0] for line in summary.splitlines() if line.startswith("results/")]
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    tables.write_table(project.results / "items.parquet", [], schemas.ITEMS)
    measured(project, "--touch", "--quiet")
    text, nothing = measured(project, "--dry-run")
    assert "Nothing to be done" in text, text
    return f"{lanes} lanes | {jobs:,} | {len(files):,} | {planned} | {nothing}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, nargs="+", default=[8, 64])
    args = parser.parse_args()
    print("seconds, CPU seconds, MB | jobs | files | to plan | nothing to do")
    with tempfile.TemporaryDirectory() as folder:
        for lanes in args.lanes:
            print(plan(Path(folder) / str(lanes), lanes), flush=True)


if __name__ == "__main__":
    main()
