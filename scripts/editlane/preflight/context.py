"""What the checks look at: the checked config, and what is known about the machine's GPUs."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from editlane.core.paths import RunPaths
from editlane.core.types import RunsOn
from editlane.models.checkpoints import is_randomly_initialised
from editlane.models.registry import find_adapter
from editlane.models.weight_files import find_checkpoint
from editlane.preflight.config import BUILT_MODELS, Config
from editlane.preflight.dataset_scan import Scan, scan_dataset
from editlane.preflight.devices import Devices


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An editor or a judge of the config."""

    kind: str
    """editor or judge."""
    name: str
    settings: dict[str, Any]

    @property
    def adapter(self) -> Any:
        """The adapter's class."""
        return find_adapter(self.kind, self.settings["adapter"])

    @property
    def needs_model(self) -> bool:
        return bool(self.adapter.RUNS_ON == RunsOn.DEVICE)

    @property
    def model(self) -> str:
        return self.settings["model"] or ""

    @property
    def is_built(self) -> bool:
        """Whether the workflow builds this model itself: tiny and random."""
        return self.model.startswith(BUILT_MODELS)

    @property
    def is_serious(self) -> bool:
        """Whether its results are meant to mean something."""
        return self.needs_model and not self.is_built and not is_randomly_initialised(self.model)

    def folder(self) -> Path | None:
        """Where the checkpoint lies on this machine, if it does: the folder, or the snapshot of a hub id."""
        return find_checkpoint(self.model, self.settings["revision"])

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The run that is about to start, from the folder that snakemake runs in."""

    config: Config
    """As `check_config` returns it."""
    config_file: Path
    devices: Devices
    gpu_limit: int | None = None
    """What `--resources gpu=` says."""
    conda: bool = False
    """Whether it will run with `--sdm conda`."""
    patient: bool = False
    """Whether all items are to be counted, however long that takes."""

    @property
    def run_dir(self) -> Path:
        return Path("results") / str(self.config["run"])

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.run_dir)

    @cached_property
    def scan(self) -> Scan:
        """The dataset, read once."""
        return scan_dataset(self.config["dataset"], whole=self.patient)

    @property
    def parts(self) -> list[Part]:
        """The editors, then the judges."""
        return [
            Part(kind=kind, name=name, settings=settings)
            for kind in ("editor", "judge")
            for name, settings in self.config[f"{kind}s"].items()
        ]

    @property
    def editors(self) -> list[Part]:
        return [part for part in self.parts if part.kind == "editor"]

    @property
    def judges(self) -> list[Part]:
        return [part for part in self.parts if part.kind == "judge"]

    @property
    def slots(self) -> int:
        """How many lanes can run at once: one a GPU, or one a core where there is no GPU."""
        found = len(self.devices.gpus) or len(os.sched_getaffinity(0))
        return min(found, self.gpu_limit) if self.gpu_limit else found

    @property
    def lanes_at_once(self) -> int:
        return max(1, min(self.slots, int(self.config["lanes"]) * len(self.editors)))
