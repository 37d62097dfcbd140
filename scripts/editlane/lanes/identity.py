"""Build the part of the journal key that names an editor or a judge, and its provenance."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from editlane import __version__
from editlane.core.types import RunsOn
from editlane.images.files import PREPROCESSING
from editlane.lanes.editing import EditorSpec
from editlane.lanes.journal import content_key
from editlane.lanes.judging import JudgeSpec
from editlane.models.checkpoints import fingerprint_model, is_randomly_initialised
from editlane.models.registry import check_params, find_adapter
from editlane.protocols.controls import SAMPLES
from editlane.protocols.scoring import ScoringProtocol

PACKAGES = (
    "torch",
    "transformers",
    "vllm",
    "torchvision",
    "diffusers",
    "accelerate",
    "peft",
    "tokenizers",
    "pillow",
    "numpy",
)


def identity(
    kind: str, *, adapter: str, model: str | None, revision: str | None, params: dict[str, Any]
) -> dict[str, Any]:
    """Return all that a result of this editor or judge depends on, besides the item and the place of the model.

    Raises UserError for an unknown adapter, wrong params or a checkpoint that is not complete.
    """
    found = find_adapter(kind, adapter)
    check_params(kind, adapter, params)
    return {
        "adapter": adapter,
        "version": found.VERSION,
        "model": _model_part(found, model, revision) if model else None,
        "params": found.PARAMS.key_parts(params),
        "preprocessing": PREPROCESSING,
    }


def _model_part(adapter: Any, model: str, revision: str | None) -> dict[str, Any]:
    """Return the part of a model. If a server has it, its name is all that can be found out."""
    return {"served": model} if adapter.RUNS_ON == RunsOn.SERVER else fingerprint_model(model, revision)


def model_options(settings: dict[str, Any]) -> dict[str, Any]:
    """Return adapter, model, revision and params from the settings of an editor or a judge."""
    return {name: settings[name] for name in ("adapter", "model", "revision", "params")}


def editor_spec(run_dir: Path, editor: str, seed: int, options: dict[str, Any]) -> EditorSpec:
    """Return the spec of an editor from its adapter, model, revision and params. Raises UserError like `identity`."""
    parts = identity("editor", **options)
    return EditorSpec(editor=editor, identity=parts, editor_key=_short(parts), run_dir=run_dir, seed=seed)


def judge_spec(run_dir: Path, judge: str, protocol: ScoringProtocol, options: dict[str, Any]) -> JudgeSpec:
    """Return the spec of a judge, like `editor_spec`."""
    parts = identity("judge", **options)
    params = check_params("judge", options["adapter"], options["params"])
    criteria = protocol.select_criteria(params.optional_criteria)
    samples = SAMPLES if params.samples and not protocol.answers else 1
    return JudgeSpec(
        judge=judge, identity=parts, run_dir=run_dir, protocol=protocol, criteria=criteria, samples=samples
    )


def _short(parts: dict[str, Any]) -> str:
    return content_key(**parts)[:16]


def editor_provenance(spec: EditorSpec, options: dict[str, Any]) -> dict[str, Any]:
    """Return what the report shows of an editor."""
    return {spec.editor: _provenance(spec.identity, **options) | {"key": spec.editor_key, "seed": spec.seed}}


def judge_provenance(spec: JudgeSpec, options: dict[str, Any]) -> dict[str, Any]:
    """Return what the report shows of a judge."""
    protocol = {name: getattr(spec.protocol, name) for name in ("name", "version", "sha256", "text")}
    return {spec.judge: _provenance(spec.identity, **options) | {"key": spec.whole_key, "protocol": protocol}}


def _provenance(
    parts: dict[str, Any], *, adapter: str, model: str | None, revision: str | None, params: dict[str, Any]
) -> dict[str, Any]:
    """Return how a model was configured, without paths, times and devices."""
    files = {  # the params of which the key holds a fingerprint
        name: {"name": _named(params[name]), "fingerprint": _short({name: part})}
        for name, part in parts["params"].items()
        if part != params[name]
    }
    return {
        "adapter": adapter,
        "adapter_version": parts["version"],
        "model": _named(model) if model else None,
        "revision": revision,
        "pinned": model is None or revision is not None or Path(model).exists(),
        "fingerprint": _short({"model": parts["model"]}),
        "params": params | files,
        "random_weights": model is not None and is_randomly_initialised(model),
        "packages": _packages(),
        "editlane": __version__,
    }


def _named(file: str) -> str:
    """Return the name of a file or folder without where it lies; a hub's name stays whole."""
    return Path(file).name if Path(file).exists() else file


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
