"""Read from a checkpoint's small files whether its adapter would refuse it, before a lane loads its weights.

The functions are those that the adapters call when they load. No model library is imported: what the installed
diffusers and transformers know is read from their code.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from editlane.core.errors import UserError
from editlane.core.findings import Finding
from editlane.editors import diffusers_pipeline, modular, qwen_image_edit
from editlane.editors.families import find_family
from editlane.editors.signatures import find_signature
from editlane.judges.chat import check_image_processor
from editlane.judges.qwen3_vl import chat as qwen3_vl
from editlane.judges.reward_head.heads import find_layers
from editlane.judges.reward_head.judge import check_output, list_head_files
from editlane.judges.vlm import checkpoints as vlm
from editlane.models.checkpoints import INDEX, MODULAR_INDEX, find_problem, is_hub_id, read_json, read_model_index
from editlane.models.registry import check_params
from editlane.models.weight_files import list_weight_files
from editlane.preflight.context import Part, RunContext
from editlane.preflight.packages import has_work


class Library(NamedTuple):
    """What is compared with the code of a model library."""

    name: str
    check: Callable[[Path, Any], bool]
    """(checkpoint folder, params) -> whether the code tells. Raises UserError for what the adapter would refuse."""
    passed: str
    """What was found to be right, for messages."""


class Checks(NamedTuple):
    """What is known of an adapter's checkpoints before they are loaded."""

    files: Callable[[Path, Any], None] | None
    """(checkpoint folder, params) -> None. Raises UserError for files that the adapter would refuse."""
    library: Library | None
    needs_image_processor: bool = False
    """True if a folder must have one. For a hub id, loading downloads what the cache lacks."""


def check_architectures(context: RunContext) -> Iterator[Finding]:
    """Yield a finding for each model that will be loaded and whose checkpoint is on this machine.

    With conda the lanes have other packages than this Python, so the files alone are checked. There is no finding for a
    model of which they do not tell that the adapter takes it.
    """
    for part in context.parts:
        checks = _CHECKS.get(part.settings["adapter"].partition("/")[0])
        folder = part.find_folder() if part.needs_model else None
        if checks is None or folder is None or find_problem(folder) or not has_work(part, context):
            continue
        try:
            passed = _check(part, folder, checks, conda=context.conda)
            if passed is not None:
                yield Finding("pass", "architecture", f"{part}: {passed}")
        except UserError as error:
            yield Finding("fail", "architecture", f"{part}: {error}")


def _check(part: Part, folder: Path, checks: Checks, *, conda: bool) -> str | None:
    """Return what was found to be right; None if only loading tells. Raises UserError for what the adapter refuses."""
    params = check_params(part.kind, part.settings["adapter"], part.settings["params"])
    if part.kind == "judge":
        _read_type(folder)  # first, because a pipeline has no image processor, either
    if checks.files is not None:
        checks.files(folder, params)
    if checks.needs_image_processor and not is_hub_id(part.model):
        check_image_processor(folder)
    if checks.library is None:
        return "the adapter takes this checkpoint with these params"
    name, check, passed = checks.library
    if conda or find_spec(name) is None or not check(folder, params):
        return None
    return passed


def _check_index(folder: Path, params: Any) -> None:
    diffusers_pipeline.check_name(_read_class(folder))
    if (folder / MODULAR_INDEX).is_file():
        modular.check_index(folder, str(folder))
        modular.check_optimizations(params)
        modular.check_libraries(read_model_index(str(folder), None))


def _check_pipeline(folder: Path, params: Any) -> bool:
    """Check the class of the pipeline and its arguments. What a modular one takes, only its blocks tell."""
    signature = find_signature(_read_class(folder))
    if signature is None:
        return False
    diffusers_pipeline.check_pipeline(signature, find_family(signature))
    diffusers_pipeline.check_arguments(signature, diffusers_pipeline.list_arguments(params))
    return True


def _read_class(folder: Path) -> str:
    return str(read_model_index(str(folder), None).get("_class_name"))


def _check_qwen_image_edit(folder: Path, params: Any) -> None:
    qwen_image_edit.read_class(str(folder), None)
    qwen_image_edit.check_guidance(folder, params.guidance_scale)


def _check_qwen3_vl(folder: Path, params: Any) -> None:
    qwen3_vl.check_type(_read_type(folder), str(folder))


def _check_reward_head(folder: Path, params: Any) -> None:
    layers = find_layers(list_head_files(params, list_weight_files(folder)), params.head)
    check_output(params, layers[-1][0].shape[0])


def _check_type(folder: Path, params: Any) -> bool:
    vlm.check_type(_read_type(folder), str(folder))
    return True


def _read_type(folder: Path) -> Any:
    """Return the type of a judge's model. Raises UserError for a folder of another kind of model."""
    if not (folder / "config.json").is_file():
        what = "a diffusers pipeline" if _is_pipeline(folder) else "no model that transformers loads"
        raise UserError(f"The judge's model {folder} is {what}: it has no config.json. Set `model:` to a chat VLM.")
    return read_json(folder / "config.json").get("model_type")


def _is_pipeline(folder: Path) -> bool:
    """Return whether a folder is a checkpoint of diffusers."""
    return any((folder / name).is_file() for name in (INDEX, MODULAR_INDEX))


_DIFFUSERS = Library("diffusers", _check_pipeline, "the installed diffusers knows its class, which takes these params")
_TRANSFORMERS = Library("transformers", _check_type, "the installed transformers knows its class")

_CHECKS = {
    "diffusers": Checks(_check_index, _DIFFUSERS),
    "qwen-image-edit": Checks(_check_qwen_image_edit, None),
    "qwen3-vl": Checks(_check_qwen3_vl, None, needs_image_processor=True),
    "reward-head": Checks(_check_reward_head, _TRANSFORMERS, needs_image_processor=True),
    "vlm": Checks(None, _TRANSFORMERS, needs_image_processor=True),
}
"""By the name of an adapter without its engine."""
