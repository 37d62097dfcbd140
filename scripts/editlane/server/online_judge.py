"""The judges of a server: for each its keys, its queue and its back-ends."""

import json
import os
import sys
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editlane.core.checkout import CHECKOUT, find_file
from editlane.core.errors import UserError
from editlane.core.types import RunsOn
from editlane.datasets.parsing import canonicalise
from editlane.lanes.gpu_lease import device_pool
from editlane.lanes.identity import model_options
from editlane.lanes.judging import JudgeSpec
from editlane.models.registry import check_params, find_adapter
from editlane.protocols.load import load_protocol
from editlane.protocols.protocol import ScoringProtocol
from editlane.server.backend import Backend, BackendState
from editlane.server.config import RewardConfig
from editlane.server.metrics import Metrics
from editlane.server.process import JudgeProcess
from editlane.server.remote import RemoteServer
from editlane.server.work_queue import Queue


@dataclass(frozen=True, slots=True)
class OnlineJudge:
    """A judge that requests can name."""

    name: str
    options: dict[str, Any]
    """Its adapter, model, revision and params."""
    spec: JudgeSpec
    queue: Queue
    backends: list[Backend]
    categories: list[str] | None
    """Categories that it judges; None for all, because its protocol asks the same about each."""

    @property
    def is_available(self) -> bool:
        """True if an edit that is put into its queue will be judged."""
        return any(backend.is_available for backend in self.backends)

    def count_idle(self) -> int:
        """Count the back-ends that are ready and have nothing to do."""
        return sum(backend.state == BackendState.READY and not backend.running for backend in self.backends)

    @property
    def was_ready(self) -> bool:
        """True if it has answered at least once."""
        return any(backend.was_ready for backend in self.backends)

    @property
    def is_local(self) -> bool:
        """True if all of its back-ends are workers of this server."""
        return all(isinstance(backend, JudgeProcess) for backend in self.backends)

    def find_refusal(self, category: str) -> str | None:
        """Return why this category cannot be judged; None if it can."""
        if self.categories is None or category in self.categories:
            return None
        return f"this category is not known here; there are {', '.join(self.categories)}"

    def describe(self) -> dict[str, Any]:
        """Return the provenance of its scores, without the addresses of servers."""
        found: dict[str, Any] = self.spec.describe(self.options)[self.name]
        hidden = ("base_url", "fleet", "proxy", "api_key_env")
        params = {name: value for name, value in found["params"].items() if name not in hidden}
        return found | {"texts_key": self.spec.texts_key, "params": params}


def make_judges(config: RewardConfig, folder: Path, queues: Mapping[str, Queue], metrics: Metrics) -> list[OnlineJudge]:
    """Make every judge of the config; nothing is started. Raises UserError."""
    resolved = {name: _name_version(judge.resolve()) for name, judge in config.judges.items()}
    counts = count_workers(config, {name: one["adapter"] for name, one in resolved.items()})
    threads = max(1, (os.cpu_count() or 1) // max(1, sum(counts.values())))
    made = []
    for name, settings in resolved.items():
        spec = JudgeSpec.of(folder, name, load_protocol(find_file(settings["protocol"])), model_options(settings))
        queue = queues[name]
        command = _make_command(name, settings, folder, config.limits.image_pixels)
        environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        backends: list[Backend] = [
            JudgeProcess(f"{name}-{number}", command, environment, spec.texts_key, queue, config.limits, metrics)
            for number in range(1, counts[name] + 1)
        ]
        backends += [
            RemoteServer(f"{name}@{number}", one, spec, queue, config.limits, metrics)
            for number, one in enumerate(config.backends, start=1)
        ]
        categories = list_categories(spec.protocol, config)
        judge = OnlineJudge(name, model_options(settings), spec, queue, backends, categories)
        for backend in backends:
            backend.count_idle = judge.count_idle
        made.append(judge)
    return made


def _name_version(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with a fleet's model by its published name, which the keys of this server's scores hold.

    So a worker that starts again asks for the same weights. Raises UserError.
    """
    adapter = find_adapter("judge", settings["adapter"])
    check_params("judge", settings["adapter"], settings["params"])
    if adapter.RUNS_ON == RunsOn.SERVER and settings["model"]:
        return settings | {"model": adapter.name_version(settings["model"], settings["params"])}
    return settings


def list_categories(protocol: ScoringProtocol, config: RewardConfig) -> list[str] | None:
    """Return the categories with a rubric of their own, and those of the config if there is a general rubric."""
    if not protocol.rubrics:
        return None
    further = [normalise_category(one, protocol, config) for one in config.categories]
    return list(dict.fromkeys([*protocol.rubrics, *(further if protocol.general_rubric else [])]))


def normalise_category(category: str, protocol: ScoringProtocol, config: RewardConfig) -> str:
    """Return the category as a run's would be named.

    English names of the default categories are translated, unless the protocol or the config has them.
    """
    name = unicodedata.normalize("NFC", category).strip()
    return name if name in protocol.rubrics or name in config.categories else canonicalise(name)


def count_workers(config: RewardConfig, adapters: Mapping[str, str]) -> dict[str, int]:
    """Return the number of processes of each judge. Raises UserError if there are fewer GPUs than judges.

    A judge behind an endpoint has one, which asks for many edits at once.
    """
    runs_on = {name: find_adapter("judge", one).RUNS_ON for name, one in adapters.items()}
    if config.workers is not None:
        most = {RunsOn.SERVER: 1}
        return {name: min(config.workers, most.get(place, config.workers)) for name, place in runs_on.items()}
    on_device = [name for name, place in runs_on.items() if place == RunsOn.DEVICE]
    pool = device_pool() if on_device else {}
    gpus = sum(value != "" for value in pool.values())
    if len(on_device) > len(pool):
        raise UserError(
            f"{len(on_device)} judges need a device each, and this machine offers {', '.join(pool)}. Leave judges out, "
            "set `workers: 0` and name `backends:`, or make more GPUs visible (CUDA_VISIBLE_DEVICES)."
        )
    shares = {name: gpus // len(on_device) + (place < gpus % len(on_device)) for place, name in enumerate(on_device)}
    return {name: max(1, shares.get(name, 1)) for name in adapters}


def _make_command(name: str, settings: Mapping[str, Any], folder: Path, max_pixels: int) -> list[str]:
    """Return the command of a worker, under the lease of a device if its judge has a model here."""
    scripts = CHECKOUT / "scripts"
    needs_device = find_adapter("judge", settings["adapter"]).RUNS_ON == RunsOn.DEVICE
    lease = [str(scripts / "gpulease.py"), "-n", str(int(needs_device)), "--with-parent", str(os.getpid()), "--"]
    flags = ["--run-dir", str(folder), "--judge", name, "--protocol", str(find_file(settings["protocol"]))]
    flags += ["--adapter", settings["adapter"], "--params", json.dumps(settings["params"], ensure_ascii=False)]
    for flag in ("model", "revision"):
        flags += [f"--{flag}", settings[flag]] if settings[flag] else []
    flags += ["--max-pixels", str(max_pixels)]
    return [sys.executable, *lease, sys.executable, str(scripts / "judge_worker.py"), *flags]
