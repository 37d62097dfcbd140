"""Unchanged or not: the answers for every kind of copy and of small edit, and how long a comparison takes.

    python tests/bench/bench_unchanged.py [--scripts OTHER/scripts] [--only PART OF A KIND]

Photos of scikit-image, and of ../shared/data where that is, each brought to one megapixel. The random places, words and
noise have fixed seeds. `--scripts` measures the package of another checkout. Real edits are compared as they are.
"""

import argparse
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter, ImageOps

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "../shared/data"
PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field", "immunohistochemistry")
R = Image.Resampling
Change = Callable[[Image.Image], Image.Image]


def megapixel(image: Image.Image) -> Image.Image:
    factor = 1024 / (image.width * image.height) ** 0.5
    return image.resize(tuple(round(side * factor / 16) * 16 for side in image.size), R.LANCZOS)


def read_photos() -> dict[str, Image.Image]:
    found = {name: Image.fromarray(getattr(skimage.data, name)()) for name in PHOTOS}
    found["motorcycle"] = Image.fromarray(skimage.data.stereo_motorcycle()[0])
    if SHARED.is_dir():
        sources = {json.loads(line)["source"] for line in (SHARED / "pairs.jsonl").read_text().splitlines()}
        found |= {name: ImageOps.exif_transpose(Image.open(SHARED / name)) for name in sorted(sources)}
    return {name: megapixel(image.convert("RGB")) for name, image in found.items()}


def saved(image: Image.Image, format: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format, quality=quality)
    return Image.open(file).convert("RGB")


def scaled(image: Image.Image, factor: float, filter: R = R.LANCZOS) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), filter)


def there_and_back(image: Image.Image, factor: float, filter: R = R.LANCZOS) -> Image.Image:
    return scaled(image, factor, filter).resize(image.size, filter)


def decoded(image: Image.Image) -> Image.Image:
    """As a VAE gives an image back: slightly blurred, noisy and lighter."""
    noise = np.random.default_rng(0).normal(1.0, 2.0, (image.height, image.width, 3))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8))) + noise
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def cut(image: Image.Image, left: float, right: float, top: float, bottom: float) -> Image.Image:
    width, height = image.size
    return image.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


COPIES: dict[str, list[Change]] = {
    "JPEG 75 to 95": [lambda i, q=q: saved(i, "JPEG", q) for q in (75, 95)],
    "JPEG 50 and 60": [lambda i, q=q: saved(i, "JPEG", q) for q in (50, 60)],
    "WebP 50 to 90": [lambda i, q=q: saved(i, "WEBP", q) for q in (50, 75, 90)],
    "resized (1/2, 3/4, 3/2)": [
        lambda i: scaled(i, 0.5),
        lambda i: scaled(i, 0.75, R.BILINEAR),
        lambda i: scaled(i, 1.5, R.BICUBIC),
    ],
    "down and up again (1/2, 3/4, 0.9)": [
        lambda i: there_and_back(i, 0.5),
        lambda i: there_and_back(i, 0.75, R.BILINEAR),
        lambda i: there_and_back(i, 0.9, R.BICUBIC),
    ],
    "down to 1/3 and up again": [lambda i: there_and_back(i, 1 / 3)],
    "palette of 256 colours": [lambda i: i.quantize(256).convert("RGB"), lambda i: i.convert("P").convert("RGB")],
    "squashed, cropped, padded": [
        lambda i: i.resize((1024, 1024), R.LANCZOS),
        lambda i: ImageOps.fit(i, (768, 768)),
        lambda i: ImageOps.pad(i, (1024, 1024), color="white"),
    ],
    "as by a VAE": [decoded, lambda i: saved(decoded(i), "WEBP", 75)],
    "half, JPEG 60": [lambda i: saved(scaled(i, 0.5), "JPEG", 60)],
}
GLOBAL: dict[str, list[Change]] = {
    "gamma 1.05": [lambda i: i.point(lambda level: round(255 * (level / 255) ** 1.05))],
    "brightness +2 %": [lambda i: i.point(lambda level: min(255, round(level * 1.02)))],
    "brightness +5 %": [lambda i: i.point(lambda level: min(255, round(level * 1.05)))],
    "crop of 5 %": [lambda i: cut(i, 0.025, 0.975, 0.025, 0.975)],
    "crop of 5 %, then as large as before": [lambda i: cut(i, 0.025, 0.975, 0.025, 0.975).resize(i.size, R.BICUBIC)],
    "crop of 5 % at the left": [lambda i: cut(i, 0.05, 1, 0, 1)],
    "crop of 2 %": [lambda i: cut(i, 0.01, 0.99, 0.01, 0.99).resize(i.size, R.BICUBIC)],
    "turned by 0.5 degrees": [lambda i: i.rotate(0.5, R.BICUBIC)],
    "turned by 0.5 degrees, cropped": [
        lambda i: cut(i.rotate(0.5, R.BICUBIC), 0.01, 0.99, 0.01, 0.99).resize(i.size, R.BICUBIC)
    ],
    "turned by 0.2 degrees": [lambda i: i.rotate(0.2, R.BICUBIC)],
}
SAVES: dict[str, Change] = {
    "PNG": lambda image: image,
    "JPEG 75": lambda image: saved(image, "JPEG", 75),
    "as by a VAE": decoded,
}
WORDS = ("SALE", "Hello", "1984", "出口", "PLANE", "open")


def written(image: Image.Image, pixels: int, rng: np.random.Generator) -> Image.Image:
    """A short word at a random place, red, or black or white where that is the stronger contrast."""
    x, y = (round(side * rng.uniform(0.1, 0.8)) for side in image.size)
    dark = np.asarray(image.convert("L").crop((x, y, x + 3 * pixels, y + pixels))).mean() < 128
    fill = ("red", "white" if dark else "black")[rng.integers(2)]
    edited = image.copy()
    ImageDraw.Draw(edited).text((x, y), str(rng.choice(WORDS)), fill=fill, font_size=pixels)
    return edited


def blurred(image: Image.Image, side: int, radius: int, rng: np.random.Generator) -> Image.Image:
    """A square blurred at the place, of 16 random ones, that this changes most."""
    soft = image.filter(ImageFilter.GaussianBlur(radius))
    apart = np.abs(np.asarray(soft, dtype=float) - np.asarray(image, dtype=float))
    places = [[round(length * rng.uniform(0.08, 0.85)) for length in image.size] for _ in range(16)]
    x, y = max(places, key=lambda place: apart[place[1] : place[1] + side, place[0] : place[0] + side].mean())
    edited = image.copy()
    edited.paste(soft.crop((x, y, x + side, y + side)), (x, y))
    return edited


def dotted(image: Image.Image, pixels: int, levels: int, rng: np.random.Generator) -> Image.Image:
    x, y = (round(side * rng.uniform(0.1, 0.9)) for side in image.size)
    fill = tuple(level + levels if level < 128 else level - levels for level in image.getpixel((x, y)))
    edited = image.copy()
    ImageDraw.Draw(edited).circle((x, y), pixels / 2, fill=fill)
    return edited


def list_small_edits(image: Image.Image, seed: int) -> Iterator[tuple[str, Image.Image]]:
    rng = np.random.default_rng(seed)
    for pixels in (14, 18, 24, 32):
        yield f"text of {pixels} px", written(image, pixels, rng)
    for side, radius in ((32, 3), (32, 6), (64, 3)):
        yield f"patch of {side} px blurred by {radius} px", blurred(image, side, radius, rng)
    for pixels, levels in ((8, 80), (16, 80), (24, 40), (40, 20)):
        yield f"disc of {pixels} px, {levels} levels", dotted(image, pixels, levels, rng)


def list_pairs(only: str) -> Iterator[tuple[str, str, Image.Image, Image.Image]]:
    """Group, kind, source and edit of every pair of which "group: kind" has the part `only`."""
    for number, image in enumerate(read_photos().values()):
        for group, kinds in (("copy", COPIES), ("whole picture", GLOBAL)):
            for kind, changes in kinds.items():
                for change in changes if only in f"{group}: {kind}" else ():
                    yield group, kind, image, change(image)
        for edit, edited in list_small_edits(image, number):
            for save, change in SAVES.items():
                kind = f"{edit}, {save}"
                if only in f"small edit: {kind}":
                    yield "small edit", kind, image, change(edited)
    if SHARED.is_dir() and only in "real edit: by four systems":
        for pair in map(json.loads, (SHARED / "pairs.jsonl").read_text(encoding="utf-8").splitlines()):
            yield "real edit", "by four systems", *(Image.open(SHARED / pair[name]) for name in ("source", "edit"))


def print_speed(compare: Callable[[Image.Image, Image.Image], object]) -> None:
    source = read_photos()["coffee"]
    other = source.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    disc = source.copy()
    ImageDraw.Draw(disc).circle((500, 400), 60, fill="blue")
    pairs = {"equal": source, "mirrored": other, "a blue disc of 120 px": disc, "JPEG 75": saved(source, "JPEG", 75)}
    print("\n| pair | CPU ms per megapixel |\n|---|---:|")
    for name, edited in pairs.items():
        times = []
        for _ in range(7):
            started = time.process_time()
            compare(source, edited)
            times.append(time.process_time() - started)
        print(f"| {name} | {min(times) * 1e9 / (source.width * source.height):.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scripts", type=Path, default=ROOT / "scripts")
    parser.add_argument("--only", default="", help='only kinds with this part in their "group: kind"')
    args = parser.parse_args()
    sys.path.insert(0, str(args.scripts))
    from editlane.images.unchanged import is_unchanged

    counts: dict[tuple[str, str], Counter[bool | None]] = {}
    for group, kind, source, edited in list_pairs(args.only):
        counts.setdefault((group, kind), Counter())[is_unchanged(source, edited)] += 1
    print("| group | kind | pairs | unchanged | not sure | changed |\n|---|---|---:|---:|---:|---:|")
    for (group, kind), found in sorted(counts.items(), key=lambda entry: entry[0][0]):
        print(f"| {group} | {kind} | {found.total()} | {found[True]} | {found[None]} | {found[False]} |")
    print_speed(is_unchanged)


if __name__ == "__main__":
    main()
