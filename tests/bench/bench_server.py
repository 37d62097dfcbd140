"""What a reward server costs and gains, in tables.

    python tests/bench/bench_server.py [--part front batching ...] [--quick] [--flask FOLDER]

Real servers with the fake judge, and all clients in this process: read the ratios of one run. Edits differ, so that
each is judged, unless a table says otherwise. The part flask needs Flask and gunicorn, which Editlane does not:
`pip install --target FOLDER flask gunicorn`. The parts start and scores build a tiny Qwen3-VL.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "helpers"), str(Path(__file__).parents[2] / "scripts")]

from server_flask import compare_with_flask  # noqa: E402 (found through the line above)
from server_parts import Setting, batching, front, latency, memory, scores, start  # noqa: E402

PARTS = {
    "front": (front, "What the front process computes for answers that it knows"),
    "batching": (batching, "Micro-batches, for a judge with a cost per batch"),
    "latency": (latency, "One edit among others"),
    "flask": (compare_with_flask, "The same scoring in the handler of Flask"),
    "memory": (memory, "A full queue"),
    "start": (start, "From the start to the first answer"),
    "scores": (scores, "Scores online and offline, of a tiny Qwen3-VL"),
}
PACKAGES = ("starlette", "uvicorn", "uvloop", "httptools", "msgspec", "pillow")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="few requests: the figures mean nothing")
    parser.add_argument("--flask", type=Path, help="folder that Flask and gunicorn are installed in")
    args = parser.parse_args(argv)
    print(f"{describe_machine()}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.part:
            measure, title = PARTS[name]
            print(f"## {title} (`{name}`)\n", flush=True)
            began = time.monotonic()
            measure(Setting(Path(folder) / name, quick=args.quick, flask=args.flask))
            print(f"\n({time.monotonic() - began:.0f} s)\n", flush=True)


def describe_machine() -> str:
    """Return what the figures depend on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    cores = f"{len(os.sched_getaffinity(0))} cores ({models[0] if models else platform.machine()})"
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{cores}, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, {versions}."


if __name__ == "__main__":
    main()
