"""Detect edits that only show their source again, apart from the effects of saving and resizing.

LIMITS separate two sets, both made from 22 photos of 0.1 to 2 megapixels.

Copies: 1,408 (JPEG and WebP from quality 60, resized, squashed, cropped, padded, shifted, blurred as by a VAE, and all
of these combined). `Difference.local` reached 0.58, and 0.86 with a palette of 256 colours. `shade` reached 1.1.

Edits: `local` was at least 2.1 in 15 edits by real systems, and at least 1.17 in 301 of 302 synthetic ones (3 % of the
area recoloured, removed or darkened, a short word, a blurred picture). The remaining one blurred plain sky. `shade`
was at least 3.9 in 39 of 40 darker, lighter, warmer or grey pictures; `local` detects the last one.

Not detected: pale or tiny edits; a change in the outer 1 %; fine grain; and a crop to another aspect ratio, a bar, or a
shift of up to 4 % that the instruction asked for. The smallest edits detected in a picture of 1 megapixel, on an even
background, are discs of 16 pixels and 80 levels, of 24 pixels and 40 levels, and of 40 pixels and 20 levels.
False alarm: a chart of all colours saved with a palette of 256 counts as changed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageChops
from PIL.Image import Image, Resampling

from editlane.images.alignment import OWN_SCALE_PIXELS, Map, Pixels, align, cut_common_part, smooth
from editlane.images.decoding import to_rgb

SIDE = 256
"""Longer side, in pixels, at which source and edit are compared."""

MARGIN = 2
"""Pixels at SIDE that are ignored at each edge, because padding bleeds in there."""

BAR_LEVELS = 8.0
"""Largest variation within a bar that pads an image, in levels of 0..255."""


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


LIMITS = Difference(mean=6.0, shade=2.0, dissimilarity=0.12, local=1.0)
"""An edit is unchanged up to these limits. Copies of photos reached 2.8, 1.1, 0.03 and 0.86, copies of drawings 5.7,
1.5, 0.11 and 0.79."""


GLANCE = 3.0
"""Thumbnails that differ by more than this multiple of LIMITS.mean are not aligned; shifted photos reached 1.6."""


def is_unchanged(source: Image, edited: Image) -> bool:
    """Return whether `edited` shows `source` again. Any sizes and modes; transparent parts are white.

    Equal pixels are unchanged. Otherwise `alignment` undoes the editor's own resize, and every value of `Difference`
    must be within LIMITS. Bars that pad the image must have one colour.
    """
    source, edited = to_rgb(source), to_rgb(edited)
    if source.size == edited.size and ImageChops.difference(source, edited).getbbox() is None:
        return True
    if _differs_at_a_glance(source, edited):
        return False
    where = align(source, edited, SIDE)
    measured = measure_difference(source, edited, where)
    within = all(value <= limit for value, limit in zip(measured, LIMITS, strict=True))
    return within and _is_bare_outside(edited, where)


def _differs_at_a_glance(source: Image, edited: Image) -> bool:
    """Return whether two images of equal size differ so much that no alignment helps.

    This avoids the alignment for most edits. An edit of another size may be padded, so it is always aligned.
    """
    if source.size != edited.size:
        return False
    first, second = (np.asarray(image.resize((32, 32), Resampling.BOX), dtype=np.float32) for image in (source, edited))
    return bool(np.abs(first - second).mean() > GLANCE * LIMITS.mean)


def measure_difference(source: Image, edited: Image, where: Map) -> Difference:
    """Compare the common part of two RGB images."""
    from skimage.metrics import structural_similarity

    parts = cut_common_part(source, edited, where, SIDE)
    first, second = (smooth(part[MARGIN:-MARGIN, MARGIN:-MARGIN], 1.0) for part in parts)
    apart = first - second
    grey = first.mean(axis=2), second.mean(axis=2)
    similarity = structural_similarity(*grey, data_range=255, gaussian_weights=True, use_sample_covariance=False)
    contrast = np.minimum(_local_contrast(grey[0]), _local_contrast(grey[1]))
    local = smooth(np.sqrt((apart**2).mean(axis=2)), 2.5) / (13.0 + 0.25 * contrast)
    return Difference(
        mean=float(np.abs(apart).mean()),
        shade=float(np.abs(apart.mean(axis=(0, 1))).max()),
        dissimilarity=1.0 - float(similarity),
        local=float(local.max()),
    )


def _local_contrast(grey: Pixels) -> NDArray[np.float32]:
    """Compute the local standard deviation of (h, w) in levels, in a Gaussian window of sigma 4 pixels."""
    deviation: NDArray[np.float32] = np.sqrt(np.maximum(smooth(grey**2, 4.0) - smooth(grey, 4.0) ** 2, 0.0))
    return deviation


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
