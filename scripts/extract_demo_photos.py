"""Copy the demo's photos out of the installed scikit-image package; nothing is downloaded.

    python scripts/extract_demo_photos.py --out resources/demo/photos

Writes OUT/astronaut.png and six others, byte for byte as in the package.
"""

from importlib.resources import files

from editlane.cli.flags import StepParser, output_folder
from editlane.cli.step import run_step
from editlane.core.errors import UserError
from editlane.core.shared_folders import put_files

PHOTOS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "motorcycle_left.png", "rocket.jpg")


def main() -> None:
    parser = StepParser(__doc__)
    parser.add_argument("--out", type=output_folder, required=True, help="folder for the photos")
    args = parser.parse_args()

    try:
        folder = files("skimage") / "data"
    except ModuleNotFoundError as error:
        raise UserError(
            "The demo's photos come with scikit-image, which this Python lacks: pip install scikit-image"
        ) from error
    missing = [name for name in PHOTOS if not (folder / name).is_file()]
    if missing:
        raise UserError(f"The installed scikit-image has no {', '.join(missing)}. Install a release from PyPI.")
    put_files(args.out, {name: (folder / name).read_bytes() for name in PHOTOS})


if __name__ == "__main__":
    run_step(main)
