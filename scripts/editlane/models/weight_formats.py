"""Refuse weights that can run code when they are loaded: everything but safetensors is a pickle."""

from pathlib import Path

from editlane.core.errors import UserError
from editlane.models.checkpoints import PICKLES, is_hub_id
from editlane.models.weight_files import list_parts

LOADABLE = ".bin"
"""Of the pickles, the model libraries load only these from a checkpoint folder."""

_REMEDY = "Take a release with safetensors, or convert it: https://huggingface.co/docs/safetensors/convert-weights."
_TRUST = "If you trust whoever made it, set `allow_pickle: true` in `params`."


def check_formats(model: str, *, allow_pickle: bool) -> None:
    """Raise UserError if loading this checkpoint folder would unpickle weights, unless `allow_pickle` allows it.

    A hub id is not checked here.
    """
    found = None if is_hub_id(model) else find_format_problem(Path(model), allow_pickle=allow_pickle)
    if found:
        problem, remedy = found
        raise UserError(f"The checkpoint {model} {problem}. {remedy}")


def find_format_problem(checkpoint: Path, *, allow_pickle: bool) -> tuple[str, str] | None:
    """Return (what is wrong with this folder, as a predicate; what to do) if loading it would unpickle; else None."""
    found = _find_pickle(checkpoint, allow_pickle=allow_pickle)
    if found is None:
        return None
    problem = f"has no safetensors in {found.parent.name}/, but the pickle {found.name}, which can run code when loaded"
    return problem, f"{_REMEDY} {_TRUST}" if found.suffix == LOADABLE else _REMEDY


def _find_pickle(checkpoint: Path, *, allow_pickle: bool) -> Path | None:
    """Find a file that loading this folder would unpickle although it must not; None if there is none.

    A part that has safetensors, too, is right, because only these are loaded.
    """
    for part in list_parts(checkpoint):
        if any(part.glob("*.safetensors")):
            continue
        pickles = [path for path in part.glob("*") if path.suffix in PICKLES]
        found = min(pickles, key=lambda path: (path.suffix != LOADABLE, path.name), default=None)
        if found and not (allow_pickle and found.suffix == LOADABLE):
            return found
    return None
