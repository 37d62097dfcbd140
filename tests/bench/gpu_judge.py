"""Time the judge at the size of the released models, with each optimization and with plain transformers, in one run.

    python tests/bench/gpu_judge.py --model moe --json judge_moe.json

dense is Qwen3-VL-8B, moe is Qwen3-VL-30B-A3B (62 GB in bfloat16), with random weights made on the device. The texts
have about as many tokens as the rubric has with the released tokenizer. The floor is what one whole prompt with both
images needs, at the matrix rate measured in this run; `of the rate` counts what the way itself has to compute.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from full_size import Built, build_judge, parsed, scale_flag
from judge_ways import JudgeWays
from judged_items import Work
from ladder import Ladder, ladder_flags, use_device


def main() -> None:
    args = parse_args()
    ladder = Ladder(args, "item", use_device(args))
    with tempfile.TemporaryDirectory() as folder:
        built = build_judge(args.scale, args.model, args.device, ladder.dtype, max(args.sides), Path(folder))
        for side in args.sides:
            measure(args, ladder, built, side, Path(folder) / str(side))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    judge_flags(parser)
    scale_flag(parser)
    ladder_flags(parser)
    return parsed(parser)


def judge_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=["dense", "moe"], default="moe")
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 768, 512], help="of the images, pixels")
    parser.add_argument("--items", type=int, default=28)
    parser.add_argument("--plain-items", type=int, default=2, help="of these, judged one by one or in twos")
    parser.add_argument("--tokens", type=int, default=128, help="of a reply")
    parser.add_argument("--texts", type=float, default=0.25, help="share of the protocol's texts that is asked")
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[16384, 32768, 65536])


def measure(args: argparse.Namespace, ladder: Ladder, built: Built, side: int, folder: Path) -> None:
    """One table; what the lanes of it write goes into `folder`."""
    billions = sum(weight.numel() for weight in built.model.parameters()) / 1e9
    ways = JudgeWays(built, Work(args.items, side, args.texts), args, folder)
    ladder.climb(f"{args.model}, {billions:.2f} B weights, {ways.about()}", ways.ways(), ways.floor)


if __name__ == "__main__":
    main()
