"""Ways to do the same thing, measured one after the other in one process; each line is printed as soon as it is known.

A way that fails says why, and the next one is measured; a way that would not be through in time is left out.
"""

import argparse
import gc
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

GUESSED_SHARE = 0.2
"""Of the measured matrix rate, that a way is taken to reach; for the forecast of its time only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to do a unit (an item, an image)."""

    name: str
    measure: Callable[[], float]
    """Seconds a unit; warms up by itself."""
    work: float
    """FLOPs a unit that this way cannot do without; 0 where that is not known."""
    units: float
    """How many units `measure` does in all, warming up included."""
    waits: float = 0.0
    """Seconds that `measure` takes besides, whatever the device's matrix rate is."""
    note: str = ""
    whole: bool = True
    """Whether it does the whole unit; a part of it has no share of the floor, and no ratio."""
    less: bool = False
    """Whether it makes something else of a unit, for less work than the floor's: it has no share of the floor."""
    known: bool = True
    """Whether `work` is what it computes, not only an upper limit; else it has no share of the rate."""

    def forecast(self, rate: float) -> float:
        """Seconds that measuring it is likely to take."""
        return self.waits + self.units * self.work / (GUESSED_SHARE * rate)


class Ladder:
    """Prints a Markdown table, and JSON lines to `args.json`. The first way that succeeds is the plain one."""

    def __init__(self, args: argparse.Namespace, unit: str, dtype: Any) -> None:
        self.args, self.unit, self.dtype = args, unit, dtype
        self.started = time.monotonic()
        if args.json:
            args.json.write_text("", encoding="utf-8")
        for name, value in (about := setting(args)).items():
            print(f"{name}: {value}", flush=True)
        self.rate = matrix_rate(args.device, dtype)
        print(f"matrix rate, measured: {self.rate / 1e12:.4g} TFLOP/s in {dtype}\n", flush=True)
        self._write(about | {"matrix_rate": self.rate, "dtype": str(dtype)})

    def climb(self, title: str, ways: Iterable[Way], floor: float) -> None:
        """Measure these ways; `floor` is the FLOPs that a unit needs where nothing is reused."""
        only = self.args.only
        ways = [way for way in ways if not only or any(word in way.name for word in only)]
        likely = sum(way.forecast(self.rate) for way in ways)
        print(f"### {title}\n", flush=True)
        print(f"Floor: {floor / 1e12:.4g} TFLOP and so {1e3 * floor / self.rate:.4g} ms a {self.unit}. Likely to take")
        print(
            f"{likely:.0f} s: what the ways compute at {GUESSED_SHARE:.0%} of the measured rate, and their decoding.\n"
        )
        seconds = "s" if self.args.device == "cuda" else "CPU s"
        print(f"| way | {self.unit}s/s | {seconds} | of the floor | of the rate | peak GB | plain / this |")
        print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
        plain = None
        for way in ways:
            seconds = self._measured(title, way, floor, plain)
            plain = plain or seconds
        print(flush=True)

    def _measured(self, title: str, way: Way, floor: float, plain: float | None) -> float | None:
        over = time.monotonic() - self.started + way.forecast(self.rate) - 60 * self.args.minutes
        if over > 0:
            self._failed(title, way, f"left out: likely to end {over:.0f} s after the {self.args.minutes:g} minutes")
            return None
        free_memory()
        try:
            seconds = way.measure()
        except Exception as error:  # noqa: BLE001  one way that fails must not end the others
            self._failed(title, way, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            return None
        row = {
            "per_second": 1 / seconds,
            "seconds": seconds,
            "of_floor": floor / self.rate / seconds if way.whole and not way.less else None,
            "of_rate": way.work / self.rate / seconds or None if way.known else None,
            "peak_gb": peak_memory(),
            "times": (plain or seconds) / seconds if way.whole else None,
        }
        forms = ("{:.4g}", "{:.4g}", "{:.1%}", "{:.1%}", "{:.1f}", "{:.1f}")
        shown = ("" if value is None else form.format(value) for form, value in zip(forms, row.values(), strict=True))
        note = f" ({way.note})" if way.note else ""
        print(f"| {way.name}{note} | {' | '.join(shown)} |", flush=True)
        self._write({"title": title, "way": way.name} | row)
        return seconds

    def _failed(self, title: str, way: Way, why: str) -> None:
        print(f"| {way.name} | {why} | | | | | |", flush=True)
        self._write({"title": title, "way": way.name, "error": why})

    def _write(self, row: dict[str, Any]) -> None:
        if self.args.json:
            with self.args.json.open("a", encoding="utf-8") as file:  # a run that is cut off keeps what it has
                print(json.dumps(row, ensure_ascii=False), file=file)


def ladder_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU; one is disturbed the least")
    parser.add_argument("--turns", type=int, default=2, help="of each way; the best counts")
    parser.add_argument("--minutes", type=float, default=8, help="a way that is likely to end later is left out")
    parser.add_argument("--only", nargs="+", help="only the ways whose name has one of these words in it")
    parser.add_argument("--json", type=Path, help="write the numbers here, too, as JSON lines")


def use_device(args: argparse.Namespace) -> Any:
    """Let the project's classes see the device that was asked for; returns the dtype that they take there."""
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        torch.set_num_threads(args.threads)
    return torch.bfloat16 if args.device == "cuda" else torch.float32


def best_of(turns: int, run: Callable[[], object], device: str) -> float:
    """Seconds of the shortest turn."""
    return min(seconds_of(run, device) for _ in range(turns))


def seconds_of(run: Callable[[], object], device: str) -> float:
    """Until the GPU is through. On the CPU they are the process's CPU seconds, which other work on the machine disturbs
    little; with one thread they are what a quiet machine would take, but for what runs side by side."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    wait_for(device)
    started = clock()
    run()
    wait_for(device)
    return clock() - started


def wait_for(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matrix_rate(device: str, dtype: Any) -> float:
    """FLOPs a second of a large product of matrices."""
    size, times = (8192, 20) if device == "cuda" else (1024, 20)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product: Callable[[], object] = lambda: a @ b  # noqa: E731
    product()
    return 2 * size**3 / best_of(times, product, device)


def free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> float | None:
    """GB of the GPU since `free_memory`; None on the CPU, where only the process's own peak is known."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None


def setting(args: argparse.Namespace) -> dict[str, str]:
    """What the numbers depend on."""
    packages = ("torch", "transformers", "diffusers", "triton")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", *sys.argv]),
        "device": device_and_driver(args.device),
        "versions": f"Python {platform.python_version()}, " + ", ".join(map(installed, packages)),
    }


def device_and_driver(device: str) -> str:
    if device == "cpu":
        return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    found = shutil.which(query[0]) and subprocess.run(query, capture_output=True, text=True, check=False).stdout
    driver = found.split()[0] if found else "unknown"
    return f"{torch.cuda.get_device_name()}, driver {driver}, CUDA {torch.version.cuda}"


def installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"
