"""The run's configuration: checked against the schema and against what is on this machine, before anything runs."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from editlane.core.errors import UnknownName, UserError
from editlane.core.params import check_names_list
from editlane.datasets.prepare import check_categories
from editlane.datasets.public_formats import may_be_folder
from editlane.models.checkpoints import check_checkpoint
from editlane.models.registry import EDITORS, JUDGES, adapter_class, is_served, judge_on
from editlane.models.tiny import KINDS
from editlane.protocols.scoring import load_protocol

Config = dict[str, Any]

ENGINE_ENVS = {"openai": "envs/workflow.yaml", "transformers": "envs/qwen3.yaml", "vllm": "envs/qwen3-vllm.yaml"}
"""The environment of a judge that names none, by its engine."""

BUILT_MODELS = "resources/models/tiny-"
"""Models with this prefix are built by the workflow."""

RESERVED = frozenset(
    {
        "sources",
        "shards",
        "report",
        "partial_report",
        "logs",
        "benchmarks",
        "journal",
        "heartbeats",
        "costs.parquet",
        "items.parquet",
        "plan.parquet",
        "controls.parquet",
        "preservation.parquet",
        "scores.parquet",
    }
)
"""What a run keeps in its folder; an editor cannot have such a name."""


def check_config(config: Config, schema: Path) -> Config:
    """The configuration with defaults filled in and names in NFC. Raises UserError for the first thing wrong."""
    filled = _with_defaults(config, yaml.safe_load(schema.read_text(encoding="utf-8")))
    filled["dataset"]["categories"] = _categories(filled["dataset"]["categories"])
    if _has_edits(filled):
        filled.setdefault("editors", {"given": {"adapter": "given"} | _editor_defaults()})
    if "editors" not in filled:
        raise UserError(
            "config: `editors` is missing. Name at least one, or judge given edits with `dataset: {format: pairs}` or "
            f"`dataset: {{edited_dir: ...}}`. {_HELP}"
        )
    for name, judge in filled["judges"].items():
        _set_engine(name, judge)
    _check_files(filled)
    for kind, known in (("editor", EDITORS), ("judge", JUDGES)):
        for name, settings in filled[f"{kind}s"].items():
            _check_adapter(kind, name, settings, known)
    _check_names(filled)
    return filled


def check_keys_once(file: Path) -> None:
    """Raises UserError where a config file names a key twice in one place; YAML would take the last without a word."""
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (ValueError, yaml.YAMLError):
        return  # JSON that is no YAML
    seen: dict[int, yaml.Node] = {}  # an alias leads to a node that was seen, in the worst case to its parent
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen[id(node)] = node
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found: dict[str, int] = {}
        for key, _ in pairs:
            line = key.start_mark.line + 1
            if str(key.value) in found:
                where = f"in lines {found[str(key.value)]} and {line}"
                raise UserError(f"config: {file} has the key {key.value!r} twice, {where}. Keep one.")
            found[str(key.value)] = line
        waiting += [value for _, value in pairs]
        waiting += node.value if isinstance(node, yaml.SequenceNode) else []


def _has_edits(config: Config) -> bool:
    return config["dataset"]["format"] == "pairs" or config["dataset"]["edited_dir"] is not None


_HELP = "config/README.md describes every key."
_PATHS = "Paths are relative to the folder that snakemake runs in."


def _editor_defaults() -> Config:
    return {"model": None, "revision": None, "env": "envs/edit.yaml", "params": {}}


def _with_defaults(config: Config, schema: Config) -> Config:
    """Validate a copy of the config and set the defaults that the schema names."""
    validate_properties = Draft202012Validator.VALIDATORS["properties"]

    def fill(validator: Any, properties: Any, instance: Any, parent: Any) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for name, subschema in properties.items():
                if "default" in subschema:
                    instance.setdefault(name, _copy(subschema["default"]))
        yield from validate_properties(validator, properties, instance, parent)

    copy: Config = _copy(config)
    _check_values(copy)
    error = next(Draft202012Validator(schema).iter_errors(copy), None)
    if error is not None:
        raise UserError(_schema_message(error))
    filler = validators.extend(Draft202012Validator, {"properties": fill})  # type: ignore[no-untyped-call]
    for _ in filler(schema).iter_errors(copy):
        pass
    return copy


def _check_values(value: Any, where: str = "") -> None:
    """YAML knows .nan and .inf, which JSON Schema lets pass, and dates and sets, which no step can be told."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"config: at {where}: {value} is not a finite number. {_HELP}")
    if not isinstance(value, dict | list | str | int | float | None):
        raise UserError(f"config: at {where}: YAML reads {value} as a {type(value).__name__}; put it in quotes.")
    named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, entry in named:
        _check_values(entry, f"{where}.{name}" if where else str(name))


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(entry) for name, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value


def _schema_message(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties" and isinstance(error.schema, dict):
        known, found = error.schema["properties"], dict(error.instance)  # type: ignore[arg-type]
        unknown = next(str(name) for name in found if name not in known)
        return f"config: at {where}: {UnknownName('key', unknown, known)} {_HELP}"
    if error.validator == "pattern":
        use = "use letters, digits, . _ and -, beginning with a letter or a digit"
        return f"config: at {where}: {error.instance!r} cannot be a name; {use}."
    described = error.schema.get("description") if isinstance(error.schema, dict) else None
    hint = f" {' '.join(described.split())}" if described and error.absolute_path else ""
    return f"config: at {where}: {error.message}.{hint} {_HELP}"


def _categories(names: list[str]) -> list[str]:
    try:
        categories = check_categories(names)
    except UserError as error:
        raise UserError(f"config: dataset.categories: {error}") from error
    if len(categories) < len(names):
        raise UserError(f"config: dataset.categories names a category twice: {', '.join(names)}.")
    return list(categories)


def _check_files(config: Config) -> None:
    dataset = Path(config["dataset"]["path"])
    if not dataset.is_file() and not (dataset.is_dir() and may_be_folder(config["dataset"]["format"])):
        raise UserError(f"config: dataset.path is {dataset}, which is not a file. {_PATHS}")
    edited_dir = config["dataset"]["edited_dir"]
    if edited_dir is not None and not Path(edited_dir).is_dir():
        raise UserError(f"config: dataset.edited_dir is {edited_dir}, which is not a folder. {_PATHS}")
    for name, judge in config["judges"].items():
        try:
            protocol = load_protocol(Path(judge["protocol"]))
            protocol.check_categories(config["dataset"]["categories"])
            optional = judge["params"].get("optional_criteria", ())
            check_names_list("params: optional_criteria", optional)
            protocol.asked(optional)
        except UserError as error:
            raise UserError(f"config: judges.{name}: {error}") from error
        if not Path(judge["env"]).is_file():
            raise UserError(f"config: judges.{name}.env is {judge['env']}, which is not a file. {_PATHS}")
    for name, editor in config["editors"].items():
        if not Path(editor["env"]).is_file():
            raise UserError(f"config: editors.{name}.env is {editor['env']}, which is not a file. {_PATHS}")


def _set_engine(name: str, judge: Config) -> None:
    """From here on the adapter's name says which engine it runs on."""
    try:
        judge["adapter"] = judge_on(judge["adapter"], judge["engine"])
    except UserError as error:
        raise UserError(f"config: judges.{name}: {error}") from error
    judge["env"] = judge["env"] or ENGINE_ENVS[judge["engine"]]


def _check_adapter(kind: str, name: str, settings: Config, known: dict[str, str]) -> None:
    adapter = settings["adapter"]
    try:
        found = adapter_class(kind, adapter, known)
        found.check_params(settings["params"])
        if is_served(kind, found):
            _check_served(adapter, settings)
        else:
            _check_model(adapter, settings, found.NEEDS_MODEL)
    except UserError as error:
        raise UserError(f"config: {kind}s.{name}: {error}") from error


def _check_served(adapter: str, settings: Config) -> None:
    if not settings["model"]:
        raise UserError(f"adapter {adapter!r} needs a `model`: the name under which the endpoint serves it.")
    if settings["revision"]:
        raise UserError(f"adapter {adapter!r} takes no `revision`: the endpoint decides what it serves; leave it out.")


def _check_model(adapter: str, settings: Config, needs_model: bool) -> None:
    model = settings["model"]
    if model and not needs_model:
        raise UserError(f"adapter {adapter!r} has no model; leave `model` out.")
    if needs_model and not model:
        raise UserError(f"adapter {adapter!r} needs a `model`: a checkpoint folder or a hub id.")
    if settings["revision"] and not model:
        raise UserError("`revision` is a commit or tag of a `model`, and there is none; leave it out.")
    if model and model.startswith(BUILT_MODELS):
        if model.removeprefix(BUILT_MODELS) not in KINDS:
            raise UnknownName("model", model, [BUILT_MODELS + kind for kind in KINDS])
    elif model:
        check_checkpoint(model)


def _check_names(config: Config) -> None:
    taken = RESERVED & config["editors"].keys()
    if taken:
        raise UserError(f"config: an editor cannot be called {min(taken)!r}; the run keeps something else there.")
    given = [name for name, editor in config["editors"].items() if editor["adapter"] == "given"]
    if given and not _has_edits(config):
        raise UserError(
            f"config: editor {given[0]!r} has the adapter 'given', which needs `dataset: {{format: pairs}}` or "
            "`dataset: {edited_dir: ...}`."
        )
    if config["dataset"]["edited_dir"] is not None and not given:
        raise UserError(
            "config: dataset.edited_dir is set, but no editor has the adapter 'given', which takes the edits from "
            "there. Add one, leave `editors` out, or take edited_dir away."
        )
    baseline = config["report"]["baseline"]
    if baseline is not None and baseline not in config["editors"]:
        names = ", ".join(config["editors"])
        raise UserError(f"config: report.baseline is {baseline!r}, which is none of the editors: {names}.")
