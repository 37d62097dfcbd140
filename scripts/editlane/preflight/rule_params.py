"""Turn the config into the parameters of the workflow's rules."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from editlane.core.checkout import find_file
from editlane.core.errors import UserError
from editlane.core.paths import RunEntry, RunPaths
from editlane.core.types import RunsOn
from editlane.models.checkpoints import fingerprint_file
from editlane.models.registry import find_adapter, name_code_version
from editlane.models.tiny import BUILT_MODELS
from editlane.preflight.config import Config
from editlane.preflight.dataset_scan import find_edits_folders
from editlane.preflight.input_contents import FileDigests, find_annotations, find_images, hash_image
from editlane.protocols.answer_kind import find_answer_kind


class RuleParams:
    """Parameters from one config; `kind` is editor or judge, `name` the name in the config."""

    def __init__(self, config: Config, record_as: Callable[[str, str], str]) -> None:
        """Take Snakemake's function that flags a path, so that another one is recorded for it."""
        self._config, self._record_as = config, record_as
        self._digests = FileDigests()
        self._edits_folders = find_edits_folders(config)

    def get_settings(self, kind: str, name: str) -> dict[str, Any]:
        """Return the settings of an editor or a judge."""
        settings: dict[str, Any] = self._config[f"{kind}s"][name]
        return settings

    def make_model_flags(self, kind: str, name: str) -> list[str]:
        """Return the flags that tell a step which model to use.

        A fleet's model is named with its fingerprint, so that other weights rerun the rule, and all lanes of a run ask
        the same ones.
        """
        settings = self.get_settings(kind, name) | {"model": self._name_version(kind, name)}
        flags = ["--adapter", settings["adapter"], "--params", json.dumps(settings["params"], ensure_ascii=False)]
        for flag in ("model", "revision"):
            if settings[flag]:
                flags += [f"--{flag}", settings[flag]]
        return flags

    def _name_version(self, kind: str, name: str) -> Any:
        settings, adapter = self.get_settings(kind, name), self.get_adapter(kind, name)
        if adapter.RUNS_ON == RunsOn.SERVER:
            with suppress(UserError):  # the checks and the lane say what is wrong with a fleet
                return adapter.name_version(settings["model"], settings["params"])
        return settings["model"]

    def make_dataset_flags(self) -> list[str]:
        """Return the flags for the settings of the dataset that may be left out."""
        dataset = self._config["dataset"]
        flags = ["--edited-dir", dataset["edited_dir"]] if dataset["edited_dir"] else []
        if self._edits_folders:
            flags += ["--given", *(f"{name}={folder}" for name, folder in self._edits_folders.items())]
        flags += ["--limit", str(dataset["limit"])] if "limit" in dataset else []
        return flags + (["--samples", str(self._config["samples"])] if self._config["samples"] > 1 else [])

    def make_panel_flags(self) -> list[str]:
        """Return the flag for the panels of judges. Without any there is none, as in runs that recorded none."""
        panels = self._config["panels"]
        return ["--panels", json.dumps(panels, ensure_ascii=False)] if panels else []

    def make_report_flags(self) -> list[str]:
        """Return the flags for what a run may lack, so that one which lacks it records no more."""
        paths = RunPaths.of_run(self._config["run"])
        preservation = ["--preservation", str(paths / RunEntry.PRESERVATION)] if self._config["preservation"] else []
        votes = self._config["votes"]
        pairs = ["--pairs", str(paths.pairs)] if self._config["arena"] else []
        ratings = self._config["ratings"]
        people = [*(["--votes", votes] if votes else []), *(["--ratings", ratings] if ratings else [])]
        return [*preservation, *pairs, *people]

    def count_rounds(self) -> int:
        """Return the rounds of the arena: one if its pairs are chosen at once, none without an arena."""
        arena = self._config["arena"]
        return 0 if arena is None else arena["rounds"] if arena["method"] == "active" else 1

    def make_arena_flags(self) -> list[str]:
        """Return the flags that decide which pairs of edits are compared."""
        arena, controls = self._config["arena"], self._config["controls"]
        flags = ["--rounds", str(self.count_rounds()), "--share", str(controls["share"])]
        flags += ["--least", str(controls["least"]), "--seed", str(self._config["seed"])]
        return flags + (["--budget", str(arena["budget"])] if arena["budget"] is not None else [])

    def find_arena_protocol(self) -> str:
        """Return the protocol file of the arena, recorded like that of a judge."""
        return self._find_recorded(str(self._config["arena"]["protocol"]))

    def describe_arena_version(self, judge: str) -> str:
        """Return what decides a judge's comparisons: its version without its own protocol, and the arena's."""
        own, *files = self._describe_model("judge", judge)
        return " ".join([own, self._digests.hash_files([find_file(self._config["arena"]["protocol"])]), *files])

    def find_given(self, editor: str | None = None) -> str | list[str]:
        """Return the table of given edits if this editor, or without a name any editor, has a folder of them."""
        needed = editor in self._edits_folders if editor else self._edits_folders
        return str(RunPaths.of_run(self._config["run"]).given) if needed else []

    def get_adapter(self, kind: str, name: str) -> Any:
        """Return the adapter's class."""
        return find_adapter(kind, self.get_settings(kind, name)["adapter"])

    def describe_version(self, kind: str, name: str) -> str:
        """Return the version of the adapter's code, with a digest of the local files that the settings name.

        It is a param of the rule, so new code or another content of a file reruns the rule.
        """
        if kind != "judge":
            return " ".join(self._describe_model(kind, name))
        protocol = find_file(self.get_settings(kind, name)["protocol"])
        own, *files = self._describe_model(kind, name, generates=_generates(protocol))
        return " ".join([own, self._digests.hash_files([protocol]), *files])

    def _describe_model(self, kind: str, name: str, *, generates: bool = False) -> list[str]:
        """Return the version of the adapter's code, and the digests of checkpoint and LoRA.

        Models that the workflow builds are inputs of the rule instead.
        """
        settings = self.get_settings(kind, name)
        model = Path(settings["model"] or "")
        digests = [name_code_version(self.get_adapter(kind, name), generates=generates)]
        if settings["model"] and model.is_dir() and not self.find_built_model(kind, name):
            digests.append(self._digests.hash_folder(model, fingerprint_file))
        if files := self.get_adapter(kind, name).PARAMS.list_files(settings["params"]):
            digests.append(self._digests.hash_files(files, fingerprint_file))
        return digests

    def hash_dataset(self) -> str:
        """Return a digest of the dataset: its annotations, its images, and the folders of edits made elsewhere."""
        dataset = self._config["dataset"]
        digests = [self._digests.hash_files(find_annotations(dataset))]
        if not dataset["path"].startswith("resources/demo/"):  # whose photos the workflow itself extracts
            digests.append(self._digests.hash_files(find_images(dataset), hash_image))
        if dataset["edited_dir"]:
            digests.append(self._digests.hash_folder(Path(dataset["edited_dir"]), hash_image))
        digests += [self._digests.hash_folder(folder, hash_image) for folder in self._edits_folders.values()]
        return " ".join(digests)

    def count_gpus(self, kind: str, name: str) -> int:
        """Return how many GPUs a lane of this editor or judge holds: none if a server runs the model."""
        return 0 if self.get_adapter(kind, name).RUNS_ON == RunsOn.SERVER else 1

    def find_built_model(self, kind: str, name: str) -> str | list[str]:
        """Return the mark of the tiny model that the workflow builds for this editor or judge; [] if it is another."""
        model = self.get_settings(kind, name)["model"] or ""
        built = RunPaths.of_run(self._config["run"]).built(Path(model).name)
        return str(built) if model.startswith(BUILT_MODELS) else []

    def find_protocol(self, judge: str) -> str:
        """Return the protocol file of a judge.

        The checkout's own is recorded as the config names it, else a checkout in another place would rerun the rule.
        """
        return self._find_recorded(str(self.get_settings("judge", judge)["protocol"]))

    def _find_recorded(self, name: str) -> str:
        path = str(find_file(name))
        return name if path == str(Path(name)) else self._record_as(path, name)

    def find_env(self, kind: str, name: str) -> str:
        """Return the conda environment file."""
        return str(find_file(self.get_settings(kind, name)["env"]).resolve())


def _generates(protocol: Path) -> bool:
    """Return whether a protocol file has generated answers; False for one that cannot be read, as the checks say."""
    try:
        return find_answer_kind(protocol.read_text(encoding="utf-8")) == "generate"
    except (OSError, UnicodeDecodeError):
        return False
