"""Check and fingerprint checkpoints as files, without importing a model library."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

from editlane.core.errors import PassingError, UserError
from editlane.core.files import check_regular
from editlane.core.text_width import pluralize

RANDOM_WEIGHTS_FILE = "editlane_random_weights.json"
"""Marker in the root of a checkpoint with untrained weights: {"kind", "seed"}."""

INDEX = "model_index.json"
MODULAR_INDEX = "modular_model_index.json"
"""The index of a checkpoint for diffusers' modular pipelines, such as FLUX.3. One that has both is loaded by INDEX, or
refused if that names a modular pipeline, too."""

LEFT_OUT = ("prompt_upsampler", "prompt_upsampler_processor")
"""Components of a modular checkpoint that may be missing: then instructions are taken as they are."""

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
WITHOUT_WEIGHTS = ("Tokenizer", "Processor", "Extractor", "Scheduler")
"""Parts of the class names of components without weights."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Suffixes of weights that are no safetensors; see weight_formats.py."""

SAMPLED_FROM = 16 * 2**20
"""Size in bytes above which only `BLOCKS` blocks of `BLOCK_SIZE` bytes are hashed, so that 60 GB take seconds."""
BLOCKS = 256
BLOCK_SIZE = 4096


def is_hub_id(model: str) -> bool:
    """Return whether `model` has the form org/name and is not a path on this machine."""
    return not Path(model).exists() and HUB_ID.fullmatch(model) is not None


def is_randomly_initialised(model: str) -> bool:
    """Return whether `model` is a folder of random weights (built by `build_tiny_model.py`)."""
    return (Path(model) / RANDOM_WEIGHTS_FILE).is_file()


def check_checkpoint(model: str) -> None:
    """Raise UserError unless `model` is a complete diffusers or transformers checkpoint folder, or a hub id.

    The check covers every component's folder, config and weights, every shard listed in an index, and the length of
    every safetensors file according to its header.
    """
    if is_hub_id(model):
        return
    folder = Path(model)
    if not folder.is_dir():
        what = "a single file" if folder.exists() else "missing"
        raise UserError(
            f"The model {model} is {what}. Set `model:` to a checkpoint folder (with model_index.json or config.json), "
            "or to a hub id such as Qwen/Qwen-Image-Edit-2509. Paths are relative to the working folder."
        )
    problem = find_problem(folder)
    if problem:
        raise UserError(
            f"The checkpoint {model} is incomplete: {problem}. Copy or download it again, for example with "
            f"`hf download ORG/NAME --local-dir {model}`."
        )


def find_problem(folder: Path) -> str | None:
    """Describe what is missing or damaged in a checkpoint folder, as a clause. Returns None if it is complete."""
    if find_index(folder) is None:
        if (folder / "config.json").is_file():
            return _find_weights_problem(folder)
        return "it has neither model_index.json nor config.json"
    problems = (_find_component_problem(part, class_name) for part, class_name in read_components(folder))
    return next((problem for problem in problems if problem), None)


def find_index(folder: Path) -> Path | None:
    """Return the index of a diffusers checkpoint; None if the folder has none."""
    return next((folder / name for name in (INDEX, MODULAR_INDEX) if (folder / name).is_file()), None)


def read_components(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (folder, class name) of each component of a diffusers checkpoint. Raises UserError for a bad index.

    An entry is [library, class name], in a modular index [library, class name, {"subfolder"}].
    """
    index = find_index(folder)
    for name, entry in read_json(index or folder / INDEX).items():
        if name.startswith("_") or not isinstance(entry, list) or len(entry) not in (2, 3) or entry[1] is None:
            continue
        place = entry[2].get("subfolder") if len(entry) == 3 and isinstance(entry[2], dict) else None
        part = folder / (place if isinstance(place, str) else name)
        if part.is_dir() or name not in LEFT_OUT:
            yield part, str(entry[1])


def read_model_index(model: str, revision: str | None) -> dict[str, Any]:
    """Read the index of a diffusers checkpoint. For a hub id, download this one file.

    Raises UserError like `check_checkpoint`, and if the file is missing or the hub cannot be reached.
    """
    check_checkpoint(model)
    if not is_hub_id(model):
        path = find_index(Path(model))
        if path is None:
            raise UserError(f"{model} has no {INDEX}, so it is not a checkpoint of a diffusers pipeline.")
        return read_json(path)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        try:
            return read_json(Path(hf_hub_download(model, INDEX, revision=revision)))
        except EntryNotFoundError:
            return read_json(Path(hf_hub_download(model, MODULAR_INDEX, revision=revision)))
    except (OSError, ValueError) as error:
        raise make_hub_error(model, revision, str(error)) from error


def make_hub_error(model: str, revision: str | None, reason: str) -> PassingError:
    """Make the error for a hub id that could not be fetched. `reason` is a sentence."""
    wanted = f" --revision {revision}" if revision else ""
    return PassingError(
        f"{model} is not a folder on this machine, and it could not be fetched from the model hub: "
        f"{shorten(reason, 300, placeholder=' ...')} Download it on a machine that can reach the hub "
        f"(`hf download {model}{wanted}`), or set `model:` to a checkpoint folder."
    )


def fingerprint_model(model: str, revision: str | None) -> dict[str, Any]:
    """Return a checkpoint's identity for journal keys, independent of the folder's location.

    For a folder this is the sha256 of the names, sizes and contents of its files, without hidden files and *.md. Files
    over 16 MiB are sampled at 256 evenly spaced blocks of 4 KiB, so that a change of a few weights may go unnoticed.
    For a hub id it is the id and the revision. Raises UserError like `check_checkpoint`.
    """
    check_checkpoint(model)
    if is_hub_id(model):
        return {"id": model, "revision": revision}
    return {"sha256": _hash_folder(Path(model))}


def fingerprint_file(path: Path) -> str:
    """Return the sha256 of a weight file's size and contents. Large files are sampled as in `fingerprint_model`."""
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    _add_content(digest, path)
    return digest.hexdigest()


def find_safetensors_problem(path: Path) -> str | None:
    """Describe the damage of a .safetensors file, as a clause. Returns None if it is intact."""
    size = path.stat().st_size
    try:
        header_size, header = read_safetensors_header(path)
        tensors = [entry["data_offsets"][1] for entry in header.values()]
    except PermissionError:
        return f"{path.parent.name}/{path.name} cannot be read by this user (permission denied)"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path.parent.name}/{path.name} is not a safetensors file (is it a Git LFS pointer, or truncated?)"
    missing = 8 + header_size + max(tensors, default=0) - size
    return f"{path.parent.name}/{path.name} is truncated by {pluralize(missing, 'byte')}" if missing > 0 else None


def _find_component_problem(folder: Path, class_name: str) -> str | None:
    if not folder.is_dir() or not any(folder.iterdir()):
        return f"its component {folder.name}/ is missing"
    if any(word in class_name for word in WITHOUT_WEIGHTS):
        return None
    return _find_weights_problem(folder)


def _find_weights_problem(folder: Path) -> str | None:
    if not (folder / "config.json").is_file():
        return f"{folder.name}/config.json is missing"
    for index in sorted(folder.glob("*model.safetensors.index.json")):
        for shard in sorted(set(read_json(index)["weight_map"].values())):
            if not (folder / shard).is_file():
                return f"{folder.name}/{shard}, listed in {index.name}, is missing"
    weights = sorted(folder.glob("*.safetensors"))
    if not weights and not any(path.suffix in PICKLES for path in folder.iterdir()):
        return f"{folder.name}/ has no weights (*.safetensors)"
    return next((problem for path in weights if (problem := find_safetensors_problem(path))), None)


def read_safetensors_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Read (bytes of the header, tensor name -> {"dtype", "shape", "data_offsets"}) of a safetensors file.

    The file holds 8 bytes n, n bytes of JSON with the offsets of every tensor, and the tensors, without gaps. Raises
    OSError, ValueError if the JSON is invalid, or AttributeError if it is not an object.
    """
    check_regular(path)
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(size, path.stat().st_size)))
    return size, {name: entry for name, entry in header.items() if name != "__metadata__"}


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a checkpoint. Raises OSError, and UserError if it is damaged."""
    check_regular(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}. Copy or download the checkpoint again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it is not a JSON object. Copy or download the checkpoint again.")
    return content


def _hash_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in walk_files(folder) if path.suffix != ".md"):
        name = path.relative_to(folder).as_posix()
        digest.update(json.dumps([name, path.stat().st_size]).encode())
        _add_content(digest, path)
    return digest.hexdigest()


def _add_content(digest: "hashlib._Hash", path: Path) -> None:
    check_regular(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= SAMPLED_FROM:
            digest.update(file.read())
            return
        for block in range(BLOCKS):
            file.seek(block * (size - BLOCK_SIZE) // (BLOCKS - 1))
            digest.update(file.read(BLOCK_SIZE))


def walk_files(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files below a folder, through links but in no circle, without hidden ones and unreadable folders."""
    place = os.path.realpath(folder)
    if place in above:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_dir():
                yield from walk_files(path, (*above, place))
            else:
                yield path
