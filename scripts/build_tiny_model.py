"""Build a tiny randomly initialised checkpoint for the demo and for tests, unless it is there. Needs no network.

python scripts/build_tiny_model.py --kind qwen-image-edit-plus --out resources/models/tiny-qwen-image-edit-plus

A LoRA for one: --kind lora --base resources/models/tiny-qwen3-vl --seed 1 --out resources/models/tiny-lora
"""

import gc

from editlane.cli.flags import StepParser, input_folder, output_folder, whole_number
from editlane.cli.step import run_step
from editlane.core.shared_folders import hold_build_lock
from editlane.models.tiny import KINDS, LORA, build_tiny_model, check_place, is_built


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--kind", required=True, help=f"one of {', '.join([*KINDS, LORA])}")
    parser.add_argument("--base", type=input_folder, help="with --kind lora: the checkpoint folder that it is for")
    parser.add_argument("--out", required=True, type=output_folder, help="the checkpoint folder to write")
    parser.add_argument("--seed", type=whole_number(0, 2**63 - 1), default=0, help="seed of the weights (default: 0)")
    args = parser.parse_args()
    gc.disable()  # a model library's objects all stay; looking for garbage among them takes a fifth of the time
    check_place(args.kind, args.out, args.base)  # before it writes even a lock
    if is_built(args.kind, args.out, args.seed, args.base):
        return  # also where this user may not write
    with hold_build_lock(args.out):
        if not is_built(args.kind, args.out, args.seed, args.base):
            build_tiny_model(args.kind, args.out, seed=args.seed, base=args.base)


if __name__ == "__main__":
    run_step(main)
