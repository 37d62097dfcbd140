"""Draw edits of photos without a model, for the worked example: weather, light, colours, things that vanish.

A picture is an array (height, width, 3) of 0..1. A region is a list of shapes in shares of width and height:
`["box", left, top, right, bottom]`, `["ellipse", left, top, right, bottom]` or `["polygon", x, y, x, y, ...]`. A shape
whose name begins with `-` is cut out. The same call gives the same picture.
"""

import colorsys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFilter

Pixels = npt.NDArray[np.floating[Any]]
Shape = Sequence[Any]

FEATHER = 1.5
"""Radius in pixels of the soft edge of a region."""


def to_pixels(image: Image.Image) -> Pixels:
    """Return the picture (height, width, 3) of 0..1."""
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def to_image(pixels: Pixels) -> Image.Image:
    """Return an RGB image; values outside 0..1 are clipped."""
    return Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8))


def make_mask(size: tuple[int, int], region: Sequence[Shape], feather: float = FEATHER) -> Pixels:
    """Return how much of each pixel lies in the region, (height, width, 1) of 0..1; `size` is width and height."""
    mask = Image.new("L", size, 0)
    pen = ImageDraw.Draw(mask)
    for kind, *shares in region:
        points = [(x * size[0], y * size[1]) for x, y in zip(shares[::2], shares[1::2], strict=True)]
        draw = {"box": pen.rectangle, "ellipse": pen.ellipse, "polygon": pen.polygon}[kind.removeprefix("-")]
        draw(points, fill=0 if kind.startswith("-") else 255)
    if feather:
        mask = mask.filter(ImageFilter.GaussianBlur(feather))
    return np.asarray(mask, dtype=np.float32)[..., None] / 255


def _mask_of(pixels: Pixels, region: Sequence[Shape], feather: float = FEATHER) -> Pixels:
    return make_mask((pixels.shape[1], pixels.shape[0]), region, feather)


def _mix(pixels: Pixels, other: Pixels, share: Pixels | float) -> Pixels:
    return pixels + (other - pixels) * share


def _colour(name: str) -> Pixels:
    return np.asarray(ImageColor.getrgb(name)[:3], dtype=np.float32) / 255


def _grey(pixels: Pixels) -> Pixels:
    return (pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]


def _noise(shape: tuple[int, ...], seed: int, radius: float) -> Pixels:
    """Return soft noise (height, width, 1) of 0..1, without detail below `radius` pixels."""
    grains = np.random.default_rng(seed).integers(0, 256, shape[:2], dtype=np.uint8)
    small = Image.fromarray(grains).resize((max(2, int(shape[1] / radius)), max(2, int(shape[0] / radius))))
    soft = np.asarray(small.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), dtype=np.float32)[..., None]
    drawn: Pixels = (soft - soft.min()) / (soft.max() - soft.min() or 1)
    return drawn


def night(pixels: Pixels, dark: float = 0.75) -> Pixels:
    """Darken everything by `dark` (0..1), the lights least, and turn it blue."""
    moonlit = _mix(pixels, _grey(pixels), 0.5) ** 1.25 * np.array([0.75, 0.88, 1.25], dtype=np.float32)
    drawn: Pixels = moonlit * (1 - dark) + np.clip(pixels - 0.93, 0, 1) * dark
    return drawn


def lamp(pixels: Pixels, x: float, y: float, reach: float = 0.5, dark: float = 0.85) -> Pixels:
    """Leave one warm light at (x, y), in shares; at `reach` x the width it has faded, and the rest is darker by
    `dark`."""
    height, width, _ = pixels.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(columns - x * width, rows - y * height)[..., None] / (reach * width)
    light = np.exp(-(distance**2)) * np.array([1.6, 1.3, 0.95], dtype=np.float32)
    drawn: Pixels = pixels * (light + (1 - dark) * np.array([0.7, 0.8, 1.0], dtype=np.float32))
    return drawn


def fog(pixels: Pixels, top: float = 0.9, bottom: float = 0.2, clear: Sequence[Shape] = ()) -> Pixels:
    """Lay fog over the picture, of density `top` to `bottom`; the region `clear` is near and gets little."""
    density = np.linspace(top, bottom, pixels.shape[0], dtype=np.float32)[:, None, None]
    density = density * (0.85 + 0.15 * _noise(pixels.shape, 5, 60)) * (1 - 0.8 * _mask_of(pixels, clear, 4))
    return _mix(pixels, np.full(3, 0.86, dtype=np.float32), density)


def steam(
    pixels: Pixels, region: Sequence[Shape], density: float = 0.7, colour: str = "#f4f4f4", seed: int = 1
) -> Pixels:
    """Let steam or smoke hang in the region."""
    side = min(pixels.shape[:2])
    wisps = 0.25 + 0.75 * _noise(pixels.shape, seed, side / 16)
    return _mix(pixels, _colour(colour), density * _mask_of(pixels, region, side / 22) * wisps)


def _weather(shape: tuple[int, ...], count: int, seed: int, draw: Callable[..., None]) -> Pixels:
    """Draw `count` drops or flakes at random places; return their cover (height, width, 1) of 0..1."""
    layer = Image.new("L", (shape[1], shape[0]), 0)
    pen = ImageDraw.Draw(layer)
    for x, y, size in np.random.default_rng(seed).random((count, 3)).tolist():
        draw(pen, x * shape[1], y * shape[0], size)
    return np.asarray(layer.filter(ImageFilter.GaussianBlur(0.7)), dtype=np.float32)[..., None] / 255


def rain(pixels: Pixels, count: int = 900, seed: int = 1) -> Pixels:
    """Let slanted drops fall under a grey light."""

    def draw(pen: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
        length = 10 + 22 * size
        pen.line((x, y, x - length * 0.25, y + length), fill=int(90 + 120 * size), width=1 + int(size > 0.7))

    grey = _mix(pixels, _grey(pixels), 0.55) * 0.8 + 0.06
    return _mix(grey, np.full(3, 0.9, dtype=np.float32), 0.75 * _weather(pixels.shape, count, seed, draw))


def snow(pixels: Pixels, ground: Sequence[Shape] = (), count: int = 500, seed: int = 1) -> Pixels:
    """Let flakes fall in a cool light; snow lies on what is bright in the region `ground`."""

    def draw(pen: ImageDraw.ImageDraw, x: float, y: float, size: float) -> None:
        radius = 1 + 3.2 * size**2
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=int(170 + 80 * size))

    cool = _mix(pixels, _grey(pixels), 0.35) * np.array([0.9, 0.96, 1.06], dtype=np.float32)
    lying = 0.8 + 0.14 * _grey(pixels) + 0.04 * _noise(pixels.shape, seed, 6)
    bright = np.clip((_grey(pixels) - 0.3) * 8, 0, 1)
    cover = 0.92 * bright * _mask_of(pixels, ground, 3)
    covered = _mix(cool, lying * np.array([0.97, 0.99, 1.02], dtype=np.float32), cover)
    return _mix(covered, np.ones(3, dtype=np.float32), _weather(pixels.shape, count, seed, draw))


def recolour(
    pixels: Pixels, region: Sequence[Shape], hues: tuple[float, float], to: str, least: float = 0.25
) -> Pixels:
    """Give what has a hue of `hues` (0..1, around 1 if the first is larger) in the region the colour `to`.

    Its light and shade stay. A pixel needs a saturation of `least`, so that grey things stay grey.
    """
    high, low = pixels.max(axis=2), pixels.min(axis=2)
    hue = np.asarray(to_image(pixels).convert("HSV"), dtype=np.float32)[..., 0] / 255
    first, last = hues
    inside = (hue >= first) & (hue <= last) if first <= last else (hue >= first) | (hue <= last)
    saturation = (high - low) / np.maximum(high, 0.02)
    chosen = Image.fromarray((inside & (saturation >= least) & (high > 0.08)).astype(np.uint8) * 255)
    soft = np.asarray(chosen.filter(ImageFilter.GaussianBlur(1)), dtype=np.float32)[..., None] / 255
    red, green, blue = _colour(to).tolist()
    target, strength, value = colorsys.rgb_to_hsv(red, green, blue)
    pure = np.asarray(colorsys.hsv_to_rgb(target, 1, 1), dtype=np.float32)
    own = np.clip(saturation, 0, 1)[..., None] * strength
    painted = high[..., None] * (0.4 + 0.6 * value) * (1 - own * (1 - pure))
    return _mix(pixels, painted, soft * _mask_of(pixels, region))


def tint(pixels: Pixels, region: Sequence[Shape], colour: str, share: float = 1.0) -> Pixels:
    """Colour the region evenly and keep its light and shade."""
    painted = np.clip(_grey(pixels) * 1.15, 0, 1) * (_colour(colour) * 1.25)
    return _mix(pixels, painted, share * _mask_of(pixels, region))


def erase(pixels: Pixels, region: Sequence[Shape], keep: Sequence[Shape] = ()) -> Pixels:
    """Remove what is in the region: fill it from its edge (biharmonic inpainting), with the grain of the photo.

    The region `keep` stays as it is.
    """
    from skimage.restoration import inpaint_biharmonic

    mask = (_mask_of(pixels, region, 0) > 0)[..., 0] & ~(_mask_of(pixels, keep, 0) > 0)[..., 0]
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    part = np.s_[max(rows[0] - 12, 0) : rows[-1] + 13, max(columns[0] - 12, 0) : columns[-1] + 13]
    filled = np.clip(inpaint_biharmonic(pixels[part], mask[part], channel_axis=2), 0, 1).astype(np.float32)
    grain = np.random.default_rng(3).normal(0, 0.015, filled.shape[:2]).astype(np.float32)[..., None]
    result = pixels.copy()
    result[part] = np.where(mask[part][..., None], filled + grain, pixels[part])
    return result


def glow(pixels: Pixels, x: float, y: float, radius: float, colour: str = "#ffb24a", power: float = 1.0) -> Pixels:
    """Let a light or a fire shine at (x, y), in shares; `radius` is a share of the width."""
    height, width, _ = pixels.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(columns - x * width, rows - y * height)[..., None] / (radius * width)
    light = np.clip(power * (np.exp(-(distance**2)) + 0.6 * np.exp(-((distance * 3) ** 2))), 0, 1)
    drawn: Pixels = 1 - (1 - np.clip(pixels, 0, 1)) * (1 - light * _colour(colour))
    return drawn


def paint(pixels: Pixels, region: Sequence[Shape], colour: str, shade: float = 0.0) -> Pixels:
    """Paint the region. `shade` (0..1) keeps that much of the broad light and shadow below, such as folds of cloth."""
    broad = np.asarray(to_image(pixels).convert("L").filter(ImageFilter.GaussianBlur(9)), dtype=np.float32)[..., None]
    light = 1 - shade + shade * broad / max(float(broad.max()), 1)
    return _mix(pixels, _colour(colour) * light, _mask_of(pixels, region))


def damage(pixels: Pixels, cell: int = 9) -> Pixels:
    """Spoil the photo: coarse cells of `cell` pixels in colours that are too strong."""
    height, width, _ = pixels.shape
    small = to_image(pixels).resize((max(1, width // cell), max(1, height // cell)), Image.Resampling.BOX)
    coarse = to_pixels(small.resize((width, height), Image.Resampling.NEAREST))
    return np.clip(_mix(_grey(coarse), coarse, 1.9), 0, 1)


DRAW: dict[str, Callable[..., Pixels]] = {
    one.__name__: one for one in (night, lamp, fog, steam, rain, snow, recolour, tint, erase, glow, paint, damage)
}
"""Drawing functions, by their names in the list."""
