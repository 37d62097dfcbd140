"""List the checks and run those that every workflow starts with."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from editlane.core.findings import Finding, format_findings, run_checks
from editlane.preflight.architectures import check_architectures
from editlane.preflight.config import Config
from editlane.preflight.context import RunContext
from editlane.preflight.control_counts import check_controls
from editlane.preflight.dataset import check_dataset, check_edits, check_prompts
from editlane.preflight.devices import Devices, find_devices
from editlane.preflight.endpoints import check_endpoints
from editlane.preflight.estimate.disk import check_disk
from editlane.preflight.folders import check_leases, check_results
from editlane.preflight.gpus import check_gpus, check_lanes
from editlane.preflight.machine import check_clock, check_limits, check_software, check_temp
from editlane.preflight.memory import check_memory
from editlane.preflight.models import check_models
from editlane.preflight.packages import check_missing_packages, check_packages
from editlane.preflight.pictures import check_pictures

Checks = dict[str, Callable[[RunContext], Iterable[Finding]]]

ALL: Checks = {
    "software": check_software,
    "clock": check_clock,
    "temp folder": check_temp,
    "limits": check_limits,
    "GPUs": check_gpus,
    "lanes": check_lanes,
    "leases": check_leases,
    "memory": check_memory,
    "models": check_models,
    "architecture": check_architectures,
    "endpoints": check_endpoints,
    "packages": check_packages,
    "dataset": check_dataset,
    "edits": check_edits,
    "prompts": check_prompts,
    "controls": check_controls,
    "pictures": check_pictures,
    "results": check_results,
    "disk": lambda context: check_disk(context, context.scan),
}

EVERYWHERE: Checks = {
    "clock": check_clock,
    "temp folder": check_temp,
    "edits": check_edits,
    "disk": lambda context: check_disk(context, None),
    "controls": check_controls,
}
"""Checks at the start of every workflow, wherever its jobs run.

The config and the prompts were checked before. A job checks the dataset; here only given edits are compared with it.
"""

ON_THIS_MACHINE: Checks = {
    "limits": check_limits,
    "GPUs": check_gpus,
    "lanes": check_lanes,
    "leases": check_leases,
    "memory": check_memory,
    "models": check_models,
    "architecture": check_architectures,
    "endpoints": check_endpoints,
    "packages": check_missing_packages,
}
"""Additional checks if lanes run on the same machine as the workflow."""


def check_start(
    config: Config, config_files: Iterable[str], *, gpu_limit: int | None, with_conda: bool, lanes_here: bool
) -> bool:
    """Run the checks at the start of a workflow. Return False on a failure.

    Warnings, failures and the number of controls are printed to stderr.
    """
    context = RunContext(
        config=config,
        config_files=list(map(Path, config_files)),
        devices=find_devices() if lanes_here else Devices(),
        gpu_limit=gpu_limit,
        conda=with_conda,
        look_at_images=False,
    )
    checks = EVERYWHERE | ON_THIS_MACHINE if lanes_here else EVERYWHERE
    findings = run_checks(checks, context, broken="warn")
    told = [one for one in findings if one.level != "pass"]
    told += [replace(one, level="note") for one in findings if one.level == "pass" and one.what == "controls"]
    _print(told)
    return all(one.level != "fail" for one in findings)


def warn_of_lost_pictures(config: Config, config_files: Iterable[str]) -> None:
    """Print a warning if pictures of the run are lost. `check_start` is not called where nothing is to be done."""
    files = list(map(Path, config_files))
    context = RunContext(config=config, config_files=files, devices=Devices(), look_at_images=False)
    findings = run_checks({"pictures": check_pictures}, context, broken="warn")
    _print([one for one in findings if one.level != "pass"])


def _print(findings: Sequence[Finding]) -> None:
    for line in format_findings(findings, width=None):
        print(line, file=sys.stderr)
