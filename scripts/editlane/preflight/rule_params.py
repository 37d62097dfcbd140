"""The parameters that the workflow's rules take from the config."""

import json
from pathlib import Path
from typing import Any

from editlane.core.types import RunsOn
from editlane.models.registry import find_adapter
from editlane.preflight.config import BUILT_MODELS, Config


class RuleParams:
    """The parameters of one config; `kind` is editor or judge, `name` the name in the config."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def settings(self, kind: str, name: str) -> dict[str, Any]:
        """Return the settings of an editor or a judge."""
        settings: dict[str, Any] = self._config[f"{kind}s"][name]
        return settings

    def model_flags(self, kind: str, name: str) -> list[str]:
        """Return the flags that tell a step which model to use."""
        settings = self.settings(kind, name)
        flags = ["--adapter", settings["adapter"], "--params", json.dumps(settings["params"], ensure_ascii=False)]
        for flag in ("model", "revision"):
            if settings[flag]:
                flags += [f"--{flag}", settings[flag]]
        return flags

    def adapter(self, kind: str, name: str) -> Any:
        """Return the adapter's class."""
        return find_adapter(kind, self.settings(kind, name)["adapter"])

    def adapter_version(self, kind: str, name: str) -> str:
        """Return the version of the adapter's code. As a param of its rule, a new version reruns the rule."""
        return str(self.adapter(kind, name).VERSION)

    def gpus(self, judge: str) -> int:
        """Return how many GPUs a lane of this judge holds: none if a server runs the model."""
        return 0 if self.adapter("judge", judge).RUNS_ON == RunsOn.SERVER else 1

    def built_model(self, kind: str, name: str) -> str | list[str]:
        """Return the tiny model that the workflow builds for this editor or judge; an empty list if it is another."""
        model = self.settings(kind, name)["model"] or ""
        return model if model.startswith(BUILT_MODELS) else []

    def env(self, kind: str, name: str) -> str:
        """Return the conda environment file."""
        return str(Path(self.settings(kind, name)["env"]).resolve())
