"""Checkpoints as files: are they complete, are they the same, were they ever trained. Imports no model library."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any

from editlane.core.errors import UserError

RANDOM_WEIGHTS_FILE = "editlane_random_weights.json"
"""Lies in the root of a checkpoint whose weights were never trained: {"kind", "seed"}."""

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
WITHOUT_WEIGHTS = ("Tokenizer", "Processor", "Extractor", "Scheduler")
"""Words in the class names of components that have no weights."""

SAMPLED_FROM = 16 * 2**20
"""Bytes; of larger files only `BLOCKS` blocks of `BLOCK_SIZE` bytes are hashed, so that 60 GB take seconds."""
BLOCKS = 256
BLOCK_SIZE = 4096


def is_hub_id(model: str) -> bool:
    """Whether `model` is no path on this machine and could be the id of a repository on a hub: org/name."""
    return not Path(model).exists() and HUB_ID.fullmatch(model) is not None


def is_randomly_initialised(model: str) -> bool:
    """Whether `model` is a folder of random weights (built by `build_tiny_model.py`): its results mean nothing."""
    return (Path(model) / RANDOM_WEIGHTS_FILE).is_file()


def check_checkpoint(model: str) -> None:
    """Raises UserError where `model` is neither a complete checkpoint folder, diffusers or transformers, nor a hub id.

    Looks for every component's folder, config and weights, for every shard that an index names, and at the header of
    every safetensors file, which tells how long the file must be.
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
    """What is missing or damaged in a checkpoint folder, as half a sentence; None where nothing is."""
    if not (folder / "model_index.json").is_file():
        if (folder / "config.json").is_file():
            return _weights_problem(folder)
        return "it has neither model_index.json nor config.json"
    for name, entry in _read_json(folder / "model_index.json").items():
        if isinstance(entry, list) and len(entry) == 2 and entry[1] is not None and not name.startswith("_"):
            problem = _component_problem(folder / name, str(entry[1]))
            if problem:
                return problem
    return None


def read_model_index(model: str, revision: str | None) -> dict[str, Any]:
    """`model_index.json` of a diffusers checkpoint; of a hub id this one file is downloaded.

    Raises UserError like `check_checkpoint`, and where there is no such file or the hub cannot be reached.
    """
    check_checkpoint(model)
    if not is_hub_id(model):
        path = Path(model) / "model_index.json"
        if not path.is_file():
            raise UserError(f"{model} has no model_index.json, so it is no checkpoint of a diffusers pipeline.")
        return _read_json(path)
    from huggingface_hub import hf_hub_download

    try:
        return _read_json(Path(hf_hub_download(model, "model_index.json", revision=revision)))
    except (OSError, ValueError) as error:
        raise hub_error(model, revision, str(error)) from error


def hub_error(model: str, revision: str | None, reason: str) -> UserError:
    """What a user can do about a hub id that could not be fetched; `reason` is a sentence."""
    wanted = f" --revision {revision}" if revision else ""
    return UserError(
        f"{model} is no folder on this machine, and it could not be fetched from the model hub: "
        f"{shorten(reason, 300, placeholder=' ...')} Download it first where the hub can be reached "
        f"(`hf download {model}{wanted}`), or set `model:` to a checkpoint folder."
    )


def model_fingerprint(model: str, revision: str | None) -> dict[str, Any]:
    """What tells one checkpoint from another in a journal key, independent of where its folder lies.

    A folder: the sha256 over the names, sizes and contents of its files; of files over 16 MiB over 256 evenly spaced
    4 KiB blocks, so a change of a few weights in a large file can go unseen. Hidden files and *.md do not count.
    A hub id: the id and the revision as given. Raises UserError like `check_checkpoint`.
    """
    check_checkpoint(model)
    if is_hub_id(model):
        return {"id": model, "revision": revision}
    return {"sha256": _folder_digest(Path(model))}


def file_fingerprint(path: Path) -> str:
    """The sha256 of a weight file's size and contents, of a large file's samples like `model_fingerprint`."""
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    _add_content(digest, path)
    return digest.hexdigest()


def safetensors_problem(path: Path) -> str | None:
    """What is damaged in a .safetensors file, as half a sentence; None where nothing is."""
    size = path.stat().st_size
    try:
        header_size, header = read_safetensors_header(path)
        tensors = [entry["data_offsets"][1] for entry in header.values()]
    except PermissionError:
        return f"{path.parent.name}/{path.name} may not be read by this user"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{path.parent.name}/{path.name} is no safetensors file (is it a Git LFS pointer, or cut short?)"
    missing = 8 + header_size + max(tensors, default=0) - size
    return f"{path.parent.name}/{path.name} is cut short by {missing} bytes" if missing > 0 else None


def _component_problem(folder: Path, class_name: str) -> str | None:
    if not folder.is_dir() or not any(folder.iterdir()):
        return f"its part {folder.name}/ is missing"
    if any(word in class_name for word in WITHOUT_WEIGHTS):
        return None
    return _weights_problem(folder)


def _weights_problem(folder: Path) -> str | None:
    if not (folder / "config.json").is_file():
        return f"{folder.name}/config.json is missing"
    for index in sorted(folder.glob("*model.safetensors.index.json")):
        for shard in sorted(set(_read_json(index)["weight_map"].values())):
            if not (folder / shard).is_file():
                return f"{folder.name}/{shard}, which {index.name} names, is missing"
    weights = sorted(folder.glob("*.safetensors"))
    if not weights and not any(folder.glob("*.bin")):
        return f"{folder.name}/ has no weights (*.safetensors)"
    return next((problem for path in weights if (problem := safetensors_problem(path))), None)


def read_safetensors_header(path: Path) -> tuple[int, dict[str, Any]]:
    """(bytes of the header, tensor name -> {"dtype", "shape", "data_offsets"}) of a safetensors file.

    A file is 8 bytes n, n bytes of JSON that place every tensor, and the tensors, without a gap. Raises ValueError
    where there is no such JSON, OSError, or AttributeError where the JSON is no object.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(size, path.stat().st_size)))
    return size, {name: entry for name, entry in header.items() if name != "__metadata__"}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}. Copy or download the checkpoint again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no JSON object. Copy or download the checkpoint again.")
    return content


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        name = path.relative_to(folder).as_posix()
        digest.update(json.dumps([name, path.stat().st_size]).encode())
        _add_content(digest, path)
    return digest.hexdigest()


def _add_content(digest: "hashlib._Hash", path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= SAMPLED_FROM:
            digest.update(file.read())
            return
        for block in range(BLOCKS):
            file.seek(block * (size - BLOCK_SIZE) // (BLOCKS - 1))
            digest.update(file.read(BLOCK_SIZE))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith(".") and not name.endswith(".md"))
