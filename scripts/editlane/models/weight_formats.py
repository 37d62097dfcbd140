"""Refuse weights that can run code when they are loaded: everything but safetensors is a pickle."""

from pathlib import Path

from editlane.core.errors import UserError
from editlane.models.checkpoints import PICKLES, is_hub_id
from editlane.models.weight_files import list_parts

LOADABLE = ".bin"
"""Of the pickles, the model libraries load only these from a checkpoint folder."""

REMEDY = "Take a release with safetensors, or convert it: https://huggingface.co/docs/safetensors/convert-weights."
TRUST = "If you trust whoever made it, set `allow_pickle: true` in `params`."


def check_formats(model: str, *, allow_pickle: bool) -> None:
    """Raise UserError if loading this checkpoint folder would unpickle weights, unless `allow_pickle` allows it.

    A hub id is not checked here.
    """
    found = None if is_hub_id(model) else find_pickle(Path(model), allow_pickle=allow_pickle)
    if found:
        trust = f" {TRUST}" if found.suffix == LOADABLE else ""
        raise UserError(f"The checkpoint {model} {describe_pickle(found)}. {REMEDY}{trust}")


def find_pickle(checkpoint: Path, *, allow_pickle: bool) -> Path | None:
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


def describe_pickle(found: Path) -> str:
    """Describe what is wrong with a checkpoint that has this file, as a predicate."""
    return f"has no safetensors in {found.parent.name}/, but the pickle {found.name}, which can run code when loaded"
