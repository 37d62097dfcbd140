"""Notice a workflow that has just been started and has not written anything yet."""

import os
from pathlib import Path

STARTING_SECONDS = 120.0
"""A workflow writes its record within this time. Snakemake reads the dataset and plans all jobs before that."""


def is_workflow_starting(run_dir: Path) -> bool:
    """Return whether a young Snakemake process of this machine works in the folder that holds results/<run>.

    Processes of other users do not show their folders, and are not found.
    """
    project = run_dir.absolute().parent.parent.resolve()
    return any(_is_starting(process, project) for process in Path("/proc").glob("[0-9]*"))


def _is_starting(process: Path, project: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        if not any(word.endswith(b"snakemake") for word in words[:3]):  # `snakemake`, `python -m snakemake`
            return False
        return (process / "cwd").resolve() == project and _measure_age(process) < STARTING_SECONDS
    except (OSError, ValueError, IndexError):
        return False


def _measure_age(process: Path) -> float:
    """Return the seconds since a process began: field 22 of its stat, in clock ticks after boot."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - began
