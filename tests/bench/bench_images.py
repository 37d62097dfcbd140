"""Peak memory of the largest images and records that are read, for every format: the goal is below 1.5 GB each.

    python tests/bench/bench_images.py [--share 1.0] [--only AVIF JSONL ...]

An image has `--share` of the most pixels of its format, with transparency and a rotation where the format has them; a
record has an image of that share of the longest record or line. Each is read by a process of its own. An image that is
decoded in a child counts as the larger of the two. Making the images of all formats takes some minutes and 3 GB.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from editlane.core.csv_files import LONGEST_LINE
from editlane.datasets.json_files import LONGEST_RECORD
from editlane.images.decoding import FORMATS, SHARES
from editlane.images.files import MAX_PIXELS

SCRIPTS = Path(__file__).parents[2] / "scripts"
GOAL_MB = 1500
TRANSPARENT = ("AVIF", "PNG", "TIFF", "WEBP", "JPEG2000")
ROTATED = ("AVIF", "JPEG", "PNG", "WEBP")
OPTIONS = {
    "AVIF": {"speed": 10},
    "JPEG": {"progressive": True},
    "PNG": {"compress_level": 1},
    "WEBP": {"method": 0},
}
RECORDS = {"JSON": LONGEST_RECORD, "JSONL": LONGEST_RECORD, "CSV": LONGEST_LINE}

PEAK = """
import pathlib, resource, sys
sys.path.insert(0, sys.argv[1])
path = pathlib.Path(sys.argv[2])
if sys.argv[3] == "image":
    from editlane.images.files import open_image
    open_image(path)
else:
    from editlane.datasets.prepare import prepare_items
    format = "base64-json" if path.suffix == ".json" else "items"
    prepare_items(path, format=format, language="en", categories=["x"], run_dir=path.parent / "run")
own = int(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024 // 1_000_000)
"""


def write_image(path: Path, format: str, share: float) -> str:
    """Write an image; return its size in words."""
    side = int((MAX_PIXELS * SHARES.get(format, 1.0) * share) ** 0.5)
    mode = "RGBA" if format in TRANSPARENT else "P" if format == "GIF" else "RGB"
    tile = np.random.default_rng(1).integers(0, 256, (512, 512, 4), dtype=np.uint8)
    image = Image.new(mode, (side, side))
    for left in range(0, side, 512):
        for top in range(0, side, 512):
            image.paste(Image.fromarray(tile, "RGBA").convert(mode), (left, top))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(path, format, **({"exif": exif} if format in ROTATED else {}), **OPTIONS.get(format, {}))
    return f"{side * side / 1e6:.0f} megapixels"


def write_record(path: Path, kind: str, share: float) -> str:
    """Write a dataset of one record; return its size in words."""
    size = int(RECORDS[kind] * share) - 1000
    text = "data:image/png;base64," + base64.b64encode(os.urandom(size // 4 * 3)).decode()
    if kind == "CSV":
        path.write_text(f'item_id,category,instruction,image\na,x,y,"{text}"\n')
    elif kind == "JSONL":
        path.write_text(json.dumps({"item_id": "a", "category": "x", "instruction": "y", "image": text}))
    else:
        path.write_text(json.dumps([{"item_id": "a", "subset": "x", "edit_instruction": "y", "src_img_b64": text}]))
    return f"{size / 1e6:.0f} MB of base64"


def measure(path: Path, what: str) -> int:
    """Return the peak in MB of reading a file."""
    command = [sys.executable, "-c", PEAK, str(SCRIPTS), str(path), what]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--only", nargs="+", choices=[*FORMATS, *RECORDS], default=[*FORMATS, *RECORDS])
    args = parser.parse_args(argv)
    worst = 0
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"largest.{name.lower()}"
            size = (write_record if name in RECORDS else write_image)(path, name, args.share)
            peak = measure(path, "record" if name in RECORDS else "image")
        worst = max(worst, peak)
        print(f"{name:9s} {size:22s} {peak:5d} MB", flush=True)
    print(f"largest: {worst} MB; goal: below {GOAL_MB} MB")


if __name__ == "__main__":
    main()
