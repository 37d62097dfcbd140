"""The judge's part of gpu_first.py: its rate, with and without cuDNN's attention, and where a batch goes."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from full_size import build_judge
from judged_items import Asked, Work

from editlane.judges.qwen3_vl.prefill import multiply_in_float32

TEXTS = 0.25
"""Share of the protocol's texts: a tiny tokenizer's tokens are shorter."""
Part = Callable[[str, Callable[[], None]], bool]


class FirstBatches:
    """A judge of full size and what it is asked."""

    def __init__(self, args: argparse.Namespace, device: Any, folder: Path) -> None:
        self.args, self.device, self.folder = args, device, folder
        self.judge: Any = None
        self.size = 0

    def tell(self, part: Part) -> None:
        """Run all parts; without a judge there is nothing to measure."""
        if not part("building the judge", self.build):
            return
        part("ms a batch, new lengths each time; the same numbers twice", self.tell_rate)
        part("what rounding the logits to the model's dtype changes", self.tell_rounding)
        part("where a batch goes", self.tell_profile)

    def build(self) -> None:
        side = self.args.side
        built = build_judge(self.args.scale, "moe", self.device.name, self.device.dtype, side, self.folder)
        self.judge = built.judge(max_image_side=side)
        self.work = Work(self.args.items, side, TEXTS)
        cost = self.judge.batch_cost([(side, side)] * 2, "")
        self.size = min(len(self.work.items), max(1, self.judge.max_batch_cost // cost))
        memory = f"{torch.cuda.memory_allocated() / 1e9:.1f} GB, " if self.device.is_gpu else ""
        print(f"  {memory}batches of {self.size}")

    def ask(self, number: int) -> Asked:
        """A batch whose texts have other lengths than those of other numbers, as real instructions have."""
        asked = self.work.asked(self.work.edits)[: self.size]
        return [
            [
                replace(one, parts=(*one.parts[:-2], f"{one.parts[-2]}{'字' * (7 * number + place)}", one.parts[-1]))
                for one in edit
            ]
            for place, edit in enumerate(asked)
        ]

    def prepare(self, number: int) -> Callable[[], Any]:
        """Prepare a batch beforehand, as the reader thread does. The call that is left is the device's part."""
        prepared = self.judge.prepare(self.ask(number))

        def read() -> Any:
            self.judge.prefill.vision.features.clear()
            return self.judge.read_out(prepared, self.work.protocol.answers)

        return read

    def tell_rate(self) -> None:
        self.prepare(0)()
        for allowed in (True, False):
            self.device.allow_cudnn(allowed)
            first = 1 + 10 * allowed
            self.prepare(first)()
            times = [self.device.milliseconds(self.prepare(first + number)) for number in (1, 2, 3)]
            rate = 1e3 * self.size / min(times)
            print(f"  cuDNN {'allowed' if allowed else 'off'}: {[round(one) for one in times]} ms, {rate:.1f} items/s")
        self.device.allow_cudnn(True)
        print("  repeats bit by bit:", self.prepare(3)() == self.prepare(3)())
        if self.device.is_gpu:
            print(f"  peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")

    def tell_rounding(self) -> None:
        head = self.judge.model.lm_head
        hidden = self.device.draw(64, head.in_features)
        rounded, exact = head(hidden).float(), multiply_in_float32(hidden, head.weight)
        print(f"  at most {(rounded - exact).abs().max().item():.2g} at |logit| {exact.abs().max().item():.3g}")

    def tell_profile(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        read = self.prepare(5)
        read()
        kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self.device.is_gpu
        with profile(activities=kinds) as found:
            read()
            self.device.wait()
        time_of = "self_device_time_total" if self.device.is_gpu else "self_cpu_time_total"
        rows = sorted(((getattr(one, time_of), one.count, one.key) for one in found.key_averages()), reverse=True)
        whole = sum(row[0] for row in rows)
        for micros, count, key in rows[:28]:
            print(f"  {micros / 1e3:9.2f} ms {micros / whole:6.1%} {count:6d} x {key[:95]}")
