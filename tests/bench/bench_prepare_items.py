"""Seconds and memory of prepare_items on a base64-json file of 1.1 GB, beside a plain json.load of the same file.

    python tests/bench/bench_prepare_items.py [--records 270] [--rounds 3] [--json OUT]

The images are PNGs of noise, about 3 MB each, all different. Both programs run as processes of their own, in turns; a
row shows the median of the seconds and the largest peak. The goal: at most 300 MB, at most 3 times the seconds.
"""

import argparse
import base64
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PREPARE = Path(__file__).parents[2] / "scripts/prepare_items.py"
LOAD = "import json, sys; print(len(json.load(open(sys.argv[1], encoding='utf-8'))))"
CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]
SIDE = 1000
BYTES_PER_RECORD = 4 * SIDE * SIDE + 100_000


def write_dataset(path: Path, records: int) -> None:
    """One JSON list with the fields of `base64-json`; the same bytes for the same number of records."""
    rng = np.random.default_rng(42)
    with path.open("w", encoding="utf-8") as file:
        for n in range(records):
            category = CATEGORIES[n % len(CATEGORIES)]
            image = io.BytesIO()
            noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(noise).save(image, format="PNG", compress_level=0)
            record = {
                "subset": category,
                "original_description": "噪声。",
                "original_description_en": "Noise.",
                "edit_instruction": f"把第 {n} 张图变成雨天。",
                "edit_instruction_en": f"Make it rain in picture {n}.",
                "src_img_b64": base64.b64encode(image.getvalue()).decode(),
                "rationale_short_en": "Rain wets the ground.",
                "tags": ["rain", "weather"],
                "difficulty": "medium",
                "original_image_path": f"generated_images/{n:05d}_{category}_medium.png",
                "seed": n,
            }
            file.write("[\n" if n == 0 else ",\n")
            json.dump(record, file, ensure_ascii=False, indent=2)
        file.write("\n]\n")


def measure(command: Sequence[str]) -> tuple[float, float]:
    """(seconds, peak resident memory in MB) of a process. Raises RuntimeError where it fails.

    The kernel counts this program's own memory at the fork, too (about 70 MB), so no peak is below that.
    """
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB here
    return time.monotonic() - started, usage.ru_maxrss * unit / 1e6


def run_rounds(folder: Path, dataset: Path, rounds: int) -> dict[str, dict[str, float]]:
    run_dir = folder / "run"
    prepare = [sys.executable, str(PREPARE), "--dataset", str(dataset), "--format", "base64-json", "--language", "en"]
    prepare += ["--run-dir", str(run_dir), "--out", str(run_dir / "items.parquet"), "--categories", *CATEGORIES]
    commands = {"prepare_items": prepare, "json.load": [sys.executable, "-c", LOAD, str(dataset)]}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            shutil.rmtree(run_dir, ignore_errors=True)
            seen[name].append(measure(command))
    return {
        name: {"seconds": statistics.median(s for s, _ in runs), "peak_mb": max(mb for _, mb in runs)}
        for name, runs in seen.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=270)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the table here, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        needed = 2 * args.records * BYTES_PER_RECORD  # the dataset and the images decoded from it
        if shutil.disk_usage(folder).free < needed:
            sys.exit(f"{folder} has less than the {needed / 1e9:.1f} GB this needs; set TMPDIR to a larger disk.")
        dataset = Path(folder) / "data.json"
        write_dataset(dataset, args.records)
        size = dataset.stat().st_size
        rows: dict[str, Any] = run_rounds(Path(folder), dataset, args.rounds)
    ratio = rows["prepare_items"]["seconds"] / rows["json.load"]["seconds"]
    print(f"{args.records} records, {size / 1e9:.2f} GB, {args.rounds} rounds")
    print(f"{'':14} {'seconds':>8} {'peak MB':>8}")
    for name, row in rows.items():
        print(f"{name:14} {row['seconds']:8.2f} {row['peak_mb']:8.0f}")
    print(f"prepare_items / json.load: {ratio:.2f}")
    if args.json:
        result = {"records": args.records, "bytes": size, "rows": rows, "ratio": ratio}
        args.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
