"""A LoRA, fused into the weights of an editor: the file, its fingerprint, and whether it fits.

`lora` is a .safetensors file, or one of a hub: hf://org/name/file.safetensors, with @revision after the name to pin it.
"""

import logging
import re
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from editlane.core.errors import UserError, one_line
from editlane.models import checkpoints

log = logging.getLogger(__name__)

_ON_HUB = re.compile(r"hf://(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^/@]+))?/(?P<file>[^@]+\.safetensors)")


class HubFile(NamedTuple):
    """A file in a repository of a hub."""

    id: str
    revision: str | None
    file: str


def on_hub(lora: str) -> HubFile | None:
    """Where on a hub this LoRA is; None for a path."""
    found = _ON_HUB.fullmatch(lora)
    return HubFile(**found.groupdict()) if found else None


def check_lora(lora: Any) -> None:
    """Raises UserError where `lora` is neither a whole .safetensors file nor of the form of a hub's file."""
    if not isinstance(lora, str) or (lora.startswith("hf://") and not on_hub(lora)):
        raise UserError(f"lora is {lora!r}; use a .safetensors file, or hf://org/name@revision/file.safetensors.")
    if on_hub(lora):
        return
    if not Path(lora).is_file():
        raise UserError(
            f"lora is {lora}, which is not a file. Give a .safetensors file, relative to the folder that snakemake "
            "runs in, or hf://org/name@revision/file.safetensors."
        )
    problem = checkpoints.safetensors_problem(Path(lora))
    if problem:
        raise UserError(f"lora: {problem}. Copy or download it again.")


def lora_fingerprint(lora: str) -> dict[str, Any]:
    """What tells one LoRA from another in a journal key: as `checkpoints.model_fingerprint` does for checkpoints."""
    found = on_hub(lora)
    return found._asdict() if found else {"sha256": checkpoints.file_fingerprint(Path(lora))}


def fetch_lora(lora: str) -> Path:
    """The file of this LoRA; one of a hub is downloaded. Raises UserError where it cannot be had."""
    found = on_hub(lora)
    if found is None:
        return Path(lora)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(found.id, found.file, revision=found.revision))
    except (OSError, ValueError) as error:
        raise UserError(
            f"lora: {lora} could not be fetched from the model hub: {one_line(error)} Download it where the hub can be "
            f"reached (`hf download {found.id} {found.file}`), and give the file's path."
        ) from error


def fuse_lora(pipe: Any, lora: str) -> None:
    """Add the LoRA to the weights of `pipe`; afterwards the model is as large and as fast as without.

    Raises UserError where the file is not for this model: what does not fit would go missing without a word.
    """
    import peft  # noqa: F401  named here, so that a Python without it is told which package it lacks

    path = fetch_lora(lora)
    if not hasattr(pipe, "load_lora_weights"):
        raise UserError(f"lora: diffusers knows no LoRA for {type(pipe).__name__}. Remove it.")
    wanted = _targets(path)
    try:
        pipe.load_lora_weights(path.parent, weight_name=path.name)
        changed = sum(hasattr(module, "lora_A") for model in _models(pipe) for module in model.modules())
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"lora: {lora} does not fit {type(pipe).__name__}: {shorten(str(error), 200, placeholder=' ...')} Use the "
            "LoRA that was made for this release of the model."
        ) from error
    if not changed or changed < wanted:
        raise UserError(
            f"lora: {lora} is not for this checkpoint: it has weights for {wanted} layers, of which {changed} are "
            "there. Use the LoRA that was made for this release of the model."
        )
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    log.info("fused the LoRA %s into %d layers", path.name, changed)


def _targets(path: Path) -> int:
    """How many layers the file has weights for."""
    names = checkpoints.read_safetensors_header(path)[1]
    return sum(bool(re.search(r"\.lora_(down|A)(\.\w+)?\.weight$", name)) for name in names)


def _models(pipe: Any) -> list[Any]:
    return [part for part in pipe.components.values() if hasattr(part, "modules")]
