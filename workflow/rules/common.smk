"""What all rules share: the checked config, its names as lists, and the lock of this run."""

import atexit
import errno
import fcntl
import json
import logging
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir).parent / "scripts"))

from editlane.watching import log_errors
from editlane.preflight.config import BUILT_MODELS, check_config, check_keys_once
from editlane.core.errors import UserError
from editlane.models.registry import EDITORS as EDITOR_ADAPTERS
from editlane.models.registry import JUDGES as JUDGE_ADAPTERS
from editlane.models.registry import adapter_class, is_served
from editlane.watching.workflow_record import Plan, lane_key
from editlane.watching.terminal import Terminal

try:
    for file in workflow.configfiles:
        check_keys_once(Path(file))
    config = check_config(config, Path(workflow.basedir) / "schemas/config.schema.yaml")
    if os.path.exists(".snakemake") and not os.access(".snakemake", os.W_OK):
        # Snakemake itself would stumble there, before `onstart`.
        raise UserError(
            f"cannot write to {os.path.abspath('.snakemake')}, where Snakemake keeps its notes. "
            "Check the folder's rights, and that its disk is mounted for writing."
        )
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

EDITORS = list(config["editors"])
JUDGES = list(config["judges"])
CATEGORIES = config["dataset"]["categories"]
LANES = range(config["lanes"])
# The cores given to this run, shared by its lanes; where the cluster gives each lane its own, 8.
LANE_CORES = (workflow.resource_settings.cores or 8 * len(LANES)) // len(LANES)
LANE_THREADS = max(1, min(8, LANE_CORES))


RESULTS = f"results/{config['run']}"


pathvars:
    results=RESULTS,


wildcard_constraints:
    editor="|".join(map(re.escape, EDITORS)),
    judge="|".join(map(re.escape, JUDGES)),
    lane=r"\d+",


def adapter_flags(kind, name):
    """The flags of a step that say which model to use."""
    settings = config[kind][name]
    flags = [
        "--adapter",
        settings["adapter"],
        "--params",
        json.dumps(settings["params"], ensure_ascii=False),
    ]
    for flag in ("model", "revision"):
        if settings[flag]:
            flags += [f"--{flag}", settings[flag]]
    return flags


def devices_for_judge(name):
    """How many GPUs a lane of this judge holds: none where a server has the model."""
    adapter = config["judges"][name]["adapter"]
    served = is_served("judge", adapter_class("judge", adapter, JUDGE_ADAPTERS))
    return 0 if served else 1


def adapter_version(kind, name):
    """The version of an adapter's code: a param of its rule, so that a new one reruns it."""
    known = EDITOR_ADAPTERS if kind == "editors" else JUDGE_ADAPTERS
    return adapter_class(kind, config[kind][name]["adapter"], known).VERSION


def built_model(kind, name):
    """The tiny model that the workflow builds for this editor or judge, if it is one of those."""
    model = config[kind][name]["model"] or ""
    return model if model.startswith(BUILT_MODELS) else []


def env_of(kind, name):
    """The conda environment file of this editor or judge."""
    return str(Path(config[kind][name]["env"]).resolve())


def scores_of_all_lanes():
    """The scores tables of a complete run."""
    pattern = f"{RESULTS}/{{editor}}/scores/{{judge}}/{{category}}/lane{{lane}}.parquet"
    return expand(
        pattern, editor=EDITORS, judge=JUDGES, category=CATEGORIES, lane=LANES
    )


def may_start():
    """Check what the jobs will need before there is any; prints what is wrong or doubtful."""
    from editlane.preflight.checks import check_start

    gpus = workflow.global_resources.get("gpu")
    methods = workflow.deployment_settings.deployment_method
    to_do = {job.rule.name for job in workflow.dag.needrun_jobs()}
    return check_start(
        config,
        workflow.configfiles[0],
        gpu_limit=gpus.value if gpus else None,
        with_conda="CONDA" in {method.name for method in methods},
        lanes_here=workflow.local_exec and bool(to_do & {"edit_lane", "score_lane"}),
    )


def lanes_up_to_date():
    """The lanes that have nothing to do in this run, as the watchers name them."""
    stages = {"edit_lane": "edit", "score_lane": "score"}
    due = set(workflow.dag.needrun_jobs())
    for job in workflow.dag.jobs:
        if job.rule.name in stages and job not in due:
            names = job.wildcards
            judge = getattr(names, "judge", None)
            yield lane_key(stages[job.rule.name], names.editor, judge, int(names.lane))


def take_lock(file):
    """Raises BlockingIOError where another workflow has it. Some shared file systems know no locks: a warning."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
        advice = "make sure that no other workflow runs on it"
        print(f"warning: {RESULTS} has no file locks; {advice}", file=sys.stderr)


def date_back():
    """Tables from the future, as after the clock was set back, are from now: else Snakemake refuses what follows them.
    Their order stays."""
    written = {path: path.stat().st_mtime for path in Path(RESULTS).rglob("*.parquet")}
    for path in sorted(written, key=written.get):
        if written[path] > STARTED + 1:
            os.utime(path)


def tell_errors():
    """What went wrong, once, as the last words; also where Snakemake itself stumbles, as it does on a full disk."""
    atexit.unregister(tell_errors)
    TERMINAL.end("failed")
    run = Path(RESULTS), STARTED
    for line in log_errors.warnings(*run) + last_words.errors(*run):
        print(line, file=sys.stderr)


# A log file that cannot be written is not worth a traceback for every line.
logging.raiseExceptions = False
HELD_LOCKS = []
STARTED = time.time()
TERMINAL = Terminal(
    Path(RESULTS),
    Plan(editors=EDITORS, judges=JUDGES, categories=CATEGORIES, lanes=len(LANES)),
    workflow.output_settings,
)


onstart:
    # Held until this process ends, however it ends. Two runs on one results folder would write the same tables.
    if set(workflow.dag_settings.targets) == {"partial_report"}:
        return  # reads only
    try:
        Path(RESULTS).mkdir(parents=True, exist_ok=True)
        run_lock = open(f"{RESULTS}/.lock", "w")
        HELD_LOCKS.append(run_lock)  # a closed file is an open lock
        take_lock(run_lock)
        if not may_start():
            os._exit(2)
        date_back()
        TERMINAL.start(lanes_up_to_date())
        atexit.register(tell_errors)
        return
    except BlockingIOError:
        reason = f"another workflow is running on {RESULTS}. Wait for it, stop it, or choose another `run:`."
    except OSError as error:
        reason = f"cannot write to {RESULTS}: {error.strerror}. Check the folder's rights and its disk."
    print(f"error: {reason}", file=sys.stderr)
    os._exit(2)


onerror:
    tell_errors()
