"""Make a project to run the workflow in: links to the repository's code, its own config and small dataset."""

import copy
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq
import yaml
from PIL import Image

from editlane.core.schemas import RUN_COLUMNS

ROOT = Path(__file__).parents[2]
CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]


class Project:
    """Checkout of the code with its own config and dataset."""

    limits = ("--cores", "4")
    """Options of snakemake that limit its resources."""

    devices = ""
    """CUDA_VISIBLE_DEVICES of its lanes: names to lease, or empty for one slot per core."""

    def __init__(self, folder: Path) -> None:
        """Make a project in an empty folder, or reuse the one in the folder."""
        self.folder = folder
        self.config: dict[str, Any] = {
            "run": "试验",
            "dataset": {"path": "data/items.jsonl", "language": "zh", "categories": CATEGORIES},
            "lanes": 2,
            "editors": {"fake-a": {"adapter": "fake"}},
            "judges": {"judge": {"adapter": "fake", "params": {"batch_size": 2}}},
            "controls": {"share": 0, "repeats": 0, "canary": False},
            "preservation": False,
        }
        if not (folder / "config").exists():
            self._lay_out()

    def _lay_out(self) -> None:
        for name in ("workflow", "scripts", "envs"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "resources").mkdir()
        (self.folder / "resources/protocols").symlink_to(ROOT / "resources/protocols")
        (self.folder / "config").mkdir()
        self.write_items(range(20))

    def copy(self, folder: Path) -> Self:
        """Copy the project with its results."""
        shutil.copytree(self.folder, folder, symlinks=True)
        fresh = copy.deepcopy(self)
        fresh.folder = folder
        return fresh

    def write_items(self, numbers: Any) -> None:
        """Write a dataset of small photos. Item n depends only on n, not on the other items."""
        data = self.folder / "data"
        (data / "照片").mkdir(parents=True, exist_ok=True)
        with (data / "items.jsonl").open("w", encoding="utf-8") as file:
            for number in numbers:
                name = f"照片/图 {number % 7}.png"
                color = (number % 7 * 36, 120, 200 - number % 7 * 20)
                Image.new("RGB", (48 + number % 7, 40), color).save(data / name)
                record = {
                    "item_id": f"项目-{number:02}",
                    "category": CATEGORIES[number % 5],
                    "instruction": f"make it rain, number {number}",
                    "instruction_zh": f"让它下雨，第 {number} 次",
                    "image": name,
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.config["run"]

    def command(self, *arguments: str) -> list[str]:
        (self.folder / "config/config.yaml").write_text(yaml.safe_dump(self.config, allow_unicode=True))
        return [sys.executable, "-m", "snakemake", *self.limits, *arguments]

    def environment(self) -> dict[str, str]:
        leases = {"CUDA_VISIBLE_DEVICES": self.devices, "GPULEASE_DIR": str(self.folder / "leases")}
        own = str(Path(sys.executable).parent)  # not on PATH: cron and IDEs activate no environment
        path = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder != own]
        return os.environ | leases | {"PATH": os.pathsep.join(path)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the workflow in its own process group."""
        with (self.folder / "snakemake.log").open("a") as log:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.folder, env=self.environment(), text=True, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run the workflow and return its output. Fails the test on another exit code."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder, env=self.environment(), text=True, capture_output=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-6000:]
        return done.stdout + done.stderr

    def computed(self, stage: str) -> int:
        """Count the items that this stage ever finished, from the rows in its journal, including repeated ones."""
        files = (self.results / "journal" / stage).rglob("*.jsonl")
        return sum(line.startswith(b'{"key"') for path in files for line in path.read_bytes().splitlines())

    def scores(self) -> list[dict[str, Any]]:
        return pq.read_table(self.results / "scores.parquet").drop(RUN_COLUMNS).to_pylist()

    def report(self) -> dict[str, Any]:
        return json.loads((self.results / "report/report.json").read_text(encoding="utf-8"))


def watch_command(run_dir: Path, *arguments: str) -> list[str]:
    """Return the command that watches a run."""
    return [sys.executable, str(ROOT / "scripts/watch_lanes.py"), str(run_dir), *arguments]


def find_lanes(project: Project) -> list[int]:
    """Find the process ids of this project's lanes by their working folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                here = (entry / "cwd").resolve() == project.folder.resolve()
            except OSError:
                continue
            if here and b"_lane.py" in command and b"gpulease" not in command:
                found.append(int(entry.name))
    return found


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until a condition holds. Fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not hold within {seconds:g} s"
        time.sleep(0.02)
