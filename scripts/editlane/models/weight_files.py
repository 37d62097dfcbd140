"""Which files a checkpoint is read from, and where the hub's copy of it lies. Imports no model library."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from editlane.models.checkpoints import is_hub_id


def find_checkpoint(model: str, revision: str | None) -> Path | None:
    """Where a checkpoint lies on this machine: the folder, or the snapshot of a hub id; None where there is none."""
    if is_hub_id(model):
        return cached_snapshot(model, revision)
    return Path(model) if model and Path(model).is_dir() else None


def weights_of(model: str, revision: str | None) -> list[Path]:
    """The files that loading this model reads; none where it is not on this machine yet."""
    folder = find_checkpoint(model, revision)
    return weight_files(folder) if folder else []


def weight_files(checkpoint: Path) -> list[Path]:
    """The files that loading reads, of all parts of a diffusers or transformers folder."""
    return [path for part in checkpoint_parts(checkpoint) for path in part_files(part)]


def checkpoint_parts(checkpoint: Path) -> Iterator[Path]:
    """The folders that hold weights: those of the components, or the folder itself."""
    index = checkpoint / "model_index.json"
    if not index.is_file():
        yield checkpoint
        return
    for name, entry in json.loads(index.read_text(encoding="utf-8")).items():
        if isinstance(entry, list) and entry[-1] is not None and not name.startswith("_"):
            yield checkpoint / name


def part_files(folder: Path) -> list[Path]:
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
