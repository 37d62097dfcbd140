"""Load diffusers' modular pipelines, such as FLUX.3, through a loader of their own, and call them like other pipelines.

A modular checkpoint may name components in other repositories, and code. Neither is fetched or run: what is not in the
checkpoint's folder is refused.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from editlane.core.errors import UserError, one_line
from editlane.editors.optimizations.apply import OPTIMIZATION_NAMES, OptimizationParams
from editlane.editors.signatures import Signature
from editlane.models import checkpoints, load_times

log = logging.getLogger(__name__)

LIBRARIES = ("diffusers", "transformers")
"""Libraries that a component's class may be of. diffusers would import any module that the index names."""

UPSAMPLER = "prompt_upsampler"
"""A step that writes a longer prompt first; it is left out where the checkpoint lacks its model."""


class ModularCall:
    """A modular pipeline that is called, and returns its images, like any other."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def __call__(self, **arguments: Any) -> SimpleNamespace:
        """Run the pipeline."""
        return SimpleNamespace(images=self._pipe(output="images", **arguments))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def list_loops(self) -> list[Any]:
        """Return the blocks that show a progress bar: the loops over denoising steps."""
        return [block for block in _walk(self._pipe._blocks) if hasattr(block, "progress_bar")]


def is_modular(pipeline: Any) -> bool:
    """Return whether a pipeline class is a modular one."""
    return any(base.__name__ == "ModularPipeline" for base in pipeline.__mro__)


def read_blocks(pipeline: Any, index: Mapping[str, Any]) -> Signature:
    """Read the arguments of a modular pipeline from its blocks. Raises UserError if these are not of diffusers."""
    # what one block requires, another may make, so nothing here counts as required
    inputs = make_blocks(pipeline, index).inputs
    return Signature(pipeline.__name__, {one.name: one.default for one in inputs if one.name})


def make_blocks(pipeline: Any, index: Mapping[str, Any]) -> Any:
    """Return the blocks of a modular pipeline. Raises UserError if they are not of diffusers."""
    import diffusers

    name = index.get("_blocks_class_name") or pipeline.default_blocks_name
    blocks = getattr(diffusers, name, None) if isinstance(name, str) else None
    if blocks is None:
        raise UserError(
            f"The checkpoint needs the blocks {name!r}, which diffusers {diffusers.__version__} does not have. Code of "
            "a checkpoint never runs here. Install the version that the model's page asks for in the editor's `env:`."
        )
    return blocks()


def check_libraries(index: Mapping[str, Any]) -> None:
    """Raise UserError if a component's class is of another library than diffusers and transformers."""
    for name, entry in index.items():
        # diffusers takes [library, class] from model_index.json, and [library, class, {"type_hint"}] from its own index
        pair = isinstance(entry, list) and len(entry) == 2 and all(isinstance(part, str) for part in entry)
        named = [entry[0]] if pair or (isinstance(entry, list) and len(entry) == 3) else []
        hints = [
            spec["type_hint"] for spec in (entry if named else ()) if isinstance(spec, dict) and "type_hint" in spec
        ]
        named += [hint[0] if isinstance(hint, list) and hint else hint for hint in hints]
        if wrong := [library for library in named if library is not None and library not in LIBRARIES]:
            raise UserError(
                f"The component {name} of the checkpoint is of {wrong[0]!r}; only classes of {' and '.join(LIBRARIES)} "
                "are loaded, because code of a checkpoint never runs here. Choose another checkpoint."
            )


def fetch_modular(model: str, revision: str | None) -> Path:
    """Return the folder of a modular checkpoint. Download it for a hub id, without what it names elsewhere.

    Raises UserError if the hub or the id cannot be reached, if a component is missing, or for two indexes.
    """
    if not checkpoints.is_hub_id(model):
        return check_index(Path(model), model)
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model, revision=revision, ignore_patterns=["*.py", "*.bin", "*.pt", "*.ckpt"]))
    except (OSError, ValueError) as error:
        raise checkpoints.make_hub_error(model, revision, str(error)) from error
    if problem := checkpoints.find_problem(folder):
        raise checkpoints.make_hub_error(model, revision, f"it is incomplete without other repositories: {problem}.")
    return check_index(folder, model)


def check_index(folder: Path, model: str) -> Path:
    """Return `folder` if it has one index: of two, diffusers would read the one that nothing here was checked by."""
    if (folder / checkpoints.INDEX).is_file() and (folder / checkpoints.MODULAR_INDEX).is_file():
        raise UserError(
            f"The checkpoint {model} has both {checkpoints.INDEX}, which names a modular pipeline, and "
            f"{checkpoints.MODULAR_INDEX}. Which of them holds is not clear: remove {checkpoints.INDEX} from a "
            "copy, and set `model:` to that folder."
        )
    return folder


def load_modular(pipeline: Any, blocks: Any, folder: Path, dtype: Any, device: str) -> ModularCall:
    """Load all components of a modular pipeline from `folder` to `device`. Raises UserError if one cannot be loaded."""
    if not (folder / UPSAMPLER).is_dir() and blocks.sub_blocks.pop(UPSAMPLER, None) is not None:
        log.warning("the checkpoint has no %s, so instructions are used as they are", UPSAMPLER)
    try:
        with load_times.measure_phase("transfer"):
            pipe: Any = pipeline(blocks=blocks, pretrained_model_name_or_path=str(folder))
            _check_places(pipe, folder)
            pipe.load_components(dtype=dtype, local_files_only=True)
            pipe.to(device)
    except (OSError, ValueError) as error:
        raise UserError(f"The checkpoint {folder} cannot be loaded: {one_line(error)}") from error
    if missing := [name for name in pipe.pretrained_component_names if getattr(pipe, name, None) is None]:
        raise UserError(f"The component {missing[0]} of the checkpoint {folder} cannot be loaded; see the lane's log.")
    return ModularCall(pipe)


def check_optimizations(params: OptimizationParams) -> None:
    """Raise UserError for optimizations, none of which was made for modular pipelines."""
    if asked := [name for name in OPTIMIZATION_NAMES if getattr(params, name)]:
        raise UserError(f"{asked[0]} does not work with modular pipelines. Remove it.")


def _check_places(pipe: Any, folder: Path) -> None:
    for name in pipe.pretrained_component_names:
        place = pipe.get_component_spec(name).pretrained_model_name_or_path
        if place != str(folder):
            raise UserError(
                f"The checkpoint {folder} lacks its component {name}, which its {checkpoints.MODULAR_INDEX} takes from "
                f"{place}. Nothing is fetched from other repositories: put a copy into the folder."
            )


def _walk(block: Any) -> Iterator[Any]:
    yield block
    for inner in getattr(block, "sub_blocks", {}).values():
        yield from _walk(inner)
