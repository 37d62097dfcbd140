"""Compare each optimization of the judge with plain transformers on the CPU: tiny models, and one of 0.3 B weights.

    python tests/bench/bench_judge.py --json bench_judge.json

All ways run in this process on the same items, preprocessing included; see judge_ways.py. The model of 0.3 B has small
images and few words, in about the proportions of two images of 1024 x 1024 and the whole rubric. Times are CPU seconds
of one thread, so that other work on the machine disturbs them little; what runs side by side gains nothing in them.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from full_size import build_judge
from gpu_judge import measure
from ladder import Ladder, ladder_flags, use_device

TINY = {"items": 16, "plain_items": 4, "side": 256, "texts": 0.25, "batch_tokens": [16384]}
MID = {"items": 2, "plain_items": 2, "side": 224, "texts": 0.012, "batch_tokens": [1024]}
"""The fewest items that make a batch: each takes seconds."""
RUNS = {f"{scale}-{model}": (scale, model) for scale in ("tiny", "mid") for model in ("dense", "moe")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=["tiny-dense", "tiny-moe", "mid-dense"])
    parser.add_argument("--tokens", type=int, default=128, help="of a reply")
    ladder_flags(parser)
    args = parser.parse_args(["--device", "cpu", "--turns", "1", "--minutes", "30", *sys.argv[1:]])
    ladder = Ladder(args, "item", use_device(args))
    with tempfile.TemporaryDirectory() as folder:
        for run in args.runs:
            scale, model = RUNS[run]
            vars(args).update(TINY if scale == "tiny" else MID, model=model)
            built = build_judge(scale, model, args.device, ladder.dtype, args.side, Path(folder) / run)
            measure(args, ladder, built, args.side, Path(folder) / run)


if __name__ == "__main__":
    main()
