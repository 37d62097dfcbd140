"""How much memory a checkpoint takes once it is loaded, from the headers of its files."""

import json
import os
import re
from math import prod
from pathlib import Path
from typing import Any

from editlane.editors.optimizations.apply import is_quantized
from editlane.models.checkpoints import read_safetensors_header
from editlane.models.weight_files import list_part_files, list_parts, list_weight_files

SIZES = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of a number."""

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""What loading converts to the run's dtype; integers and smaller floats stay as they are stored."""


def run_dtype(params: dict[str, Any], *, on_gpu: bool) -> str:
    """The dtype that the adapters choose: `dtype` of the params, else bfloat16 on a GPU and float32 on the CPU."""
    return params.get("dtype") or ("bfloat16" if on_gpu else "float32")


def loaded_bytes(checkpoint: Path, dtype: str) -> int:
    """Bytes of all weights of a diffusers or transformers folder in `dtype`; weights of a quantised part as stored."""
    return sum(_part_bytes(folder, SIZES[dtype]) for folder in list_parts(checkpoint))


def device_bytes(checkpoint: Path, params: dict[str, Any], *, on_gpu: bool) -> int:
    """Bytes of the weights that are on the device at the same time: of a GPU not those that `offload` keeps away."""
    size = SIZES[run_dtype(params, on_gpu=on_gpu)]
    fp8 = params.get("quantization") == "fp8"
    parts = sorted(_part_bytes(folder, size, fp8=fp8) for folder in list_parts(checkpoint))
    if not on_gpu or not params.get("offload") or len(parts) == 1:
        return sum(parts)
    return parts[-1] if params["offload"] == "model" else parts[-2]  # of the largest, only a few blocks


def stored_bytes(checkpoint: Path) -> int:
    """Bytes of the weight files that loading reads."""
    return sum(path.stat().st_size for path in list_weight_files(checkpoint))


def _part_bytes(folder: Path, size: int, *, fp8: bool = False) -> int:
    quantised = _is_quantised(folder)
    return sum(
        path.stat().st_size if quantised or path.suffix != ".safetensors" else _converted(path, size, fp8)
        for path in list_part_files(folder)
    )


def _is_quantised(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and "quantization_config" in json.loads(config.read_text(encoding="utf-8"))


def _converted(path: Path, size: int, fp8: bool) -> int:
    return sum(
        prod(tensor["shape"]) * (1 if fp8 and _becomes_fp8(name, tensor["shape"]) else size)
        if tensor["dtype"] in FLOATS
        else tensor["data_offsets"][1] - tensor["data_offsets"][0]
        for name, tensor in read_safetensors_header(path)[1].items()
    )


def _becomes_fp8(name: str, shape: list[int]) -> bool:
    """Whether this is the weight of a linear layer in one of a diffusers transformer's blocks, to which fp8 applies."""
    found = re.fullmatch(r"\w*blocks\.\d+\.(.+)\.weight", name)
    return found is not None and len(shape) == 2 and is_quantized(found[1], *shape)


def is_offline() -> bool:
    """Whether the hub may not be asked; huggingface_hub takes either variable."""
    said = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in {"1", "ON", "YES", "TRUE"}
