"""How much memory a checkpoint takes once it is loaded, from the headers of its files; where the hub's copy lies."""

import json
import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from editlane.checkpoints import read_safetensors_header

SIZES = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of a number."""

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""What loading converts to the run's dtype; integers and smaller floats stay as they are stored."""


def run_dtype(params: dict[str, Any], *, on_gpu: bool) -> str:
    """The dtype that the adapters choose: `dtype` of the params, else bfloat16 on a GPU and float32 on the CPU."""
    return params.get("dtype") or ("bfloat16" if on_gpu else "float32")


def loaded_bytes(checkpoint: Path, dtype: str) -> int:
    """Bytes of all weights of a diffusers or transformers folder in `dtype`; weights of a quantised part as stored."""
    return sum(_part_bytes(folder, SIZES[dtype]) for folder in _parts(checkpoint))


def stored_bytes(checkpoint: Path) -> int:
    """Bytes of the weight files that loading reads."""
    return sum(path.stat().st_size for folder in _parts(checkpoint) for path in _weight_files(folder))


def _parts(checkpoint: Path) -> Iterator[Path]:
    index = checkpoint / "model_index.json"
    if not index.is_file():
        yield checkpoint
        return
    for name, entry in json.loads(index.read_text(encoding="utf-8")).items():
        if isinstance(entry, list) and entry[-1] is not None and not name.startswith("_"):
            yield checkpoint / name


def _part_bytes(folder: Path, size: int) -> int:
    quantised = _is_quantised(folder)
    return sum(
        path.stat().st_size if quantised or path.suffix != ".safetensors" else _converted(path, size)
        for path in _weight_files(folder)
    )


def _is_quantised(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and "quantization_config" in json.loads(config.read_text(encoding="utf-8"))


def _converted(path: Path, size: int) -> int:
    tensors = read_safetensors_header(path)[1].values()
    return sum(
        prod(tensor["shape"]) * size
        if tensor["dtype"] in FLOATS
        else tensor["data_offsets"][1] - tensor["data_offsets"][0]
        for tensor in tensors
    )


def _weight_files(folder: Path) -> list[Path]:
    """The files that loading reads: those of the index, else the one of the usual name, else all there are.

    A folder may hold the same weights again, as `model.fp16.safetensors` or as `*.bin`.
    """
    for index in sorted(folder.glob("*model.safetensors.index.json")):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / shard for shard in sorted(shards)]
    for pattern in ("*model.safetensors", "*.safetensors", "*model.bin", "*.bin"):
        if found := sorted(folder.glob(pattern)):
            return found
    return []


def cached_snapshot(model: str, revision: str | None) -> Path | None:
    """The folder in the local cache of the hub that holds this revision of `model`; None where there is none.

    huggingface_hub knows this, too, but Snakemake's own environment does not have it.
    """
    repository = hub_cache() / f"models--{model.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    try:
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision or ""
    except OSError:
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def hub_cache() -> Path:
    """As huggingface_hub finds it: HF_HUB_CACHE, its older name, HF_HOME/hub, or the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    default = f"{os.environ.get('HF_HOME', f'{home}/huggingface')}/hub"
    found = os.environ.get("HF_HUB_CACHE", os.environ.get("HUGGINGFACE_HUB_CACHE", default))
    return Path(os.path.expandvars(found)).expanduser()


def is_offline() -> bool:
    """Whether the hub may not be asked; huggingface_hub takes either variable."""
    said = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}
