"""Undo an editor's own resize: cut the part of the scene that edit and source share, at one size.

Editors stretch an image, crop it to another aspect ratio, pad it, or crop or pad it to a multiple of 16 or 32 pixels.
Each of these maps the edit's axes to the source's by a scale and an offset. All are tried, and the best one is refined
by least squares on the gradients (Lucas and Kanade 1981, here with the scale and shift of each axis). Positions are
shares of a side, 0..1, so that a map holds at every size.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from editlane.images.files import fit_within

COARSE_SIDE = 64
"""Longer side, in pixels, at which the possible resizes are compared with each other."""

OWN_SCALE_PIXELS = 32
"""Largest multiple of pixels to which editors crop or pad without scaling."""

STRAY = 0.04
"""Refinement may move an edge of the image by this share of a side: 3 pixels in the smallest photo tested."""

LEAST_SIDE = 16
"""Narrow images are stretched to this shorter side, in pixels, because SSIM needs windows of 11 pixels."""

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a map: source position = scale * edit position + offset, both as shares of their side."""

    scale: float
    offset: float

    @property
    def edited(self) -> tuple[float, float]:
        """Span of the edit's axis that lies inside the source."""
        return max(0.0, -self.offset / self.scale), min(1.0, (1 - self.offset) / self.scale)

    @property
    def source(self) -> tuple[float, float]:
        """Span of the source's axis that lies inside the edit."""
        return max(0.0, self.offset), min(1.0, self.scale + self.offset)

    def transform(self, stretch: float, shift: float) -> "Axis":
        """Stretch by 1 + `stretch` around the middle of the common span, and move by the share `shift` of that span."""
        low, high = self.source
        middle = (low + high) / 2
        offset = middle + (1 + stretch) * (self.offset - middle) + shift * (high - low)
        return Axis(self.scale * (1 + stretch), offset)

    def measure_drift(self, start: "Axis") -> float:
        """Return how far an edge of the edit lies from its position under `start`, as a share of the source's side."""
        first, last = self.offset - start.offset, self.scale + self.offset - start.scale - start.offset
        return max(abs(first), abs(last))


Map = tuple[Axis, Axis]
"""The axes x and y."""


def align(source: Image, edited: Image, side: int) -> Map:
    """Find the map with the smallest mean absolute difference at `side` pixels. Both RGB, of any size."""
    first, second = (fit_within(image.convert("L"), 2 * side) for image in (source, edited))
    tiny = fit_within(first, 2 * COARSE_SIDE), fit_within(second, 2 * COARSE_SIDE)
    found = [_refine(*tiny, start, COARSE_SIDE) for start in _list_resizes(source.size, edited.size)]
    return _refine(first, second, min(found, key=lambda pair: pair[1])[0], side)[0]


def measure_drift(source: tuple[int, int], edited: tuple[int, int], where: Map) -> float:
    """Return how far an edge of the edit lies from where the editor's resize alone may put it, as a share of a side.

    `source`, `edited`: sizes (width, height).
    """
    return min(_measure_drift(where, start) for start in _list_resizes(source, edited))


def measure_rotation(source: Pixels, edited: Pixels) -> float:
    """Return the angle, in degrees without sign, by which the edit is turned after `align`. Both (h, w).

    Least squares on the gradients, as in `align`; up to about half a degree, larger angles come out smaller.
    """
    height, width = source.shape
    dy, dx = np.gradient(source)
    x, y = np.linspace(-0.5, 0.5, width) * width, np.linspace(-0.5, 0.5, height)[:, None] * height
    solution = _explain(np.stack([dx * x, dx, dy * y, dy, dx * y - dy * x]), edited - source)
    return abs(float(np.degrees(solution[4])))


def cut_common_part(source: Image, edited: Image, where: Map, side: int) -> tuple[Pixels, Pixels]:
    """Cut the part that both images share under `where`, at one size: float32 (h, w) or (h, w, 3), levels of 0..255.

    The longer side is `side` pixels, or less if the part is smaller in one of the images.
    """
    lengths = [
        min((axis.source[1] - axis.source[0]) * old, (axis.edited[1] - axis.edited[0]) * new)
        for axis, old, new in zip(where, source.size, edited.size, strict=True)
    ]
    factor = min(1.0, side / max(lengths))
    width, height = (max(LEAST_SIDE, round(length * factor)) for length in lengths)
    parts = ((source, [axis.source for axis in where]), (edited, [axis.edited for axis in where]))
    first, second = (_cut(image, spans, (width, height)) for image, spans in parts)
    return first, second


def _list_resizes(source: tuple[int, int], edited: tuple[int, int]) -> list[Map]:
    """List the maps that an editor's resize may have, from the sizes (width, height).

    It may have stretched the image, or cropped it to fill the new frame or padded it to fit, both around the middle. It
    may also have cropped or padded without scaling, around the middle or at the right and bottom.
    """
    ratios = edited[0] / source[0], edited[1] / source[1]
    around_middle = [(1.0, 1.0), *((ratios[0] / ratio, ratios[1] / ratio) for ratio in sorted(ratios))]
    maps = []
    if all(abs(new - old) < OWN_SCALE_PIXELS for old, new in zip(source, edited, strict=True)):
        around_middle.append(ratios)
        maps.append((Axis(ratios[0], 0.0), Axis(ratios[1], 0.0)))
    maps += [(Axis(x, (1 - x) / 2), Axis(y, (1 - y) / 2)) for x, y in around_middle]
    return list(dict.fromkeys(maps))


def _cut(image: Image, spans: list[tuple[float, float]], size: tuple[int, int]) -> Pixels:
    (left, right), (top, bottom) = (_at_least_a_pixel(span, side) for span, side in zip(spans, image.size, strict=True))
    return np.asarray(image.resize(size, Resampling.BICUBIC, box=(left, top, right, bottom)), dtype=np.float32)


def _at_least_a_pixel(span: tuple[float, float], side: int) -> tuple[float, float]:
    """Convert a span from shares of a side to pixels. A crop of a very narrow image may leave less than one pixel."""
    low, high = span[0] * side, span[1] * side
    if high - low >= 1:
        return low, high
    middle = min(max((low + high) / 2, 0.5), side - 0.5)
    return middle - 0.5, middle + 0.5


def smooth(pixels: Pixels, sigma: float) -> Pixels:
    """Blur (h, w) or (h, w, channels), `sigma` in pixels, because fine detail depends on filters and encoders."""
    from scipy.ndimage import gaussian_filter

    blurred: Pixels = gaussian_filter(pixels, sigma, mode="nearest", axes=(0, 1))
    return blurred


def _refine(source: Image, edited: Image, start: Map, side: int, steps: int = 5) -> tuple[Map, float]:
    """Refine a map by least squares. Returns it with its mean absolute difference."""
    best, least, where = start, float("inf"), start
    for _ in range(steps):
        first, second = (smooth(pixels, 1.0) for pixels in cut_common_part(source, edited, where, side))
        error = float(np.abs(first - second).mean())
        if error >= 0.98 * least:
            break
        best, least = where, error
        where = _step(first, second, where)
        if _measure_drift(where, start) > STRAY:
            break
    return best, least


def _measure_drift(where: Map, start: Map) -> float:
    return max(axis.measure_drift(begun) for axis, begun in zip(where, start, strict=True))


def _step(source: Pixels, edited: Pixels, where: Map) -> Map:
    """Return `where` with the scales and shifts that best explain the difference of two (h, w) arrays."""
    height, width = source.shape
    dy, dx = np.gradient(source)
    x, y = np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height)[:, None]
    design = np.stack([dx * x * width, dx * width, dy * y * height, dy * height])
    stretch_x, shift_x, stretch_y, shift_y = _explain(design, edited - source).tolist()
    return where[0].transform(stretch_x, shift_x), where[1].transform(stretch_y, shift_y)


def _explain(design: NDArray[np.floating], difference: Pixels) -> NDArray[np.floating]:
    """Return the weights with which the columns of `design`, (n, h, w), best explain a difference (h, w)."""
    columns = design.reshape(len(design), -1)
    normal = np.einsum("in,jn->ij", columns, columns)  # not BLAS: its sums depend on the number of threads
    moment = np.einsum("in,n->i", columns, difference.ravel())
    weights: NDArray[np.floating] = np.linalg.lstsq(normal, moment, rcond=1e-6)[0]
    return weights
