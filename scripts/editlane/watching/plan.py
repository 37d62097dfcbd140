"""What a workflow means to do, and whether it still runs: results/<run>/heartbeats/workflow.json."""

import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(slots=True, kw_only=True)
class Plan:
    """The names are the config's. `time` is Unix time and moves while the workflow lives; nobody compares it."""

    editors: list[str]
    judges: list[str]
    categories: list[str]
    lanes: int
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    phase: str = "running"
    """running, done or failed. A killed workflow stays at running."""
    time: float = 0.0

    def write(self, run_dir: Path) -> None:
        """Replace the file. Raises OSError; the folder `heartbeats` must be there."""
        self.time = time.time()
        path = _path(run_dir)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(asdict(self), ensure_ascii=False), encoding="utf-8")
        os.replace(partial, path)


def read_plan(run_dir: Path) -> Plan | None:
    """The plan of the workflow that last began; None where there is none that this version understands."""
    try:
        written = json.loads(_path(run_dir).read_text(encoding="utf-8"))
        plan = Plan(**{each.name: written[each.name] for each in fields(Plan)})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    lists: list[Any] = [plan.editors, plan.judges, plan.categories]
    names = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
    numbers = all(isinstance(number, int) and number >= 0 for number in (plan.lanes, plan.pid))
    texts = all(isinstance(text, str) for text in (plan.host, plan.phase))
    return plan if names and numbers and texts else None


def _path(run_dir: Path) -> Path:
    return run_dir / "heartbeats/workflow.json"
