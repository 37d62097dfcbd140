"""Find out whether an adapter's layers are those of a base model, from the headers of their files alone.

Names of layers differ between an adapter, which has those of the model in memory, and a checkpoint.
"""

import json
import logging
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from editlane.core.errors import format_value
from editlane.core.text_width import pluralize
from editlane.models.checkpoints import find_problem, is_hub_id, read_safetensors_header
from editlane.models.weight_files import find_checkpoint, list_weight_files

log = logging.getLogger(__name__)

SAFE = ".safetensors"

Shape = tuple[int, int] | None
"""Features (out, in) of a layer; None if the file has them packed, as quantized ones do."""

_TENSOR = re.compile(
    r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?:(?P<part>[AB])\.weight|embedding_(?P<table>[AB]))"
)
_TOWER = re.compile(r"(?:^|\.)(?:visual|vision\w*|audio\w*|multi_modal_projector)\.")
_LANGUAGE = re.compile(r"model\.(?:language_model\.)?layers\.")
_TAIL = re.compile(r"(?:layers|blocks)\.\d+\..+")
_FUSED = re.compile(r"\.experts(?:\.base_layer)?$")
_CACHED = re.compile(r"models--([^/]+)--([^/]+)/snapshots/[^/]+/*$")


def find_other_model(config: dict[str, Any], model: str, revision: str | None) -> str | None:
    """Describe the model that the adapter's config names, if that is certainly another one. None if it may be this.

    A name that cannot be compared, such as the path of a folder on another machine, is left to the layers.
    """
    trained = config.get("base_model_name_or_path")
    if not isinstance(trained, str) or not trained.strip("/"):
        return None
    one, other = _name_model(trained), _name_model(model)
    if one.rpartition("/")[2].lower() == other.rpartition("/")[2].lower():
        return None
    if is_hub_id(one) and is_hub_id(other):
        return f"{CONFIG_KEY} is {format_value(one)}, and the fleet's model is {format_value(other)}"
    kind, wanted = _read_architecture(Path(trained)), _read_architecture(find_checkpoint(model, revision))
    if kind and wanted and kind != wanted:
        return f"{CONFIG_KEY} is {format_value(trained)}, {kind}, and the fleet's model is {wanted}"
    log.warning("an adapter was trained on %s; it is served on %s, which must be the same model", trained, model)
    return None


CONFIG_KEY = "its base_model_name_or_path"


def find_misfit(weights: Path, model: str, revision: str | None, towers: bool) -> str | None:
    """Describe why an adapter's weights cannot be served on this model, as the end of a sentence and a remedy.

    None if they fit, also if the model is not on this machine.
    """
    try:
        shapes, odd = _read_adapter_layers(weights)
    except (KeyError, TypeError, AttributeError):
        return "is damaged: its tensors have no shapes. Copy or save it again."
    if odd:
        return f"has the tensor {format_value(odd)}, which is no part of a LoRA that vLLM serves. Save it again."
    if not shapes:
        return "has no weights. Train it, and save it again."
    in_tower = [layer for layer in shapes if _TOWER.search(layer)]
    if in_tower and not towers:
        return (
            f"changes the vision part ({in_tower[0]}), which vLLM leaves out. Train it with `target_modules` of the "
            "language model alone, or set `extra_args: [--enable-tower-connector-lora]`."
        )
    folder = find_checkpoint(model, revision)
    if folder is None or find_problem(folder):  # not downloaded yet, or not whole
        return None
    layers = _Layers(folder)
    wrong = [text for layer, shape in shapes.items() if (text := layers.compare(layer, shape))]
    if not wrong:
        return None
    return (
        f"was made for another model than {model}: {wrong[0]} ({len(wrong)} of "
        f"{pluralize(len(shapes), 'layer')} do not fit). Give one that was trained on this model, or serve the model "
        "that it was trained on."
    )


def read_rank(weights: Path) -> int:
    """Return the largest rank of a layer; 0 if all are experts in one tensor, which has their ranks side by side."""
    tensors = read_safetensors_header(weights)[1].items()
    found = ((_TENSOR.fullmatch(name), entry["shape"][0]) for name, entry in tensors)
    ranks = [
        rank
        for name, rank in found
        if name and "A" in (name["part"], name["table"]) and not _FUSED.search(name["layer"])
    ]
    return max(ranks, default=0)


def _name_model(model: str) -> str:
    """Return the hub id of a folder in the hub's cache, and other models as they are."""
    found = _CACHED.search(model)
    return f"{found[1]}/{found[2]}" if found else model.rstrip("/")


def _read_architecture(folder: Path | None) -> str | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else {}
        return str(config["architectures"][0])
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _read_adapter_layers(weights: Path) -> tuple[dict[str, tuple[int, int]], str | None]:
    """Return the features (out, in) of each layer that has a LoRA, and a tensor that is no part of one, if any."""
    parts: dict[str, dict[str, list[int]]] = defaultdict(dict)
    tables = set()
    for name, entry in read_safetensors_header(weights)[1].items():
        found = _TENSOR.fullmatch(name)
        if found is None or len(entry["shape"]) != 2:
            return {}, name
        parts[found["layer"]][found["part"] or found["table"]] = entry["shape"]
        if found["table"]:
            tables.add(found["layer"])
    for layer, pair in parts.items():
        if pair.keys() != {"A", "B"} or (pair["A"][0] != pair["B"][1] and not _FUSED.search(layer)):
            return {}, f"{layer}.lora_{min(pair)}"
    shapes = {layer: (pair["B"][0], pair["A"][1]) for layer, pair in parts.items()}
    # The weight of an embedding is (tokens, features), though tokens go in.
    return {layer: shape[::-1] if layer in tables else shape for layer, shape in shapes.items()}, None


class _Layers:
    """The layers of a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._shapes: dict[str, Shape] = {}
        self._by_tail: dict[str, list[str]] = defaultdict(list)
        self._with_experts: set[str] = set()
        headers = [read_safetensors_header(path)[1] for path in list_weight_files(folder) if path.suffix == SAFE]
        tensors = {name: entry for header in headers for name, entry in header.items()}
        has_tower = any(map(_TOWER.search, tensors))
        for name, entry in tensors.items():
            self._add(name, entry)
            if has_tower:  # older checkpoints have no `language_model` in the names of its layers
                self._add(re.sub(r"^model\.(?=layers\.)", "model.language_model.", name), entry)

    def _add(self, name: str, entry: dict[str, Any]) -> None:
        name = _rename(name)
        before, experts, _ = name.partition(".experts")
        if experts:
            self._with_experts.add(_cut(before))
        layer, _, kind = name.rpartition(".")
        if kind not in ("weight", "qweight") or layer in self._shapes:
            return
        shape, is_float = entry["shape"], entry["dtype"].startswith(("F", "BF"))
        self._shapes[layer] = (shape[0], shape[1]) if kind == "weight" and is_float and len(shape) == 2 else None
        self._by_tail[_cut(layer)].append(layer)

    def compare(self, layer: str, shape: tuple[int, int]) -> str | None:
        """Say what is wrong with a LoRA for this layer, as a clause, or None."""
        name = _rename(layer)
        found = self._find(name)
        if not found:
            before, experts, _ = name.partition(".experts")  # one tensor for all experts has no layers to compare
            return None if experts and _cut(before) in self._with_experts else f"that has no layer {layer}"
        wanted = [self._shapes[one] for one in found]
        known = [one for one in wanted if one]
        if len(known) < len(wanted) or shape in known:
            return None
        outs, ins = known[0]
        return (
            f"its LoRA of {layer} is for {shape[1]} features in and {shape[0]} out, and that layer has {ins} and {outs}"
        )

    def _find(self, layer: str) -> list[str]:
        if layer in self._shapes:
            return [layer]
        if layer.endswith("lm_head"):  # in the checkpoint it is the embedding
            return [name for name in self._shapes if name.endswith("embed_tokens")]
        found = self._by_tail.get(_cut(layer), [])
        # A language model alone may have the same layers as one with a vision part, but vLLM tells them by these names.
        return [] if _LANGUAGE.match(layer) and any(map(_LANGUAGE.match, found)) else found


def _rename(name: str) -> str:
    """Give a tensor or a layer the name that it has in today's transformers."""
    return re.sub(r"^language_model\.model\.", "model.language_model.", name).removeprefix("language_model.")


def _cut(name: str) -> str:
    """Return the part of a name that does not depend on where the layers are in the model."""
    found = _TAIL.search(name)
    return found[0] if found else name
