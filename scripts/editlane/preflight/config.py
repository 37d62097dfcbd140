"""Check a run's config against its data models and the files on this machine, before anything runs."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import yaml

from editlane.core.checkout import find_dataset, find_file
from editlane.core.errors import UnknownName, UserError
from editlane.core.files import check_regular
from editlane.core.paths import RESERVED_EDITOR_NAMES
from editlane.core.strict_model import read_model
from editlane.core.types import RunsOn
from editlane.core.yaml_files import check_keys_once, read_content, read_yaml
from editlane.datasets.prepare import check_categories
from editlane.datasets.public_formats import may_be_folder
from editlane.judges.config import ENGINE_ENVS
from editlane.models.checkpoints import check_checkpoint
from editlane.models.registry import check_params, editor_on_engine, find_adapter, judge_on_engine
from editlane.models.tiny import BUILT_MODELS, KINDS
from editlane.models.weight_formats import check_formats
from editlane.preflight.arena import check_arena
from editlane.preflight.config_values import check_path, check_paths, check_places, check_values
from editlane.preflight.dataset_scan import find_edits_folders
from editlane.preflight.panels import check_panels
from editlane.preflight.run_config import EDITOR_ENV, EDITOR_ENVS, EditorConfig, RunConfig
from editlane.protocols.fitting import fit_protocol
from editlane.protocols.load import list_fitting, load_protocol
from editlane.protocols.protocol import ScoringProtocol
from editlane.ratings.tables import read_ratings
from editlane.ratings.votes import read_people

Config = dict[str, Any]


def read_config(path: Path) -> Config:
    """Read and check a config file. Raises UserError."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings; config/README.md describes them.")
    return check_config(content)


def check_config(config: Config) -> Config:
    """Return the config with defaults filled in and names in NFC. Raises UserError for the first mistake."""
    filled = _fill_defaults(config)
    check_paths(filled)
    if filled["dataset"]["limit"] is None:
        del filled["dataset"]["limit"]  # rules that recorded their params before there was a limit would run again
    filled["dataset"]["categories"] = _normalize_categories(filled["dataset"]["categories"])
    if _has_edits(filled):
        filled["editors"] = filled["editors"] or {"given": EditorConfig(adapter="given").model_dump()}
    if not filled["editors"]:
        raise UserError(
            "config: `editors` is missing. Name at least one, or judge given edits with `dataset: {format: pairs}` or "
            f"`dataset: {{edited_dir: ...}}`. {_HELP}"
        )
    _check_samples(filled)
    for name, editor in filled["editors"].items():
        _set_editor_engine(name, editor)
    for name, judge in filled["judges"].items():
        _set_engine(name, judge)
    _check_files(filled)
    for kind in ("editor", "judge"):
        for name, settings in filled[f"{kind}s"].items():
            check_adapter(kind, name, settings)
    _check_names(filled)
    check_panels(filled)
    check_arena(filled)
    return filled


def check_config_file(file: Path) -> None:
    """Check a file that Snakemake has read: that it is a regular one, and has no key twice. Raises UserError."""
    try:
        root = yaml.compose(read_content(file), Loader=yaml.SafeLoader)
    except (ValueError, RecursionError, yaml.YAMLError):
        return  # Snakemake also accepts JSON, which need not be valid YAML
    try:
        check_keys_once(root)
    except UserError as error:
        raise UserError(f"{file} cannot be read as YAML: {error}.") from error


def _has_edits(config: Config) -> bool:
    return config["dataset"]["format"] == "pairs" or config["dataset"]["edited_dir"] is not None


def _check_samples(config: Config) -> None:
    given = [name for name, one in config["editors"].items() if one["adapter"] == "given"]
    if config["samples"] > 1 and given:
        raise UserError(
            f"config: `samples` is {config['samples']}, but the edits of {given[0]!r} were made elsewhere, one for "
            "each item. Remove `samples`, or this editor."
        )


_HELP = "config/README.md describes every key."
_PATHS = "Paths are relative to the folder that snakemake runs in."


def _fill_defaults(config: Config) -> Config:
    """Check the config and return a copy with the defaults filled in.

    Values stay as written: Snakemake would take 1800.0 instead of 1800 for a changed parameter and rerun the rule.
    """
    check_values(config)
    try:
        checked = read_model(RunConfig, config, noun="key").model_dump()
    except UserError as error:
        raise UserError(f"config: {error} {_HELP}") from error
    return cast(Config, _merge(config, checked))


def _merge(given: Any, checked: Any) -> Any:
    if isinstance(given, dict) and isinstance(checked, dict):
        missing = {name: value for name, value in checked.items() if name not in given}
        return {name: _merge(value, checked.get(name)) for name, value in given.items()} | missing
    return copy.deepcopy(given)


def _normalize_categories(names: list[str]) -> list[str]:
    try:
        categories = check_categories(names)
    except UserError as error:
        raise UserError(f"config: dataset.categories: {error}") from error
    if len(categories) < len(names):
        raise UserError(f"config: dataset.categories names a category twice: {', '.join(names)}.")
    return list(categories)


def _check_files(config: Config) -> None:
    dataset = find_dataset(config["dataset"]["path"])
    try:
        check_regular(dataset)
    except UserError as error:
        raise UserError(f"config: dataset.path: {error}") from error
    if not dataset.is_file() and not (dataset.is_dir() and may_be_folder(config["dataset"]["format"])):
        raise UserError(f"config: dataset.path is {dataset}, which is not a file. {_PATHS}")
    edited_dir = config["dataset"]["edited_dir"]
    if edited_dir is not None and not Path(edited_dir).is_dir():
        raise UserError(f"config: dataset.edited_dir is {edited_dir}, which is not a folder. {_PATHS}")
    for key, read in (("ratings", read_ratings), ("votes", read_people)):
        if config[key] is not None:
            _check_people_file(key, Path(config[key]), read)
    for name, judge in config["judges"].items():
        try:
            protocol = load_protocol(find_file(judge["protocol"]))
            _check_rubrics(protocol, config["dataset"]["categories"])
            params = check_params("judge", judge["adapter"], judge["params"])
            protocol.select_criteria(params.optional_criteria)
            fit_protocol(protocol, params, find_adapter("judge", judge["adapter"]))
        except UserError as error:
            raise UserError(f"config: judges.{name}: {error}") from error
        if not find_file(judge["env"]).is_file():
            raise UserError(f"config: judges.{name}.env is {judge['env']}, which is not a file. {_PATHS}")
    for name, editor in config["editors"].items():
        if not find_file(editor["env"]).is_file():
            raise UserError(f"config: editors.{name}.env is {editor['env']}, which is not a file. {_PATHS}")
    check_places(settings["env"] for kind in ("editors", "judges") for settings in config[kind].values())


def _check_people_file(key: str, path: Path, read: Callable[[list[Path]], object]) -> None:
    """Read a file of ratings or votes, so that a mistake in it stops the run before it starts and not at its end."""
    if not path.exists() or path.is_dir():
        raise UserError(f"config: {key} is {path}, which is not a file. {_PATHS}")
    try:
        read([path])
    except UserError as error:
        raise UserError(f"config: {key}: {error}") from error


def _check_rubrics(protocol: ScoringProtocol, categories: list[str]) -> None:
    try:
        protocol.check_categories(categories)
    except UserError as error:
        raise UserError(f"{error} For all of them there are: {', '.join(list_fitting(categories))}.") from error


def _set_engine(name: str, judge: Config) -> None:
    """Make the engine part of the adapter's name, and fill in the default environment."""
    try:
        judge["adapter"] = judge_on_engine(judge["adapter"], judge["engine"])
    except UserError as error:
        raise UserError(f"config: judges.{name}: {error}") from error
    judge["env"] = judge["env"] or ENGINE_ENVS[judge["engine"]]


def _set_editor_engine(name: str, editor: Config) -> None:
    """Do the same for an editor."""
    try:
        editor["adapter"] = editor_on_engine(editor["adapter"], editor["engine"])
    except UserError as error:
        raise UserError(f"config: editors.{name}: {error}") from error
    editor["env"] = editor["env"] or EDITOR_ENVS.get(editor["adapter"], EDITOR_ENV)


def check_adapter(kind: str, name: str, settings: Config) -> None:
    adapter = settings["adapter"]
    try:
        runs_on = find_adapter(kind, adapter).RUNS_ON
        check_params(kind, adapter, settings["params"])
        if runs_on == RunsOn.SERVER:
            _check_served(adapter, settings)
        else:
            _check_model(adapter, settings, runs_on == RunsOn.DEVICE)
    except UserError as error:
        raise UserError(f"config: {kind}s.{name}: {error}") from error


def _check_served(adapter: str, settings: Config) -> None:
    if not settings["model"]:
        raise UserError(f"adapter {adapter!r} needs a `model`: the name under which the endpoint serves it.")
    if settings["revision"]:
        raise UserError(f"adapter {adapter!r} takes no `revision`: the endpoint chooses it. Remove it.")


def _check_model(adapter: str, settings: Config, needs_model: bool) -> None:
    model = settings["model"]
    if model and not needs_model:
        raise UserError(f"adapter {adapter!r} has no model. Remove `model`.")
    if needs_model and not model:
        raise UserError(f"adapter {adapter!r} needs a `model`: a checkpoint folder or a hub id.")
    if settings["revision"] and not model:
        raise UserError("`revision` needs a `model`, of which it is a commit or tag. Remove it, or add a model.")
    if model and model.startswith(BUILT_MODELS):
        if model.removeprefix(BUILT_MODELS) not in KINDS:
            raise UnknownName("model", model, [BUILT_MODELS + kind for kind in KINDS])
    elif model:
        check_checkpoint(model)
        check_formats(model, allow_pickle=settings["params"].get("allow_pickle") is True)


def _check_names(config: Config) -> None:
    taken = RESERVED_EDITOR_NAMES & config["editors"].keys()
    if taken:
        raise UserError(
            f"config: an editor cannot be called {min(taken)!r}: the run uses this name for its own files. Rename it."
        )
    folders = find_edits_folders(config)
    for name, folder in folders.items():
        check_path(f"editors.{name}.params.dir", str(folder))
        if not folder.is_dir():
            raise UserError(f"config: editors.{name}.params.dir is {folder}, which is not a folder. {_PATHS}")
    given = [name for name, one in config["editors"].items() if one["adapter"] == "given" and name not in folders]
    if given and not _has_edits(config):
        raise UserError(
            f"config: editor {given[0]!r} has the adapter 'given', which needs `dataset: {{format: pairs}}`, "
            "`dataset: {edited_dir: ...}` or a folder of its own, `params: {dir: ...}`."
        )
    if config["dataset"]["edited_dir"] is not None and not given:
        raise UserError(
            "config: dataset.edited_dir is set, but no editor has the adapter 'given' without `dir`, which reads them. "
            "Add one, remove `editors`, or remove edited_dir."
        )
    baseline = config["report"]["baseline"]
    if baseline is not None and baseline not in config["editors"]:
        names = ", ".join(config["editors"])
        raise UserError(f"config: report.baseline is {baseline!r}, which is none of the editors: {names}.")
