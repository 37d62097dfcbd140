"""What all rules share: the checked config, its names as lists, and the lock of this run."""

import fcntl
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir).parent / "scripts"))

from editlane.config import BUILT_MODELS, check_config
from editlane.errors import UserError
from editlane.registry import EDITORS as EDITOR_ADAPTERS
from editlane.registry import JUDGES as JUDGE_ADAPTERS
from editlane.registry import adapter_class

try:
    config = check_config(config, Path(workflow.basedir) / "schemas/config.schema.yaml")
except UserError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

EDITORS = list(config["editors"])
JUDGES = list(config["judges"])
CATEGORIES = config["dataset"]["categories"]
LANES = range(config["lanes"])
LANE_THREADS = max(1, min(8, (workflow.cores or 8) // len(LANES)))


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


HELD_LOCKS = []
STARTED = time.time()


onstart:
    # Held until this process ends, however it ends. Two runs on one results folder would write the same tables.
    if set(workflow.dag_settings.targets) == {"partial_report"}:
        return  # reads only
    try:
        Path(RESULTS).mkdir(parents=True, exist_ok=True)
        run_lock = open(f"{RESULTS}/.lock", "w")
        HELD_LOCKS.append(run_lock)  # a closed file is an open lock
        fcntl.flock(run_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        reason = f"another workflow is running on {RESULTS}. Wait for it, stop it, or choose another `run:`."
    except OSError as error:
        reason = f"cannot write to {RESULTS}: {error.strerror}. Check the folder's rights and its disk."
    print(f"error: {reason}", file=sys.stderr)
    os._exit(2)


onerror:
    # What went wrong, once, as the last words.
    logs = [
        path
        for path in Path(RESULTS, "logs").rglob("*.log")
        if path.stat().st_mtime >= STARTED
    ]
    lines = (
        line
        for path in logs
        for line in path.read_text(errors="replace").splitlines()
    )
    for line in sorted({line for line in lines if line.startswith("error: ")}):
        print(line, file=sys.stderr)
