"""Compile the repeated blocks of a transformer with torch.compile, and cache the compiled code on disk."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from editlane.core.errors import EditRefused, ItemError, OutOfMemory, PassingError, UserError
from editlane.models import load_times

log = logging.getLogger(__name__)

NEEDS = "torch.compile needs a C++ compiler on this machine, g++, and an environment whose path has no space."


def use_persistent_cache() -> None:
    """Let torch cache compiled code in the user's cache folder. Its default, /tmp, may be wiped between runs.

    TORCHINDUCTOR_CACHE_DIR takes precedence if it is set.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(home / "editlane/torchinductor"))


def compile_blocks(model: Any) -> None:
    """Compile the repeated blocks of a diffusers model at their first call; once for all blocks and sizes.

    Each block's `forward` is compiled and not the module, so that the hooks of a step cache stay outside. They decide
    anew in every step. Raises UserError if the model names no repeated blocks.
    """
    import torch

    names = getattr(model, "_repeated_blocks", None) or ()
    blocks = [module for module in model.modules() if type(module).__name__ in names]
    if not blocks:
        raise UserError(f"compile: diffusers names no repeated blocks of {type(model).__name__}. Remove it.")
    use_persistent_cache()
    for block in blocks:
        block.forward = torch.compile(block.forward, fullgraph=True, dynamic=True)
        block.register_forward_pre_hook(_copy_views, with_kwargs=True)


def _copy_views(block: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Copy arguments that are views. Only the first block gets views, and torch would compile once more for them."""
    return tuple(map(_copy_view, args)), {name: _copy_view(value) for name, value in named.items()}


def _copy_view(value: Any) -> Any:
    return value.clone() if hasattr(value, "_is_view") and value._is_view() else value


def warm_up(edit: Callable[[], object], what: str) -> None:
    """Run a throwaway two-step edit so that compilation happens while loading. `what` names the settings on trial.

    Raises PassingError if the edit fails, because every item of this try would. Ignore OutOfMemory, because items are
    retried with less memory, and a refusal by the safety checker.
    """
    log.info("a trial edit of two steps, for %s; code that was compiled earlier is read from disk", what)
    with load_times.measure_phase("warm-up"):
        try:
            edit()
        except OutOfMemory as error:
            log.warning("the trial edit ran out of memory, and items may, too: %s", error)
        except EditRefused:
            pass
        except ItemError as error:
            needs = f" ({NEEDS})" if "compile" in what else ""
            raise PassingError(  # the next try may get another GPU
                f"{what}: a trial edit failed: {error}. Leave it out to run without.{needs}"
            ) from error
