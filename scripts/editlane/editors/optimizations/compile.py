"""torch.compile of the blocks that a transformer repeats, with what was compiled kept on the disk."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from editlane.core.errors import EditRefused, ItemError, OutOfMemory, UserError
from editlane.models import load_times

log = logging.getLogger(__name__)

NEEDS = "torch.compile needs a C++ compiler on this machine, g++, and an environment whose path has no space."


def keep_compiled() -> None:
    """Keep what torch compiles in the user's cache, where a restart finds it; /tmp, torch's own choice, may be wiped.

    TORCHINDUCTOR_CACHE_DIR, where it is set, says where instead.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(home / "editlane/torchinductor"))


def compile_blocks(model: Any) -> None:
    """Have the repeated blocks of a diffusers model compiled at their first call; once for all blocks and sizes.

    It is their `forward` that is compiled, not the module: a cache's hooks, which decide anew in every step, come to
    stand around it. Raises UserError for a model that names no such blocks.
    """
    import torch

    names = getattr(model, "_repeated_blocks", None) or ()
    blocks = [module for module in model.modules() if type(module).__name__ in names]
    if not blocks:
        raise UserError(f"compile: diffusers names no repeated blocks of {type(model).__name__}. Remove it.")
    keep_compiled()
    for block in blocks:
        block.forward = torch.compile(block.forward, fullgraph=True, dynamic=True)
        block.register_forward_pre_hook(_own_tensors, with_kwargs=True)


def _own_tensors(block: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Views into other tensors, which the first block gets and the others do not, would be compiled for once more."""
    return tuple(map(_own, args)), {name: _own(value) for name, value in named.items()}


def _own(value: Any) -> Any:
    return value.clone() if hasattr(value, "_is_view") and value._is_view() else value


def warm_up(edit: Callable[[], object], what: str) -> None:
    """Compile and try now, by an edit of two steps that nobody wants; counts as loading. `what` is being tried.

    Raises UserError where it fails: every item would. Not for too little memory (items are tried again with less), nor
    where a safety checker does not like the trial.
    """
    log.info("a trial edit of two steps, for %s; what was compiled earlier comes from the disk", what)
    with load_times.measure_phase("warm-up"):
        try:
            edit()
        except OutOfMemory as error:
            log.warning("the trial edit ran out of memory, and so may items: %s", error)
        except EditRefused:
            pass
        except ItemError as error:
            needs = f" ({NEEDS})" if "compile" in what else ""
            raise UserError(f"{what}: a trial edit failed: {error}. Leave it out to run without.{needs}") from error
