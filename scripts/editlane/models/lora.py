"""Check, fetch and fingerprint a LoRA, and fuse it into the weights of an editor.

`lora` is a .safetensors file, or a file on the hub: hf://org/name/file.safetensors, with @revision after the name to
pin it.
"""

import logging
import re
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

from editlane.core.errors import PassingError, UserError, one_line
from editlane.core.text_width import agree, pluralize
from editlane.models.checkpoints import find_safetensors_problem, fingerprint_file, read_safetensors_header

log = logging.getLogger(__name__)

_ON_HUB = re.compile(r"hf://(?P<id>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^/@]+))?/(?P<file>[^@]+\.safetensors)")


class HubFile(NamedTuple):
    """A file in a repository of the hub."""

    id: str
    revision: str | None
    file: str


def parse_hub_file(lora: str) -> HubFile | None:
    """Parse the address of a LoRA on the hub. Returns None for a path."""
    found = _ON_HUB.fullmatch(lora)
    return HubFile(**found.groupdict()) if found else None


def check_lora(lora: Any) -> None:
    """Raise UserError unless `lora` is an intact .safetensors file, or has the form of a file on the hub."""
    if not isinstance(lora, str) or (lora.startswith("hf://") and not parse_hub_file(lora)):
        raise UserError(f"lora is {lora!r}; use a .safetensors file, or hf://org/name@revision/file.safetensors.")
    if parse_hub_file(lora):
        return
    if Path(lora).suffix != ".safetensors":  # diffusers unpickles a file with any other suffix, also .SAFETENSORS
        raise UserError(
            f"lora is {lora}. Only .safetensors files are accepted, because others are read as pickles, which can run "
            "code when loaded. Take a release with safetensors, or convert it."
        )
    if not Path(lora).is_file():
        raise UserError(
            f"lora is {lora}, which is not a file. Give a .safetensors file, relative to the folder that snakemake "
            "runs in, or hf://org/name@revision/file.safetensors."
        )
    problem = find_safetensors_problem(Path(lora))
    if problem:
        raise UserError(f"lora: {problem}. Copy or download it again.")


def fingerprint_lora(lora: str) -> dict[str, Any]:
    """Return a LoRA's identity for journal keys, like `checkpoints.fingerprint_model` for checkpoints."""
    found = parse_hub_file(lora)
    return found._asdict() if found else {"sha256": fingerprint_file(Path(lora))}


def fetch_lora(lora: str) -> Path:
    """Return the file of this LoRA, downloading it from the hub if needed. Raises UserError if that fails."""
    found = parse_hub_file(lora)
    if found is None:
        return Path(lora)
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(found.id, found.file, revision=found.revision))
    except (OSError, ValueError) as error:
        raise PassingError(
            f"lora: {lora} could not be fetched from the model hub: {one_line(error)} Download it on a machine that "
            f"can reach the hub (`hf download {found.id} {found.file}`), and give the file's path."
        ) from error


def fuse_lora(pipe: Any, lora: str) -> None:
    """Add the LoRA to the weights of `pipe`. The model stays as large and as fast as without it.

    Raises UserError if the file is not for this model, because diffusers silently ignores weights that do not match.
    """
    import peft  # noqa: F401  imported here so that the error names the missing package

    path = fetch_lora(lora)
    if not hasattr(pipe, "load_lora_weights"):
        raise UserError(f"lora: diffusers does not support a LoRA for {type(pipe).__name__}. Remove it.")
    wanted = _count_target_layers(path)
    try:
        pipe.load_lora_weights(path.parent, weight_name=path.name, use_safetensors=True)
        changed = sum(hasattr(module, "lora_A") for model in _list_models(pipe) for module in model.modules())
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(
            f"lora: {lora} does not fit {type(pipe).__name__}: {shorten(str(error), 200, placeholder=' ...')} Use the "
            "LoRA that was made for this release of the model."
        ) from error
    if not changed or changed < wanted:
        raise UserError(
            f"lora: {lora} is not for this checkpoint: it has weights for {pluralize(wanted, 'layer')}, but only "
            f"{changed} of them {agree(changed, 'exists')} in the model. Use the LoRA that was made for this "
            "release of the model."
        )
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    log.info("fused the LoRA %s into %s", path.name, pluralize(changed, "layer"))


def _count_target_layers(path: Path) -> int:
    names = read_safetensors_header(path)[1]
    return sum(bool(re.search(r"\.lora_(down|A)(\.\w+)?\.weight$", name)) for name in names)


def _list_models(pipe: Any) -> list[Any]:
    return [part for part in pipe.components.values() if hasattr(part, "modules")]
