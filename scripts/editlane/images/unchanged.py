"""Tell edits that only show their source again, apart from the effects of saving and resizing, from small edits.

The whole picture is compared at SIDE. What is not clearly changed there is compared spot by spot at DETAIL_SIDE, each
spot relative to the noise that this pair has elsewhere. Between the two limits of a value the answer is not sure.

The limits at SIDE were chosen on 1,408 copies of 22 photos of 0.1 to 2 megapixels (JPEG and WebP from quality 60,
resized, squashed, cropped, padded, shifted, blurred as by a VAE, and all of these combined), 15 edits by real systems
and 302 synthetic ones. `Difference.local` reached 0.58 in copies, and 1.1 with a palette of 256 colours; it was at
least 2.1 in real edits. `shade` reached 1.25 in copies, and was at least 3.9 in 39 of 40 darker, lighter, warmer or
grey pictures. `rotation` stayed below 0.03 in copies, and was 0.43 to 0.52 in pictures turned by 0.5 degrees.

`measure_detail` stayed below 15 in copies without a palette, and below 3.5 in most of them; above that it was where a
sharp photo had been made smaller and large again. tests/bench/results/unchanged.md has the answers for 990 pairs.

Not seen: a change in the outer 1 %, or the outer 10 pixels; a blur that the editor's autoencoder hides; and a crop to
another aspect ratio, a bar, or a shift of up to 1.5 % that the instruction asked for. An invisible spot is a change if
all other pixels are equal. False alarm: a chart of all colours saved with a palette of 256 counts as changed.
"""

from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageChops
from PIL.Image import Image, Resampling

from editlane.images.alignment import (
    OWN_SCALE_PIXELS,
    Map,
    Pixels,
    align,
    cut_common_part,
    measure_drift,
    measure_rotation,
    smooth,
)
from editlane.images.decoding import to_rgb

SIDE = 256
"""Longer side, in pixels, at which source and edit are compared."""

MARGIN = 2
"""Pixels at SIDE that are ignored at each edge, because padding bleeds in there."""

BAR_LEVELS = 8.0
"""Largest variation within a bar that pads an image, in levels of 0..255."""

DETAIL_SIDE = 1024
"""Longer side, in pixels, at which details are compared."""

DETAIL_MARGIN = 10
"""Pixels that are ignored at each edge when details are compared; as far as the windows reach."""

RULE = 2
"""Bump it if `is_unchanged` answers otherwise for the same pair, and look at `EditorSpec.find_kept`: what rule 1 called
changed, rule 2 does, too, but for copies with a palette."""


class Difference(NamedTuple):
    """Difference between an edit and its source, both resized to SIDE and slightly blurred."""

    mean: float
    """Mean absolute difference of pixels and channels, in levels of 0..255."""
    shade: float
    """Largest difference of a channel's mean, in levels."""
    dissimilarity: float
    """1 - SSIM of the grey images; Gaussian windows, sigma 1.5."""
    local: float
    """Largest local difference: its root mean square in a Gaussian window (sigma 2.5 pixels), divided by the tolerance
    for encoders and filters, which is 13 levels plus 25 % of the local contrast."""
    rotation: float
    """Angle by which the edit is turned, in degrees."""
    drift: float
    """How far an edge of the picture lies from where a plain resize, crop or padding puts it, as a share of a side."""


UNCHANGED = Difference(mean=6.0, shade=1.3, dissimilarity=0.12, local=1.0, rotation=0.1, drift=0.015)
CHANGED = Difference(mean=6.0, shade=2.0, dissimilarity=0.12, local=1.0, rotation=0.3, drift=inf)
"""Up to UNCHANGED in every value an edit may be unchanged; above CHANGED in one it is changed."""

UNCHANGED_DETAIL, CHANGED_DETAIL = 3.5, 20.0
"""The same for `measure_detail`."""

CHANGED_PALETTE = CHANGED._replace(local=2.0)
"""In place of CHANGED and CHANGED_DETAIL for an edit that was given a palette, because that draws bands in plain areas,
which look like small edits."""


GLANCE = 3.0
"""Thumbnails that differ by more than this multiple of CHANGED.mean are not aligned; shifted photos reached 1.6."""


def is_unchanged(source: Image, edited: Image) -> bool | None:
    """Return whether `edited` shows `source` again; None: not sure. Any sizes and modes; transparent parts are white.

    Equal pixels are unchanged. Otherwise `alignment` undoes the editor's own resize. Bars that pad the image must have
    one colour.
    """
    source, edited = to_rgb(source), to_rgb(edited)
    if source.size == edited.size and ImageChops.difference(source, edited).getbbox() is None:
        return True
    if _differs_at_a_glance(source, edited):
        return False
    where = align(source, edited, SIDE)
    measured = measure_difference(source, edited, where)
    limits, detail_limit = (CHANGED_PALETTE, inf) if _has_new_palette(source, edited) else (CHANGED, CHANGED_DETAIL)
    if not _all_within(measured, limits) or not _is_bare_outside(edited, where):
        return False
    detail = measure_detail(source, edited, where)
    if detail > detail_limit:
        return False
    return True if detail <= UNCHANGED_DETAIL and _all_within(measured, UNCHANGED) else None


def _all_within(measured: Difference, limits: Difference) -> bool:
    return all(value <= limit for value, limit in zip(measured, limits, strict=True))


def _has_new_palette(source: Image, edited: Image) -> bool:
    """Return whether the edit has at most 256 colours, and the source has more."""
    return edited.getcolors(256) is not None and source.getcolors(256) is None


def _differs_at_a_glance(source: Image, edited: Image) -> bool:
    """Return whether two images of equal size differ so much that no alignment helps.

    This avoids the alignment for most edits. An edit of another size may be padded, so it is always aligned.
    """
    if source.size != edited.size:
        return False
    first, second = (np.asarray(image.resize((32, 32), Resampling.BOX), dtype=np.float32) for image in (source, edited))
    return bool(np.abs(first - second).mean() > GLANCE * CHANGED.mean)


def measure_difference(source: Image, edited: Image, where: Map) -> Difference:
    """Compare the common part of two RGB images."""
    from skimage.metrics import structural_similarity

    parts = cut_common_part(source, edited, where, SIDE)
    first, second = (smooth(part[MARGIN:-MARGIN, MARGIN:-MARGIN], 1.0) for part in parts)
    apart = first - second
    grey = first.mean(axis=2), second.mean(axis=2)
    similarity = structural_similarity(*grey, data_range=255, gaussian_weights=True, use_sample_covariance=False)
    contrast = np.sqrt(np.minimum(*(_local_variance(part, 4.0) for part in grey)))
    local = smooth(np.sqrt((apart**2).mean(axis=2)), 2.5) / (13.0 + 0.25 * contrast)
    return Difference(
        mean=float(np.abs(apart).mean()),
        shade=float(np.abs(apart.mean(axis=(0, 1))).max()),
        dissimilarity=1.0 - float(similarity),
        local=float(local.max()),
        rotation=measure_rotation(*grey),
        drift=measure_drift(source.size, edited.size, where),
    )


def measure_detail(source: Image, edited: Image, where: Map) -> float:
    """Return how far the most different spot of two RGB images stands out from the pair's own noise. 1 is usual.

    The larger of brightness, at DETAIL_SIDE, and colour, at half the size, because encoders store it so.
    """
    grey = cut_common_part(source.convert("L"), edited.convert("L"), where, DETAIL_SIDE)
    half = max(grey[0].shape) // 2
    colour = cut_common_part(source.convert("YCbCr"), edited.convert("YCbCr"), where, half)
    return max(_find_spot(*grey), *(_find_spot(*(part[..., channel] for part in colour)) for channel in (1, 2)))


def _find_spot(first: Pixels, second: Pixels) -> float:
    """Return the largest difference of a spot, as a multiple of the noise, of two (h, w).

    A spot's difference is its mean square in a Gaussian window (sigma 2 pixels), divided by 16 plus the local variance,
    in levels squared, because encoders and filters change structure more than plain areas. The noise is what 99 % of
    the spots stay below, and at least 0.05: 0.9 levels in a plain area.
    """
    structure = np.minimum(*(_local_variance(part, 2.0) for part in (first, second)))
    apart = smooth((first - second) ** 2, 2.0) / (16.0 + structure)
    margin = min(DETAIL_MARGIN, min(apart.shape) // 4)
    inner = apart[margin:-margin, margin:-margin]
    return float(inner.max() / (0.05 + np.quantile(inner[::2, ::2], 0.99)))


def _local_variance(grey: Pixels, sigma: float) -> NDArray[np.float32]:
    """Compute the variance of (h, w) in a Gaussian window, in levels squared."""
    variance: NDArray[np.float32] = np.maximum(smooth(grey**2, sigma) - smooth(grey, sigma) ** 2, 0.0)
    return variance


def _is_bare_outside(edited: Image, where: Map) -> bool:
    """Return whether the edit shows nothing new outside its source.

    Narrow strips may hold anything; wide ones must have one colour.
    """
    (left, right), (top, bottom) = (axis.edited for axis in where)
    width, height = edited.size
    bars = [
        (0.0, 0.0, left * 0.9 * width, height),
        ((right + (1 - right) * 0.1) * width, 0.0, width, height),
        (0.0, 0.0, width, top * 0.9 * height),
        (0.0, (bottom + (1 - bottom) * 0.1) * height, width, height),
    ]
    return all(min(bar[2] - bar[0], bar[3] - bar[1]) < OWN_SCALE_PIXELS or _is_plain(edited, bar) for bar in bars)


def _is_plain(image: Image, box: tuple[float, float, float, float]) -> bool:
    pixels = np.asarray(image.resize((16, 16), Resampling.BOX, box=box), dtype=np.float32)
    return bool(np.ptp(pixels, axis=(0, 1)).max() <= BAR_LEVELS)
