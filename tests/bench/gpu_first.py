"""First contact with a GPU: which kernels run, what they cost, and where a batch of the judge spends its time.

    python tests/bench/gpu_first.py                                # the judge with 62 GB of random weights
    python tests/bench/gpu_first.py --scale tiny --device cpu      # tries the program

Each part prints as soon as it is known. One that fails says why, and the next one runs.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from first_batches import FirstBatches
from full_size import parsed, scale_flag
from torch.nn.functional import scaled_dot_product_attention

from editlane.editors.optimizations import fp8
from editlane.judges.qwen3_vl.attention import attend
from editlane.models.devices import describe_device, read_usage


class Device:
    """What the kernels are tried on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_gpu = name == "cuda"
        self.dtype = torch.bfloat16 if self.is_gpu else torch.float32

    def draw(self, *size: int, dtype: Any = None) -> torch.Tensor:
        return torch.randn(*size, device=self.name, dtype=dtype or self.dtype)

    def wait(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize()

    def milliseconds(self, call: Callable[[], object]) -> float:
        self.wait()
        started = time.perf_counter()
        call()
        self.wait()
        return 1e3 * (time.perf_counter() - started)

    def median(self, call: Callable[[], object]) -> float:
        """Of seven calls, after a first one."""
        call()
        return sorted(self.milliseconds(call) for _ in range(7))[3]

    def allow_cudnn(self, allowed: bool) -> None:
        torch.backends.cuda.enable_cudnn_sdp(allowed)  # type: ignore[no-untyped-call]


def main() -> None:
    args = parse_args()
    device = Device(args.device)
    part("versions and device", lambda: tell_versions(device))
    part("a new length each call: is a plan built? first and second call, ms", lambda: try_new_lengths(device))
    part("causal over a past, against float64 on the CPU: relative error", lambda: try_causal(device))
    part("fp8 layer 3072 -> 12288, 8192 tokens: error, ms in bf16, fp8, fp8 compiled", lambda: try_fp8(device))
    with tempfile.TemporaryDirectory() as folder:
        FirstBatches(args, device, Path(folder)).tell(part)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--side", type=int, default=1024, help="of the judge's images, pixels")
    parser.add_argument("--items", type=int, default=14, help="edits to judge")
    scale_flag(parser)
    return parsed(parser)


def part(title: str, run: Callable[[], None]) -> bool:
    """Print a title, what `run` prints, and its seconds. Return whether it came to its end."""
    print(f"## {title}", flush=True)
    started = time.perf_counter()
    try:
        with torch.inference_mode():
            run()
    except Exception:  # noqa: BLE001 (the next part is worth as much)
        traceback.print_exc(limit=3, file=sys.stdout)
        return False
    finally:
        print(f"   ({time.perf_counter() - started:.1f} s)", flush=True)
    return True


def tell_versions(device: Device) -> None:
    print(f"  torch {torch.__version__}, cuDNN {torch.backends.cudnn.version() if device.is_gpu else None}")  # type: ignore[no-untyped-call]
    if not device.is_gpu:
        return
    print(f"  {describe_device()}, capability {torch.cuda.get_device_capability()}")
    scaled_dot_product_attention(*(device.draw(1, 2, 64, 64) for _ in range(3)))
    print("  sdpa priority (1 flash, 2 efficient, 0 math, 3 cuDNN):", torch._C._get_sdp_priority_order())  # type: ignore[attr-defined]
    print(f"  {read_usage()}")


def try_new_lengths(device: Device) -> None:
    rows, length, tries = (28, 2300, 5) if device.is_gpu else (2, 200, 2)
    for allowed in (True, False):
        device.allow_cudnn(allowed)
        for what, tokens, heads in (("suffixes with a mask", 31, 32), ("decoding, one token, GQA", 1, 4)):
            first, second = [], []
            for number in range(tries):
                keys = length + 3 * number + 1000 * allowed
                call = make_attention(device, rows, tokens, keys, heads)
                first.append(round(device.milliseconds(call), 1))
                second.append(round(device.milliseconds(call), 2))
            print(f"  cuDNN {'allowed' if allowed else 'off':8s} {what:26s} first {first} second {second}")
    device.allow_cudnn(True)


def make_attention(device: Device, rows: int, tokens: int, keys: int, heads: int) -> Callable[[], object]:
    query = device.draw(rows, 32, tokens, 128)
    key, value = (device.draw(rows, heads, keys, 128) for _ in range(2))
    mask = torch.ones(rows, 1, tokens, keys, dtype=torch.bool, device=device.name) if tokens > 1 else None
    return lambda: scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=heads < 32)


def try_causal(device: Device) -> None:
    class Module:
        num_key_value_groups, is_causal = 8, True

    for tokens, keys in ((5, 40), (130, 700), (700, 700)):
        query = device.draw(2, 32, tokens, 128)
        key, value = (device.draw(2, 4, keys, 128) for _ in range(2))
        found = attend(Module(), query, key, value, None)[0].transpose(1, 2).double().cpu()
        repeated = (one.repeat_interleave(8, 1).double().cpu() for one in (key, value))
        mask = torch.ones(tokens, keys, dtype=torch.bool).tril(keys - tokens)
        exact = scaled_dot_product_attention(query.double().cpu(), *repeated, attn_mask=mask)
        print(f"  {tokens} over {keys}: {((found - exact).norm() / exact.norm()).item():.1e}")


def try_fp8(device: Device) -> None:
    tokens, width = (8192, 3072) if device.is_gpu else (64, 64)
    layer = torch.nn.Linear(width, 4 * width, device=device.name, dtype=torch.bfloat16)
    x = device.draw(tokens, width, dtype=torch.bfloat16)
    exact, plain = layer(x), device.median(lambda: layer(x))
    fp8.quantize(layer)
    error = ((layer(x) - exact).norm() / exact.norm()).item()
    line = f"  error {error:.3f}; {plain:.2f}, {device.median(lambda: layer(x)):.2f}"
    if device.is_gpu:
        compiled = torch.compile(layer, dynamic=True)
        line += f", {device.median(lambda: compiled(x)):.2f}"
    print(line)


if __name__ == "__main__":
    main()
