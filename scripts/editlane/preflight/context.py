"""Input of the checks: the checked config, the machine's GPUs and the options of the run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from editlane.core import tables
from editlane.core.paths import RunPaths
from editlane.core.types import RunsOn
from editlane.models.checkpoints import is_randomly_initialised
from editlane.models.registry import find_adapter
from editlane.models.tiny import BUILT_MODELS
from editlane.models.weight_files import find_checkpoint
from editlane.preflight.config import Config
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
        """Class of the adapter."""
        return find_adapter(self.kind, self.settings["adapter"])

    @property
    def needs_model(self) -> bool:
        return bool(self.adapter.RUNS_ON == RunsOn.DEVICE)

    @property
    def is_served(self) -> bool:
        """True if a server has the model, so that its lanes hold no device."""
        return bool(self.adapter.RUNS_ON == RunsOn.SERVER)

    @property
    def model(self) -> str:
        return self.settings["model"] or ""

    @property
    def is_built(self) -> bool:
        """True for a tiny random model, which the workflow builds itself."""
        return self.model.startswith(BUILT_MODELS)

    @property
    def is_trained(self) -> bool:
        """True for a real model; False for a fake or a randomly initialised one."""
        return self.needs_model and not self.is_built and not is_randomly_initialised(self.model)

    def find_folder(self) -> Path | None:
        """Return the checkpoint folder, or the cached snapshot of a hub id. None if this machine has neither."""
        return find_checkpoint(self.model, self.settings["revision"])

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A run that is about to start. Paths are relative to the folder that snakemake runs in."""

    config: Config
    """Result of `check_config`."""
    config_files: Sequence[Path]
    devices: Devices
    gpu_limit: int | None = None
    """Value of `--resources gpu=`."""
    conda: bool = False
    """True if it runs with `--sdm conda`."""
    count_all: bool = False
    """True to read the dataset to its end, however long it takes."""
    look_at_images: bool = True
    """False to read the dataset's records alone."""

    @property
    def run_dir(self) -> Path:
        return self.paths.run_dir

    @property
    def paths(self) -> RunPaths:
        return RunPaths.of_run(str(self.config["run"]))

    @cached_property
    def is_prepared(self) -> bool:
        """True if the run has the items of this config, and not those with another `limit` or number of `samples`."""
        table = self.paths.items
        if not table.is_file():
            return False
        made = tables.read_provenance(table)
        return bool(made.get("limit") == self.limit and made.get("samples", 1) == self.config["samples"])

    @property
    def limit(self) -> int | None:
        """Number of items of each category; None for all."""
        limit: int | None = self.config["dataset"].get("limit")
        return limit

    @cached_property
    def scan(self) -> Scan:
        """Contents of the dataset, read once."""
        return scan_dataset(self.config, whole=self.count_all, images=self.look_at_images)

    @property
    def parts(self) -> list[Part]:
        """Editors, then judges."""
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
        """Number of lanes that can run at once: one per GPU, or one per core without a GPU."""
        found = len(self.devices.gpus) or len(os.sched_getaffinity(0))
        return min(found, self.gpu_limit) if self.gpu_limit else found

    @property
    def lanes_at_once(self) -> int:
        return max(1, min(self.slots, int(self.config["lanes"]) * len(self.editors)))
