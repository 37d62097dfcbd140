"""Seconds from the start of a process to a loaded model, and what the import of every step program takes.

    python tests/bench/bench_loading.py [--gb 1] [--processes 6] [--repeats 1] [--json OUT]

The checkpoint is a Qwen3-VL of random bytes in bfloat16, --gb GB on the disk of --folder. "Cold" drops its pages from
the page cache first (posix_fadvise; other files stay). One process loads it as the judge of a lane does; the `other`
seconds are Python's start and all else. Several processes at once copy the mapped file block by block into a buffer, as
a transfer to a device does, without the imports, for which this machine may have too few cores.
plain: as the model's loader reads. ahead: one process reads ahead of the loaders, as lanes do.
They take turns; the best of --repeats counts. Steps: `--help`, which imports what the step imports.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

JUDGE = """
import json, sys, time
sys.path.insert(0, "scripts")
from editlane.models import load_times, registry
load_times.record_imports()
way, model = sys.argv[1:]
if way == "plain":
    registry.read_ahead = lambda *_: None
registry.build("judge", adapter="qwen3-vl", model=model, revision=None, params={"dtype": "bfloat16"})
print(json.dumps(load_times.get_seconds() | {"seconds": time.monotonic() - load_times.get_start()}))
"""

COPY = """
import json, mmap, sys, time
sys.path.insert(0, "scripts")
from editlane.models import page_cache
from editlane.models.weight_files import find_weights
way, model, start = sys.argv[1:]
buffer = memoryview(bytearray(page_cache.BLOCK))
time.sleep(max(0.0, float(start) - time.monotonic()))
files = find_weights(model, None)
if way == "ahead":
    page_cache.read_ahead(lambda: files)
with load_times.measure_phase("transfer"):
    for file in files:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            with memoryview(mapped) as weights:
                for start_of in range(0, len(weights), len(buffer)):
                    part = weights[start_of : start_of + len(buffer)]
                    buffer[: len(part)] = part
                    part.release()
print(json.dumps(load_times.get_seconds() | {"seconds": time.monotonic() - float(start)}))
"""

WAYS = (("plain", "cold"), ("ahead", "cold"), ("plain", "warm"))
READY = 3.0
"""Seconds in which all processes are up."""


def write_checkpoint(folder: Path, size: float) -> None:
    """A Qwen3-VL folder with `size` GB of random bytes as weights."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from editlane.models.tiny import build_tiny_model

    build_tiny_model("qwen3-vl", folder)
    config = Qwen3VLConfig.from_pretrained(folder)
    text = config.text_config
    text.hidden_size, text.intermediate_size, text.head_dim = 2048, 8192, 128
    text.num_attention_heads, text.num_key_value_heads = 16, 8
    text.rope_parameters["mrope_section"] = [24, 20, 20]
    config.vision_config.out_hidden_size = 2048
    text.num_hidden_layers = max(1, round(size * 1e9 / 2 / (2048 * (3 * 8192 + 2 * 2048 + 2 * 1024))))
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(config)
    (folder / "model.safetensors").unlink()
    weights = {
        name: torch.frombuffer(bytearray(os.urandom(2 * meta.numel())), dtype=torch.bfloat16).reshape(meta.shape)
        for name, meta in model.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with (folder / "model.safetensors").open("rb") as file:
        os.fsync(file.fileno())


def forget(folder: Path) -> None:
    """Drop the weights from the page cache."""
    with (folder / "model.safetensors").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run(code: str, arguments: list[str], count: int, locks: Path) -> list[dict[str, float]]:
    """What so many processes that start together say."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "GPULEASE_DIR": str(locks)}
    environment["GPULEASE_SINCE"] = str(time.monotonic())
    command = [sys.executable, "-c", code, *arguments]
    started = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    ended = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit("a process failed; run its code by hand")
    return [json.loads(out.decode().splitlines()[-1]) for out in ended]


def loading_table(folder: Path, processes: int, repeats: int, locks: Path) -> list[dict[str, Any]]:
    """Seconds of the best turn of each way, those of its slowest process."""
    turns: dict[tuple[int, str, str], list[dict[str, float]]] = {}
    for _ in range(repeats):
        for count in (1, processes):
            for way, state in WAYS:
                if state == "cold":
                    forget(folder)
                code, more = (JUDGE, []) if count == 1 else (COPY, [str(time.monotonic() + READY)])
                told = run(code, [way, str(folder), *more], count, locks)
                turns.setdefault((count, way, state), []).append(max(told, key=lambda one: one["seconds"]))
    return [
        {"processes": count, "way": way, "cache": state} | min(of_way, key=lambda turn: turn["seconds"])
        for (count, way, state), of_way in turns.items()
    ]


def import_table() -> dict[str, float]:
    """Seconds of `--help` of every step program."""
    found = {}
    for step in sorted((ROOT / "scripts").glob("*.py")):
        started = time.monotonic()
        subprocess.run([sys.executable, step, "--help"], capture_output=True, check=True)
        found[step.stem] = time.monotonic() - started
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the checkpoint is written; default the temporary folder")
    parser.add_argument("--json", type=Path, help="write the tables here, too")
    args = parser.parse_args()
    imports = import_table()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name) / "model"
        write_checkpoint(folder, args.gb)
        size = (folder / "model.safetensors").stat().st_size / 1e9
        table = loading_table(folder, args.processes, args.repeats, Path(name))
    for step, seconds in imports.items():
        print(f"{step:24} {seconds:6.2f} s")
    print(f"\na checkpoint of {size:.1f} GB, {len(os.sched_getaffinity(0))} cores; seconds")
    print(
        f"{'processes':>9} {'way':12} {'cache':6} {'all':>7} {'imports':>8} {'reading':>8} {'transfer':>9} {'other':>7}"
    )
    for row in table:
        other = row["seconds"] - row["imports"] - row["reading"] - row["transfer"]
        parts = f"{row['imports']:8.1f} {row['reading']:8.1f} {row['transfer']:9.1f} {other:7.1f}"
        print(f"{row['processes']:9} {row['way']:12} {row['cache']:6} {row['seconds']:7.1f} {parts}")
    if args.json:
        told = {"size_gb": size, "imports": imports, "loading": table}
        args.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
