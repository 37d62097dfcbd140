"""Draw the canary set: fixed photos with a simple edit each, judged in every run to notice a judge that changed.

    python scripts/draw_canary.py --items resources/canary/items.jsonl --photos resources/demo/photos \\
        --out resources/canary/pictures

Runs can be compared only if the list stays the same: add another edit as another item.
"""

from pathlib import Path

from editlane.cli.flags import StepParser, input_folder, output_folder
from editlane.cli.step import run_step
from editlane.core.shared_folders import put_files
from editlane.datasets.canary import draw_canary


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--items", type=Path, required=True, help="the frozen list")
    parser.add_argument("--photos", type=input_folder, required=True, help="the photos of extract_demo_photos.py")
    parser.add_argument("--out", type=output_folder, required=True, help="folder for the pictures")
    args = parser.parse_args()

    put_files(args.out, dict(draw_canary(args.items, args.photos)))


if __name__ == "__main__":
    run_step(main)
