"""Copies of a photo that were only saved, resized or shifted are never changed; edits, small ones too, never unchanged.

`tests/bench/results/unchanged.md` has the answers for many more pairs.
"""

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from editlane.images.alignment import align
from editlane.images.files import open_image
from editlane.images.unchanged import UNCHANGED, is_unchanged, measure_difference

SHARED = Path(__file__).parents[3] / "../shared/data"
SAMPLES = pytest.mark.skipif(not SHARED.exists(), reason="the sample photos (../shared/data) are not here")
PHOTOS = ("astronaut", "camera", "chelsea", "rocket")
Resampling = Image.Resampling
Change = Callable[[Image.Image], Image.Image]


@cache
def pairs() -> list[dict[str, str]]:
    return [json.loads(line) for line in (SHARED / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]


@cache
def real(path: str) -> Image.Image:
    return open_image(SHARED / path)


@cache
def photo(name: str) -> Image.Image:
    return Image.fromarray(getattr(skimage.data, name)()).convert("RGB")


def encoded(image: Image.Image, format: str, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format, quality=quality)
    return Image.open(file)


def scaled(image: Image.Image, factor: float, filter: Resampling = Resampling.LANCZOS) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), filter)


def rounded(image: Image.Image, step: int) -> Image.Image:
    return image.resize((image.width // step * step, image.height // step * step), Resampling.BICUBIC)


def megapixel(image: Image.Image, step: int) -> Image.Image:
    """As most editors resize: to about 1 megapixel, both sides a multiple of `step`."""
    factor = 1024 / (image.width * image.height) ** 0.5
    size = (round(image.width * factor / step) * step, round(image.height * factor / step) * step)
    return image.resize(size, Resampling.LANCZOS)


def cropped(image: Image.Image, step: int) -> Image.Image:
    return ImageOps.fit(image, (image.width // step * step, image.height // step * step), centering=(0.5, 0.5))


def padded(image: Image.Image, step: int) -> Image.Image:
    size = (-(-image.width // step) * step, -(-image.height // step) * step)
    out = Image.new("RGB", size)
    out.paste(image)
    return out


def shifted(image: Image.Image, x: int, y: int) -> Image.Image:
    """Moved to the right and down; the edge is repeated where nothing is left."""
    rows = np.clip(np.arange(image.height) - y, 0, image.height - 1)
    columns = np.clip(np.arange(image.width) - x, 0, image.width - 1)
    return Image.fromarray(np.asarray(image.convert("RGB"))[rows][:, columns])


def decoded(image: Image.Image) -> Image.Image:
    """As a VAE gives an image back: slightly blurred, noisy and lighter."""
    noise = np.random.default_rng(0).normal(1.0, 2.0, (image.height, image.width, 3))
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)).convert("RGB")) + noise
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


COPIES: dict[str, Change] = {
    "the same": lambda image: image.copy(),
    "JPEG 50": lambda image: encoded(image, "JPEG", 50),
    "JPEG 95": lambda image: encoded(image, "JPEG", 95),
    "WebP 50": lambda image: encoded(image, "WEBP", 50),
    "half": lambda image: scaled(image, 0.5),
    "three quarters, bilinear": lambda image: scaled(image, 0.75, Resampling.BILINEAR),
    "one and a half, bicubic": lambda image: scaled(image, 1.5, Resampling.BICUBIC),
    "squashed to a square": lambda image: image.resize((1024, 1024), Resampling.LANCZOS),
    "cropped to a square": lambda image: ImageOps.fit(image, (768, 768)),
    "padded to a square": lambda image: ImageOps.pad(image, (768, 768), color="white"),
    "stretched to a multiple of 16": lambda image: rounded(image, 16),
    "cropped to a multiple of 32": lambda image: cropped(image, 32),
    "padded to a multiple of 32": lambda image: padded(image, 32),
    "one megapixel": lambda image: megapixel(image, 32),
    "1 pixel to the right": lambda image: shifted(image, 1, 0),
    "3 pixels up and to the right": lambda image: shifted(image, 3, -3),
    "RGBA": lambda image: image.convert("RGBA"),
    "palette": lambda image: image.quantize(256),
    "half and back": lambda image: scaled(image, 0.5).resize(image.size, Resampling.LANCZOS),
    "half, JPEG 60, shifted": lambda image: shifted(encoded(scaled(image, 0.5), "JPEG", 60), 1, -2),
    "one megapixel, VAE, WebP 75, shifted": lambda image: shifted(
        encoded(decoded(megapixel(image, 16)), "WEBP", 75), -3, 2
    ),
}


UNSURE = {"JPEG 50", "WebP 50", "palette", "half and back", "half, JPEG 60, shifted"}
"""Kinds of copies that may also be not sure, because they lose detail in some spots only."""


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("name", ["astronaut", "rocket"])  # the two that encoders change most
def test_a_copy_is_unchanged(name: str, kind: str) -> None:
    answer = is_unchanged(photo(name), COPIES[kind](photo(name)))
    assert answer or (answer is None and kind in UNSURE)


@SAMPLES
@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_of_a_real_source_is_never_changed(kind: str) -> None:
    half = list(COPIES).index(kind) % 2  # every kind with three of the six sources: seconds instead of half a minute
    for path in sorted({pair["source"] for pair in pairs()})[half::2]:
        source = real(path)
        assert is_unchanged(source, COPIES[kind](source)) is not False, path


@SAMPLES
def test_every_real_edit_is_changed() -> None:
    assert len(pairs()) == 15
    for pair in pairs():
        assert is_unchanged(real(pair["source"]), real(pair["edit"])) is False, pair["edit"]


def spot(image: Image.Image, x: float, y: float, share: float = 0.03) -> tuple[Image.Image, tuple[int, int, int]]:
    """A mask of one soft disc of `share` of the area, and its middle and radius."""
    radius = round((share * image.width * image.height / np.pi) ** 0.5)
    middle = round(x * image.width), round(y * image.height)
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).circle(middle, radius, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(1.5)), (*middle, radius)


def recoloured(image: Image.Image, x: float, y: float) -> Image.Image:
    hsv = np.asarray(image.convert("HSV")).copy()
    hsv[..., 0] += 85
    hsv[..., 1] = np.maximum(hsv[..., 1], 100)
    return Image.composite(Image.fromarray(hsv, "HSV").convert("RGB"), image, spot(image, x, y)[0])


def removed(image: Image.Image, x: float, y: float) -> Image.Image:
    """Another part of the photo in the disc's place."""
    moved = Image.fromarray(np.roll(np.asarray(image), image.width // 3, axis=1))
    return Image.composite(moved, image, spot(image, x, y)[0])


def written(image: Image.Image, x: float, y: float, size: int | None = None) -> Image.Image:
    out = image.copy()
    draw = ImageDraw.Draw(out)
    draw.text((x * image.width, y * image.height), "PLANE", fill="red", font_size=size or image.height // 20)
    return out


@pytest.mark.parametrize("save", [lambda image: image, lambda image: encoded(megapixel(image, 16), "JPEG", 75)])
@pytest.mark.parametrize("edit", [recoloured, removed, written])
@pytest.mark.parametrize("name", PHOTOS)
def test_a_small_real_edit_is_changed(name: str, edit: Callable[..., Image.Image], save: Change) -> None:
    source = photo(name)
    for x, y in ((0.3, 0.35), (0.6, 0.65)):
        assert is_unchanged(source, save(edit(source, x, y))) is False


def warmer(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * [1, 0.95, 0.9]).astype(np.uint8))


def film_grain(image: Image.Image) -> Image.Image:
    grain = np.random.default_rng(0).normal(0, 50, (image.height, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "edit",
    [
        lambda image: image.point(lambda level: level * 0.9),
        lambda image: image.point(lambda level: min(255, level * 1.1)),
        warmer,
        lambda image: image.convert("L"),
        lambda image: image.filter(ImageFilter.GaussianBlur(image.width / 60)),
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.crop((40, 40, image.width - 40, image.height - 40)).resize(image.size),
        film_grain,
    ],
    ids=["darker", "lighter", "warmer", "black and white", "blurred", "mirrored", "zoomed in", "film grain"],
)
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_a_change_of_the_whole_picture_is_changed(name: str, edit: Change) -> None:
    assert is_unchanged(photo(name), edit(photo(name))) is False


SAVES: dict[str, Change] = {
    "PNG": lambda image: image,
    "JPEG 75": lambda image: encoded(image, "JPEG", 75),
    "VAE, WebP 75": lambda image: encoded(decoded(image), "WEBP", 75),
}


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("name", PHOTOS)
def test_a_small_text_in_a_megapixel_is_seen(name: str, save: str) -> None:
    source = photo(name).resize((1024, 1024))
    for pixels, x, y in ((14, 200, 250), (18, 610, 300), (24, 360, 720), (32, 760, 760)):
        edited = source.copy()
        dark = np.asarray(source.convert("L").crop((x, y, x + 3 * pixels, y + pixels))).mean() < 128
        ImageDraw.Draw(edited).text((x, y), "SALE", fill="white" if dark else "black", font_size=pixels)
        assert is_unchanged(source, SAVES[save](edited)) is False, pixels


@pytest.mark.parametrize("save", ["PNG", "JPEG 75"])
@pytest.mark.parametrize(("name", "x", "y"), [("astronaut", 590, 820), ("chelsea", 420, 360), ("coffee", 430, 600)])
def test_a_blurred_patch_is_never_unchanged(name: str, x: int, y: int, save: str) -> None:
    source = photo(name).resize((1024, 1024))
    box = (x, y, x + 32, y + 32)
    edited = source.copy()
    edited.paste(source.filter(ImageFilter.GaussianBlur(6)).crop(box), box)
    assert not is_unchanged(source, SAVES[save](edited))


def test_a_small_edit_saved_with_a_palette_is_not_sure() -> None:
    """Because the bands of a palette look like small edits in photos without any."""
    edited = written(photo("astronaut"), 0.6, 0.65, size=14)
    assert is_unchanged(photo("astronaut"), edited) is False
    assert is_unchanged(photo("astronaut"), edited.quantize(256)) is None


def test_a_small_edit_of_a_grey_photo_is_changed_though_it_has_few_colours() -> None:
    source = photo("camera")
    edited = source.copy()
    ImageDraw.Draw(edited).text((300, 60), "SALE", fill=(0, 0, 0), font_size=10)
    assert is_unchanged(source, edited) is False


def cut(image: Image.Image, share: float) -> Image.Image:
    """Without `share` / 2 of each side, and as large as before."""
    x, y = image.width * share / 2, image.height * share / 2
    return image.resize(image.size, Resampling.BICUBIC, box=(x, y, image.width - x, image.height - y))


GLOBAL: dict[str, tuple[Change, set[bool | None]]] = {
    "gamma 1.05": (lambda image: image.point(lambda level: round(255 * (level / 255) ** 1.05)), {False}),
    "brightness +2 %": (lambda image: image.point(lambda level: min(255, round(level * 1.02))), {False, None}),
    "turned by 0.5 degrees": (lambda image: image.rotate(0.5, Resampling.BICUBIC), {False}),
    "turned by 0.5 degrees, cropped": (lambda image: cut(image.rotate(0.5, Resampling.BICUBIC), 0.02), {False}),
    "turned by 0.2 degrees": (lambda image: image.rotate(0.2, Resampling.BICUBIC), {None}),
    "crop of 5 %": (lambda image: cut(image, 0.05), {False, None}),
    "crop of 5 %, smaller": (
        lambda image: image.crop((30, 30, image.width - 31, image.height - 31)).resize((480, 480)),
        {False, None},
    ),
    "crop of 2 %": (lambda image: cut(image, 0.02), {True, None}),
}


@pytest.mark.parametrize("kind", GLOBAL)
@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket"])
def test_a_small_change_of_the_whole_picture_follows_a_rule(name: str, kind: str) -> None:
    change, allowed = GLOBAL[kind]
    assert is_unchanged(photo(name), change(photo(name))) in allowed


@pytest.mark.parametrize("save", ["JPEG 75", "VAE, WebP 75"])
@pytest.mark.parametrize("name", PHOTOS)
def test_the_angle_is_measured_to_a_tenth_of_the_smallest_that_counts(name: str, save: str) -> None:
    def angle(edited: Image.Image) -> float:
        edited = edited.convert("RGB")
        return measure_difference(photo(name), edited, align(photo(name), edited, 256)).rotation

    assert angle(SAVES[save](photo(name))) < UNCHANGED.rotation / 2
    turned = photo(name).rotate(-0.4, Resampling.BICUBIC)
    assert angle(SAVES[save](turned)) == pytest.approx(0.4, abs=0.07)


@pytest.mark.parametrize(
    ("diameter", "levels", "save", "unchanged"),
    [(8, 80, "VAE, WebP 75", False), (6, 20, "JPEG 75", False), (4, 5, "JPEG 75", None), (4, 5, "VAE, WebP 75", True)],
)
def test_how_small_an_edit_is_seen_in_a_megapixel(
    diameter: int, levels: int, save: str, unchanged: bool | None
) -> None:
    source = photo("chelsea").resize((1024, 1024))
    edited = source.copy()
    colour = tuple(level + levels if level < 128 else level - levels for level in source.getpixel((440, 340)))
    ImageDraw.Draw(edited).circle((440, 340), diameter / 2, fill=colour)
    assert is_unchanged(source, SAVES[save](edited)) is unchanged


def test_a_picture_that_was_continued_beyond_its_edges_is_changed_and_one_with_bars_is_not() -> None:
    whole = photo("coffee")
    source = whole.crop((100, 0, 500, 400))
    assert is_unchanged(source, whole) is False
    assert is_unchanged(source, ImageOps.pad(source, (600, 400), color=(12, 34, 56)))


def test_transparent_parts_count_as_white() -> None:
    source = photo("chelsea").convert("RGBA")
    source.putalpha(spot(photo("chelsea"), 0.5, 0.5, share=0.3)[0])
    assert is_unchanged(source, Image.alpha_composite(Image.new("RGBA", source.size, "white"), source).convert("RGB"))
    assert is_unchanged(source, photo("chelsea")) is False


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (16, 16), (2000, 5)])
def test_tiny_and_narrow_pictures(size: tuple[int, int]) -> None:
    source = photo("coffee").resize(size)
    assert is_unchanged(source, source.resize((size[0] * 2, size[1] * 2)))
    assert is_unchanged(source, Image.new("RGB", size, "blue")) is False


def test_plain_pictures_are_compared_too() -> None:
    grey = Image.new("RGB", (300, 200), (128, 128, 128))
    assert is_unchanged(grey, Image.new("RGB", (200, 300), (129, 128, 127)))
    assert is_unchanged(grey, Image.new("RGB", (300, 200), (128, 128, 140))) is False


@pytest.mark.parametrize(
    ("change", "x", "y"),
    [
        (lambda image: image.resize((900, 500)), (1, 0), (1, 0)),
        (lambda image: shifted(image, 3, -2), (1, -3 / 600), (1, 2 / 400)),
        (lambda image: ImageOps.fit(image, (500, 500)), (2 / 3, 1 / 6), (1, 0)),
        (lambda image: ImageOps.pad(image, (600, 600)), (1, 0), (1.5, -0.25)),
        (lambda image: image.crop((0, 0, 592, 384)), (592 / 600, 0), (384 / 400, 0)),
    ],
    ids=["stretched", "shifted", "cropped", "padded", "cropped at right and bottom"],
)
def test_align_finds_what_the_editor_did(change: Change, x: tuple[float, float], y: tuple[float, float]) -> None:
    source = photo("coffee")
    found = align(source, change(source), 256)
    assert [(axis.scale, axis.offset) for axis in found] == [pytest.approx(x, abs=5e-4), pytest.approx(y, abs=5e-4)]


SIZES = [(1, 1), (1, 300), (300, 1), (3000, 20), (20, 3000), (512, 512), (37, 64)]


@pytest.mark.parametrize("source", SIZES)
@pytest.mark.parametrize("edited", SIZES)
def test_any_two_sizes_can_be_compared(source: tuple[int, int], edited: tuple[int, int]) -> None:
    noisy = Image.effect_noise((64, 64), 90).convert("RGB")
    assert is_unchanged(noisy.resize(source), noisy.resize(edited)) in (True, False, None)
