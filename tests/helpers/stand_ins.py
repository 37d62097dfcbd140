"""Stand in for what a test machine lacks: GPUs in nvidia-smi, and checkpoints of any size."""

import json
from math import prod
from pathlib import Path


def write_weights(path: Path, dtype: str, shape: list[int], name: str = "w") -> None:
    """Write a safetensors file of one tensor. The file is sparse, so it may be larger than the disk."""
    size = prod(shape) * {"F32": 4, "BF16": 2, "U8": 1}[dtype]
    header = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)


def write_checkpoint(folder: Path, billions: float, dtype: str = "BF16") -> Path:
    """Write a diffusers checkpoint whose `unet` has so many billions of weights, in two files."""
    index = {"_class_name": "Test", "unet": ["diffusers", "UNet"], "scheduler": ["diffusers", "Scheduler"]}
    unet = folder / "unet"
    shards = [
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "diffusion_pytorch_model-00002-of-00002.safetensors",
    ]
    for shard in shards:
        write_weights(unet / shard, dtype, [int(billions * 500), 1_000_000])
    (folder / "scheduler").mkdir()
    (folder / "scheduler/scheduler_config.json").write_text("{}")
    (unet / "config.json").write_text("{}")
    weight_map = {f"w{number}": shard for number, shard in enumerate(shards)}
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


NVIDIA_SMI = """#!/bin/sh
case "$*" in
*memory*) printf '%s\\n' "0, GPU-aaaa1111, NVIDIA H200, 143771, 1" "1, GPU-bbbb2222, NVIDIA H200, 143771, 41000" ;;
*) printf '%s\\n' "0, GPU-aaaa1111" "1, GPU-bbbb2222" ;;
esac
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
