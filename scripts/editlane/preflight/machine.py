"""This machine apart from its GPUs: Python, clock, locale, temporary folder, limits."""

import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from editlane.preflight.context import Setup
from editlane.preflight.findings import Finding, listed

SNAKEMAKE = (9, 0)
"""As the Snakefile asks for."""
OPEN_FILES = 1024
_AHEAD = 60
"""Seconds by which a file may be younger than the clock; network file systems have clocks of their own."""
_YEARS = range(2025, 2100)


def check_software(setup: Setup) -> Iterator[Finding]:
    """Linux, Python, Snakemake."""
    found = f"Python {platform.python_version()} on {platform.system()}"
    if sys.platform != "linux":
        yield Finding("fail", "software", f"{found}; leases and lanes need Linux", "Run it on Linux.")
        return
    try:
        snakemake = version("snakemake")
    except PackageNotFoundError:
        remedy = "Run this program with the Python that has snakemake."
        yield Finding("warn", "software", f"{found}, which has no Snakemake", remedy)
        return
    found += f", Snakemake {snakemake}"
    if tuple(int(part) for part in snakemake.split(".")[:2]) < SNAKEMAKE:
        remedy = "pip install --upgrade 'snakemake>=9'"
        yield Finding("fail", "software", f"{found}; the workflow needs 9.0 or newer", remedy)
    else:
        yield Finding("pass", "software", found)


def check_clock(setup: Setup) -> Iterator[Finding]:
    """The year is plausible, and no file is from the future: Snakemake compares times to see what is up to date."""
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    ahead = [path for path in _dated_files(setup) if path.exists() and path.stat().st_mtime > now + _AHEAD]
    if time.gmtime(now).tm_year not in _YEARS:
        yield Finding("warn", "clock", f"it is {shown} here, which is hardly true", "Set the clock (timedatectl).")
    elif ahead:
        text = f"it is {shown} here, and {listed([str(path) for path in ahead])} is from the future"
        remedy = "Set the clock, or `touch` these files; what depends on them would be made again each time."
        yield Finding("warn", "clock", text, remedy)
    else:
        yield Finding("pass", "clock", f"{shown}, no file is from the future")


def _dated_files(setup: Setup) -> list[Path]:
    """What Snakemake dates, and this file: a clock that is behind the program's own files is wrong."""
    tables = setup.paths.all_tables()
    return [Path(__file__), setup.config_file, Path(setup.config["dataset"]["path"]), *sorted(tables)]


def check_locale() -> Iterator[Finding]:
    """File names can be Chinese."""
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") != "utf8":
        text = f"file names are written in {encoding}, so categories such as \u7269\u7406 cannot name a folder"
        yield Finding("fail", "locale", text, "export LC_ALL=C.UTF-8, or PYTHONUTF8=1.")
    else:
        yield Finding("pass", "locale", "file names are UTF-8")


def check_temp(setup: Setup) -> Iterator[Finding]:
    """There is a temporary folder."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(2**20))
            file.flush()
    except OSError as error:
        text = f"no temporary folder can be written to ({error.strerror})"
        yield Finding("fail", "temp folder", text, "Set TMPDIR to a folder on this machine with some space.")
    else:
        yield Finding("pass", "temp folder", f"{tempfile.gettempdir()} can be written to")


def check_limits(setup: Setup) -> Iterator[Finding]:
    """Enough open files for the workflow and the loaders of a model."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    cores = len(os.sched_getaffinity(0))
    if 0 <= soft < OPEN_FILES:
        more = f"ulimit -n {OPEN_FILES if hard < 0 else min(hard, OPEN_FILES)}"
        yield Finding("warn", "limits", f"a process may open {soft} files only", f"Give more with `{more}`.")
    else:
        yield Finding("pass", "limits", f"{soft if soft >= 0 else 'any number of'} open files, {cores} cores")
