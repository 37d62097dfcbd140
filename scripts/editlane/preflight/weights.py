"""Compute how much memory a loaded checkpoint takes, from the headers of its files."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from editlane.editors.optimizations.apply import is_quantized
from editlane.models.checkpoints import read_safetensors_header
from editlane.models.weight_files import list_part_files, list_parts, list_weight_files

DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes per number."""

FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""Types that loading converts to the run's dtype. Integers and smaller floats stay as stored."""


def choose_dtype(params: dict[str, Any], *, on_gpu: bool) -> str:
    """Return the dtype that adapters use: the param `dtype`, else bfloat16 on a GPU and float32 on the CPU."""
    return params.get("dtype") or ("bfloat16" if on_gpu else "float32")


def count_loaded_bytes(checkpoint: Path, dtype: str) -> int:
    """Return the bytes of all weights in `dtype`. Quantised parts stay as stored."""
    return sum(_count_part_bytes(folder, DTYPE_BYTES[dtype]) for folder in list_parts(checkpoint))


def count_device_bytes(checkpoint: Path, params: dict[str, Any], *, on_gpu: bool) -> int:
    """Return the bytes of weights on the device at the same time. `offload` keeps some in host memory."""
    size = DTYPE_BYTES[choose_dtype(params, on_gpu=on_gpu)]
    fp8 = params.get("quantization") == "fp8"
    parts = {folder: _count_part_bytes(folder, size, fp8=fp8) for folder in list_parts(checkpoint)}
    offload = params.get("offload") if on_gpu else None
    if offload == "blocks":
        return sum(min(whole, _count_streamed_bytes(folder, size, fp8)) for folder, whole in parts.items())
    return max(parts.values()) if offload == "model" else sum(parts.values())


def count_stored_bytes(checkpoint: Path) -> int:
    """Return the bytes of the weight files that loading reads."""
    return sum(path.stat().st_size for path in list_weight_files(checkpoint))


def _count_part_bytes(folder: Path, size: int, *, fp8: bool = False) -> int:
    quantised = _is_quantized(folder)
    return sum(
        path.stat().st_size if quantised or path.suffix != ".safetensors" else _count_converted_bytes(path, size, fp8)
        for path in list_part_files(folder)
    )


def _count_streamed_bytes(folder: Path, size: int, fp8: bool) -> int:
    """Return the bytes of a part that are on the GPU at once with `offload: blocks`; see offloading.py of the editors.

    A unit comes while the one before it computes: a block of the transformer, or a layer of a text encoder. An
    autoencoder stays there, and so does what the transformer has outside of its blocks.
    """
    files = list_part_files(folder)
    if "vae" in folder.name or _is_quantized(folder) or any(path.suffix != ".safetensors" for path in files):
        return _count_part_bytes(folder, size)
    units: Counter[str] = Counter()
    outside = 0
    for path in files:
        for name, count in _iterate_converted_bytes(path, size, fp8):
            block = re.match(r"\w*blocks\.\d+\.", name)
            units[block[0] if block else name] += count
    if any(name.endswith(".") for name in units):
        outside = sum(count for name, count in units.items() if not name.endswith("."))
        units = Counter({name: count for name, count in units.items() if name.endswith(".")})
    return outside + 2 * max(units.values(), default=0)


def _is_quantized(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and "quantization_config" in json.loads(config.read_text(encoding="utf-8"))


def _count_converted_bytes(path: Path, size: int, fp8: bool) -> int:
    return sum(count for _, count in _iterate_converted_bytes(path, size, fp8))


def _iterate_converted_bytes(path: Path, size: int, fp8: bool) -> Iterator[tuple[str, int]]:
    """Yield (name, bytes on the device) of each tensor of a file."""
    for name, tensor in read_safetensors_header(path)[1].items():
        if tensor["dtype"] in FLOATS:
            yield name, prod(tensor["shape"]) * (1 if fp8 and _becomes_fp8(name, tensor["shape"]) else size)
        else:
            yield name, tensor["data_offsets"][1] - tensor["data_offsets"][0]


def _becomes_fp8(name: str, shape: list[int]) -> bool:
    """Return whether fp8 applies: to linear layers in the blocks of a diffusers transformer."""
    found = re.fullmatch(r"\w*blocks\.\d+\.(.+)\.weight", name)
    return found is not None and len(shape) == 2 and is_quantized(found[1], *shape)


def is_offline() -> bool:
    """Return whether the hub is disabled. huggingface_hub accepts either variable."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in {"1", "ON", "YES", "TRUE"}
