"""Find the weight files of a checkpoint, in a folder or in the hub's local cache, without a model library."""

import json
import os
from pathlib import Path

from editlane.models.checkpoints import find_index, is_hub_id, read_components


def find_checkpoint(model: str, revision: str | None) -> Path | None:
    """Find a checkpoint on this machine: a folder, or the cached snapshot of a hub id. None if there is none."""
    if is_hub_id(model):
        return find_cached_snapshot(model, revision)
    return Path(model) if model and Path(model).is_dir() else None


def find_weights(model: str, revision: str | None) -> list[Path]:
    """List the files that loading this model reads. The list is empty if the model is not on this machine yet."""
    folder = find_checkpoint(model, revision)
    return list_weight_files(folder) if folder else []


def list_weight_files(checkpoint: Path) -> list[Path]:
    """List the files that loading reads, over all components of a diffusers or transformers folder."""
    return [path for part in list_parts(checkpoint) for path in list_part_files(part)]


def list_parts(checkpoint: Path) -> list[Path]:
    """List the folders that may hold weights: those of the components, or the checkpoint itself."""
    if find_index(checkpoint) is None:
        return [checkpoint]
    return [folder for folder, _ in read_components(checkpoint)]


def list_part_files(folder: Path) -> list[Path]:
    """List the files that loading reads: those of the index, or the one with the usual name, or all weight files.

    A folder may hold the same weights twice, for instance as `model.fp16.safetensors` or as `*.bin`.
    """
    for index in sorted(folder.glob("*model.safetensors.index.json")):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / shard for shard in sorted(shards)]
    for pattern in ("*model.safetensors", "*.safetensors", "*model.bin", "*.bin"):
        if found := sorted(folder.glob(pattern)):
            return found
    return []


def find_cached_snapshot(model: str, revision: str | None) -> Path | None:
    """Find the folder with this revision of `model` in the hub's local cache. Returns None if there is none.

    huggingface_hub offers this, too, but it is missing in Snakemake's own environment.
    """
    repository = find_hub_cache() / f"models--{model.replace('/', '--')}"
    reference = repository / "refs" / (revision or "main")
    try:
        commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision or ""
    except OSError:
        return None
    snapshot = repository / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def find_hub_cache() -> Path:
    """Find the cache as huggingface_hub does: HF_HUB_CACHE, its older name, HF_HOME/hub, or the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    default = f"{os.environ.get('HF_HOME', f'{home}/huggingface')}/hub"
    found = os.environ.get("HF_HUB_CACHE", os.environ.get("HUGGINGFACE_HUB_CACHE", default))
    return Path(os.path.expandvars(found)).expanduser()
