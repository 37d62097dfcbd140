"""The names that all rules share; their logic is in scripts/editlane/preflight."""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir).parent / "scripts"))

from editlane.preflight.rule_params import RuleParams
from editlane.preflight.workflow_run import WorkflowRun, load_config

config = load_config(config, workflow)
PARAMS = RuleParams(config)
RUN = WorkflowRun(config, workflow)
EDITORS = list(config["editors"])
JUDGES = list(config["judges"])
CATEGORIES = config["dataset"]["categories"]
LANES = range(config["lanes"])
LANE_THREADS = RUN.count_lane_threads()
RESULTS = str(RUN.paths.run_dir)


pathvars:
    results=RESULTS,


wildcard_constraints:
    editor="|".join(map(re.escape, EDITORS)),
    judge="|".join(map(re.escape, JUDGES)),
    lane=r"\d+",


onstart:
    RUN.start()


onsuccess:
    RUN.succeed()


onerror:
    RUN.fail()
