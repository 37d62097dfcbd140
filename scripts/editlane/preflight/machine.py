"""Check everything of this machine but its GPUs: Python, clock, locale, temporary folder, limits."""

import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from editlane.core.checkout import find_dataset
from editlane.core.findings import Finding, join_names
from editlane.preflight.context import RunContext

SNAKEMAKE = (9, 0)
"""Oldest version that the Snakefile accepts."""
OPEN_FILES = 1024
_CLOCK_SKEW = 60
"""Seconds by which a file may be ahead of the clock: network file systems have their own clocks."""
_YEARS = range(2025, 2100)


def check_software(context: RunContext) -> Iterator[Finding]:
    """Check the operating system, Python and Snakemake."""
    found = f"Python {platform.python_version()} on {platform.system()}"
    if sys.platform != "linux":
        yield Finding("fail", "software", f"{found}; leases and lanes need Linux", "Run it on Linux.")
        return
    try:
        snakemake = version("snakemake")
    except PackageNotFoundError:
        remedy = "Run this program with the Python that has Snakemake."
        yield Finding("warn", "software", f"{found}, which has no Snakemake", remedy)
        return
    found += f", Snakemake {snakemake}"
    if tuple(int(part) for part in snakemake.split(".")[:2]) < SNAKEMAKE:
        remedy = "pip install --upgrade 'snakemake>=9'"
        yield Finding("fail", "software", f"{found}; the workflow needs 9.0 or newer", remedy)
    else:
        yield Finding("pass", "software", found)


def check_clock(context: RunContext) -> Iterator[Finding]:
    """Check that the year is plausible and no file is dated in the future.

    Snakemake compares modification times to decide which files are up to date.
    """
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    ahead = [path for path in _list_dated_files(context) if path.exists() and path.stat().st_mtime > now + _CLOCK_SKEW]
    if time.gmtime(now).tm_year not in _YEARS:
        yield Finding("warn", "clock", f"the clock shows {shown}, which is implausible", "Set the clock (timedatectl).")
    elif ahead:
        text = f"the clock shows {shown}; dated later: {join_names([str(path) for path in ahead])}"
        remedy = "Set the clock, or `touch` these files; else every run remakes the files that depend on them."
        yield Finding("warn", "clock", text, remedy)
    else:
        yield Finding("pass", "clock", f"{shown}, no file is dated in the future")


def _list_dated_files(context: RunContext) -> list[Path]:
    """List the files that Snakemake compares, and this module: a clock behind the program's own files is wrong."""
    tables = context.paths.sample_tables()
    return [Path(__file__), *context.config_files, find_dataset(context.config["dataset"]["path"]), *sorted(tables)]


def check_locale() -> Iterator[Finding]:
    """Check that file names can be Chinese."""
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") != "utf8":
        text = f"file names are encoded as {encoding}, so categories such as \u7269\u7406 cannot name a folder"
        yield Finding("fail", "locale", text, "Run `export LC_ALL=C.UTF-8` or `export PYTHONUTF8=1`.")
    else:
        yield Finding("pass", "locale", "file names are UTF-8")


def check_temp(context: RunContext) -> Iterator[Finding]:
    """Check that the temporary folder can be written."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(2**20))
            file.flush()
    except OSError as error:
        text = f"the temporary folder cannot be written ({error.strerror})"
        yield Finding("fail", "temp folder", text, "Set TMPDIR to a folder on this machine with some space.")
    else:
        yield Finding("pass", "temp folder", f"{tempfile.gettempdir()} can be written")


def check_limits(context: RunContext) -> Iterator[Finding]:
    """Check that enough files may be open for the workflow and for loading a model."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cores = len(os.sched_getaffinity(0))
    if 0 <= soft < OPEN_FILES:
        more = f"ulimit -n {OPEN_FILES if hard < 0 else min(hard, OPEN_FILES)}"
        yield Finding("warn", "limits", f"a process may open only {soft} files", f"Raise the limit with `{more}`.")
    else:
        yield Finding("pass", "limits", f"{soft if soft >= 0 else 'any number of'} open files, {cores} cores")
