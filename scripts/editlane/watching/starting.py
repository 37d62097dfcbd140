"""Notice a workflow that has just been started and has not written anything yet."""

import os
import re
from itertools import pairwise
from pathlib import Path

WORKS_NOT = {"-n", "--dry-run", "--dryrun", "--unlock", "--lint", "--summary", "--dag", "--list-rules"}
"""Flags with which Snakemake runs no workflow."""

_RUN = re.compile(r"""^run:\s*["']?(?P<name>[^\s"'#]+)""", re.MULTILINE)

STARTING_SECONDS = 120.0
"""A workflow writes its record within this time. Snakemake reads the dataset and plans all jobs before that."""


def is_workflow_starting(run_dir: Path) -> bool:
    """Return whether a young Snakemake process of this machine is about to work on results/<run>.

    Processes of other users do not show their folders, and are not found.
    """
    project, run = run_dir.absolute().parent.parent.resolve(), run_dir.name
    return any(_is_starting(process, project, run) for process in Path("/proc").glob("[0-9]*"))


def _is_starting(process: Path, project: Path, run: str) -> bool:
    try:
        words = (process / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        if not any(word.endswith("snakemake") for word in words[:3]):  # `snakemake`, `python -m snakemake`
            return False
        if (process / "cwd").resolve() != project or WORKS_NOT & set(words):
            return False
        return _measure_age(process) < STARTING_SECONDS and _find_run(words, project) in (None, run)
    except (OSError, ValueError, IndexError):
        return False


def _find_run(words: list[str], project: Path) -> str | None:
    """Return the run of the config that a command names, or else of the project's own; None if it cannot be told."""
    for word in words:
        if word.startswith("run="):  # after --config
            return word.removeprefix("run=")
    named = [after for word, after in pairwise(words) if word in ("--configfile", "--configfiles")]
    named += [word.partition("=")[2] for word in words if word.startswith(("--configfile=", "--configfiles="))]
    file = project / (named[-1] if named else "config/config.yaml")
    found = _RUN.search(file.read_text(encoding="utf-8")) if file.is_file() else None
    return found["name"] if found else None


def _measure_age(process: Path) -> float:
    """Return the seconds since a process began: field 22 of its stat, in clock ticks after boot."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - began
