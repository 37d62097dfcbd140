"""The names that all rules share; their logic is in scripts/editlane/preflight.

Rules with `localrule` run where snakemake runs: they take seconds, and a job of a cluster takes its queue.
"""

import json
import os
import re
import sys
from pathlib import Path

from snakemake.io import sourcecache_entry

if not isinstance(workflow.current_basedir, os.PathLike):
    print(
        "error: Editlane cannot be used from a remote repository, because its programs are files beside its Snakefile. "
        "Clone the repository, and name the clone's workflow/Snakefile after `snakefile:`.",
        file=sys.stderr,
    )
    sys.exit(2)
sys.path.insert(0, str(Path(workflow.current_basedir).parents[1] / "scripts"))

from editlane.core.checkout import CHECKOUT
from editlane.preflight.rule_params import RuleParams
from editlane.preflight.workflow_run import (
    WorkflowRun,
    check_places,
    find_config,
    load_config,
)


class shell(shell):
    """Snakemake's shell for the rules of this workflow, and not for those of a workflow that uses it as a module."""


# One config, never a mixture: that of `--configfile`, or else the working directory's, or else the demo's.
if not workflow.configfiles:

    configfile: find_config()


config = load_config(config, workflow)
PARAMS = RuleParams(config, sourcecache_entry)
RUN = WorkflowRun(config, workflow)
RUN.forget_lost_folders()
RUN.compare_with_records()
RUN.check_pictures()
RUN.answer_if_up_to_date()
EDITORS = list(config["editors"])
JUDGES = list(config["judges"])
CATEGORIES = config["dataset"]["categories"]
LANES = range(config["lanes"])
COMPARING = config["arena"]["judges"] if config["arena"] else []
ROUNDS = range(1, PARAMS.count_rounds() + 1)
LANE_THREADS = RUN.count_lane_threads()
RESULTS = str(RUN.paths.run_dir)
LISTS_TO_COPY = [
    name
    for name in ("demo", "canary")
    if not Path(f"resources/{name}/items.jsonl").exists()
]


# `python scripts/...` runs the checkout's program, wherever the working directory is. The rules do not name the
# checkout, because Snakemake would run finished jobs again if their commands changed. Where no conda environment or
# container brings a Python, it is the one that runs Snakemake, although its environment may not be activated. In
# EDITLANE_RUN_DIR a command leaves its errors and warnings for the end of the workflow.
PYTHON_FOLDER = Path(sys.executable).parent
shell.prefix(
    "set -euo pipefail; export EDITLANE_RUN_DIR={RESULTS:q}; "
    + (
        ""
        if workflow.deployment_settings.deployment_method
        else 'export PATH={PYTHON_FOLDER:q}:"$PATH"; '
    )
    + "python() {{ "
    'for word; do case "$word" in scripts/*.py) word={CHECKOUT:q}/"$word";; esac; set -- "$@" "$word"; shift; done; '
    'command python "$@"; }}; '
)


pathvars:
    results=RESULTS,


check_places(workflow, RESULTS)


wildcard_constraints:
    editor="|".join(map(re.escape, EDITORS)),
    judge="|".join(map(re.escape, JUDGES)),
    lane=r"\d+",
    round=r"\d+",


onstart:
    RUN.start()


onsuccess:
    RUN.succeed()


onerror:
    RUN.fail()
