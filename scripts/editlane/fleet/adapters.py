"""Check a LoRA adapter before a server loads it, name it by its content, and keep a copy that nobody changes.

vLLM loads an adapter that was made for another model without an error, and then it does nothing.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from editlane.core.errors import UserError, format_value, one_line
from editlane.core.files import check_regular, make_folder
from editlane.core.shared_folders import build_folder, hold_build_lock
from editlane.fleet.adapter_layers import find_misfit, find_other_model, read_rank
from editlane.fleet.config import FleetConfig
from editlane.models.checkpoints import PICKLES, check_checkpoint, find_safetensors_problem, fingerprint_model

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The files of an adapter. vLLM reads no others."""

DIGITS = 12
"""Hexadecimal digits of a fingerprint."""

RANKS: tuple[int, ...] = get_args(FleetConfig.model_fields["max_lora_rank"].annotation)

HARMLESS_STARTS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lora_ga"})
"""Values of `init_lora_weights` that leave the base model as it is. For others PEFT changes it when it loads a LoRA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter that fits the base model and can be served."""

    name: str
    fingerprint: str
    """Hexadecimal digits of a hash of its files and of the base model: other weights have another one."""
    path: Path
    source: Path
    """The folder that the user gave; `path` is that of the copy once there is one."""
    rank: int
    """The largest of its layers."""
    base: str = field(repr=False)
    """The base model's fingerprint."""

    @property
    def published(self) -> str:
        """Return the name that never means other weights."""
        return f"{self.name}@{self.fingerprint}"


def read_adapter(
    name: str, folder: Path, *, model: str, revision: str | None, max_rank: int, towers: bool = False
) -> Adapter:
    """Check the adapter in a folder, and return it. Raises UserError with what to do if it cannot be served.

    With `towers` the servers run with `--enable-tower-connector-lora`, so that it may change the vision part, too. If
    the base model is not on this machine yet, the layers cannot be compared.
    """
    where = f"The adapter {name} in {folder}"
    if not folder.is_dir():
        what = "no folder" if folder.exists() else "missing"
        raise UserError(f"{where} is {what}. Set `adapters: {name}:` to the folder that PEFT saved.")
    config = _read_config(where, folder)
    if feature := _find_unserved_feature(config):
        raise UserError(f"{where} has {feature}, which vLLM does not serve. Train it without.")
    _check_weights(where, folder)
    check_checkpoint(model)
    if other := find_other_model(config, model, revision):
        raise UserError(f"{where} was made for another model: {other}. {_FOR_THIS}")
    if misfit := find_misfit(folder / WEIGHTS, model, revision, towers):
        raise UserError(f"{where} {misfit}")
    rank = max(_read_config_rank(where, config), read_rank(folder / WEIGHTS))
    _check_rank(where, rank, max_rank)
    base = _hash_base(model, revision)
    fingerprint, source = _hash_files(folder, base), folder.absolute()
    return Adapter(name=name, fingerprint=fingerprint, path=folder, source=source, rank=rank, base=base)


def store_adapter(adapter: Adapter, store: Path) -> Adapter:
    """Copy the adapter to `store/<published name>`, unless it is there, and return the copy.

    So its folder may vanish, or be trained on in place, without a change of what is served. Raises UserError if the
    adapter has changed since it was read.
    """
    place = store / adapter.published
    if not _is_stored(adapter, place):
        make_folder(store)
        with hold_build_lock(place):
            if not _is_stored(adapter, place):  # by another process meanwhile
                with build_folder(place) as new:
                    _copy(adapter, new)
    return replace(adapter, path=place.absolute())  # servers have working folders of their own


def publish_base(model: str, revision: str | None, name: str) -> str:
    """Return the name of the base model that never means other weights. Raises UserError without a checkpoint."""
    return f"{name}@{_hash_base(model, revision)[:DIGITS]}"


_FOR_THIS = "Give one that was trained on this model, or serve the model that it was trained on."


def _read_config(where: str, folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    check_regular(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{where} has no {CONFIG}. Give the folder that PEFT's save_pretrained wrote.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: {CONFIG} cannot be read: {one_line(error)} Copy or save it again.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        found = config.get("peft_type") if isinstance(config, dict) else config
        raise UserError(f"{where} has the peft_type {format_value(found)}; vLLM serves LORA alone. Train a LoRA.")
    return config


def _find_unserved_feature(config: dict[str, Any]) -> str | None:
    """Name the first feature of PEFT that vLLM refuses, or would leave out."""
    for key in (
        *("use_dora", "modules_to_save", "lora_bias", "trainable_token_indices", "alora_invocation_tokens"),
        *("layer_replication", "use_bdlora", "use_qalora"),
    ):
        if config.get(key):
            return f"`{key}: {format_value(config[key])}`"
    if config.get("bias", "none") != "none":
        return f"`bias: {format_value(config['bias'])}`"
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower() not in HARMLESS_STARTS:
        return f"`init_lora_weights: {format_value(start)}`, for which PEFT changes the base model,"
    return None


def _check_weights(where: str, folder: Path) -> None:
    path = folder / WEIGHTS
    check_regular(path)
    if not path.is_file():
        pickles = [one.name for one in sorted(folder.glob("adapter_model.*")) if one.suffix in PICKLES]
        why = f", but {pickles[0]}, a pickle, which can run code when loaded" if pickles else ""
        raise UserError(
            f"{where} has no {WEIGHTS}{why}. Save it with PEFT's save_pretrained, which writes safetensors."
        )
    if problem := find_safetensors_problem(path):
        raise UserError(f"{where} is damaged: {problem}. Copy or save it again.")


def _read_config_rank(where: str, config: dict[str, Any]) -> int:
    pattern = config.get("rank_pattern") or {}
    ranks: list[Any] = [config.get("r"), *(pattern.values() if isinstance(pattern, dict) else [pattern])]
    for rank in ranks:
        if not isinstance(rank, int) or rank < 1:
            raise UserError(f"{where}: {CONFIG} has the rank {format_value(rank)}. Copy or save it again.")
    return int(max(ranks))


def _check_rank(where: str, rank: int, max_rank: int) -> None:
    if rank <= max_rank:
        return
    enough = [one for one in RANKS if one >= rank]
    remedy = f"Set `max_lora_rank: {enough[0]}`" if enough else f"vLLM serves {RANKS[-1]} at most; train a smaller one"
    raise UserError(f"{where} has rank {rank}, and `max_lora_rank` is {max_rank}. {remedy}.")


def _hash_base(model: str, revision: str | None) -> str:
    return hashlib.sha256(json.dumps(fingerprint_model(model, revision), sort_keys=True).encode()).hexdigest()


def _hash_files(folder: Path, base: str) -> str:
    digest = hashlib.sha256(base.encode())
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:DIGITS]


def _is_stored(adapter: Adapter, place: Path) -> bool:
    try:
        return _hash_files(place, adapter.base) == adapter.fingerprint
    except OSError:
        return False


def _copy(adapter: Adapter, folder: Path) -> None:
    """Copy the files into an empty folder. Raises UserError if they are not those that were read."""
    try:
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(adapter.path / name, folder / name)
        is_same = _hash_files(folder, adapter.base) == adapter.fingerprint
    except FileNotFoundError:
        is_same = False
    if not is_same:
        raise UserError(
            f"The adapter {adapter.name} in {adapter.path} changed while it was read, perhaps because it is being "
            "saved. Try again when it is complete."
        )
