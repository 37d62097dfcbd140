"""Time the editor at the size of the released Qwen-Image-Edit, with each optimization and with diffusers alone, in one
run.

    python tests/bench/gpu_edit.py --part exact --json edit_exact.json

Random weights are made on the device: 41 GB of transformer, 17 GB of text encoder. Of most ways edits of 2 and of 6
steps are timed, and from their difference follows what --steps take; caches do all steps. The floor is what an edit of
--steps with guidance computes, counted in this run, at the matrix rate measured in this run; ways that make an edit of
less work (caches, Lightning) have no share of it.
"""

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from edit_ways import EditWays
from full_size import build_editor, parsed, scale_flag
from ladder import Ladder, ladder_flags, use_device

PARTS = {
    "exact": "what leaves the pixels as they are, but for rounding",
    "inexact": "caches, fewer steps, fp8: other pixels, so other editors",
    "offload": "for GPUs that do not hold the model",
}


def main() -> None:
    args = parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("editlane.editors.optimizations.step_cache").setLevel(logging.INFO)  # how much a cache skipped
    ladder = Ladder(args, "image", use_device(args))
    with tempfile.TemporaryDirectory() as folder:
        tiny = Path(folder) / "tiny"
        ways = EditWays(build_editor(args.scale, args.device, ladder.dtype, tiny), args, tiny)
        ladder.climb(ways.about(), getattr(ways, args.part)(), ways.floor)
    print(f"Compiling and warming up took {ways.warm_up_seconds():.0f} s.")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, default="exact", help="; ".join(f"{k}: {v}" for k, v in PARTS.items()))
    parser.add_argument("--side", type=int, default=1024, help="of source and edit, pixels; a multiple of 32")
    parser.add_argument("--steps", type=int, default=40, help="of an edit with guidance")
    scale_flag(parser)
    ladder_flags(parser)
    return parsed(parser)


if __name__ == "__main__":
    main()
