"""Build a tiny randomly initialised checkpoint, for the demo and for tests. Needs no network.

python scripts/build_tiny_model.py --kind qwen-image-edit-plus --out resources/models/tiny-qwen-image-edit-plus
"""

import argparse
from pathlib import Path

from editlane.step import run_step
from editlane.tiny_models import KINDS, build_tiny_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", required=True, help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--out", required=True, type=Path, help="the checkpoint folder to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other weights (default: 0)")
    args = parser.parse_args()
    build_tiny_model(args.kind, args.out, seed=args.seed)


if __name__ == "__main__":
    run_step(main)
