"""Whether an edit shows its source again, apart from what saving and resizing do.

Measured on 22 photos, 0.1 to 2 megapixels: in 1,408 copies of them (JPEG and WebP from quality 60, resized, squashed,
cropped, padded, shifted, blurred as by a VAE, and all of this together) `Difference.local` reached 0.58, with a palette
of 256 colours 0.86. In 15 edits by real systems it was 2.1 or more, in 301 of 302 drawn ones (3 % of the area
recoloured, removed or darker, a short word, a blurred picture) 1.17 or more; the other one blurred plain sky. `shade`
tells a darker, lighter, warmer or grey picture: 1.1 at most in the copies, 3.9 or more in 39 of 40 of these;
`local` tells the last one. LIMITS lie between the two sides.

What it cannot tell: a pale or tiny edit (found in a picture of 1 megapixel: a disc of 16 pixels and 80 levels, of 24
pixels and 40 levels, of 40 pixels and 20 levels, if the ground is even); a change in the outer 1 %; fine grain; a crop
to another aspect ratio, a bar, or a shift of up to 4 % that the instruction asked for. And a chart with all colours
saved with a palette of 256 counts as changed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageChops
from PIL.Image import Image, Resampling

from editlane.images.alignment import OWN_SCALE_PIXELS, Map, Pixels, align, same_part, smooth
from editlane.images.files import to_rgb

SIDE = 256
"""Longer side, in pixels, at which source and edit are compared."""

MARGIN = 2
"""Pixels of that size left out at each edge, where padding bleeds in."""

BAR_LEVELS = 8.0
"""What a bar that pads an image may vary by, in levels of 0..255."""


class Difference(NamedTuple):
    """How far an edit is from its source, both at SIDE and slightly blurred."""

    mean: float
    """Mean absolute difference of pixels and channels, in levels of 0..255."""
    shade: float
    """Largest difference of a channel's mean, in levels."""
    dissimilarity: float
    """1 - SSIM of the grey images; Gaussian windows, sigma 1.5."""
    local: float
    """Largest local difference: its root mean square in a Gaussian window (sigma 2.5 pixels) as a multiple of what
    encoders and filters may do there, 13 levels and 25 % of the local contrast."""


LIMITS = Difference(mean=6.0, shade=2.0, dissimilarity=0.12, local=1.0)
"""An edit is unchanged up to these. The copies of photos reached 2.8, 1.1, 0.03 and 0.86, those of drawings 5.7, 1.5,
0.11 and 0.79."""


GLANCE = 3.0
"""How many times the limit of the mean the thumbnails must differ by; shifted copies of photos reached 1.6."""


def is_unchanged(source: Image, edited: Image) -> bool:
    """Whether `edited` shows `source` again. Any sizes and modes; transparent parts are white.

    Equal pixels are. Else the editor's own resize is undone (`alignment`), and every number of `Difference`
    must be within LIMITS; bars that pad the image must be of one colour.
    """
    source, edited = to_rgb(source), to_rgb(edited)
    if source.size == edited.size and ImageChops.difference(source, edited).getbbox() is None:
        return True
    if _differs_at_a_glance(source, edited):
        return False
    where = align(source, edited, SIDE)
    found = difference(source, edited, where)
    within = all(value <= limit for value, limit in zip(found, LIMITS, strict=True))
    return within and _is_bare_outside(edited, where)


def _differs_at_a_glance(source: Image, edited: Image) -> bool:
    """Whether images of one size are so far apart that no alignment helps; spares most edits the rest. Of another size
    the edit may be padded."""
    if source.size != edited.size:
        return False
    first, second = (np.asarray(image.resize((32, 32), Resampling.BOX), dtype=np.float32) for image in (source, edited))
    return bool(np.abs(first - second).mean() > GLANCE * LIMITS.mean)


def difference(source: Image, edited: Image, where: Map) -> Difference:
    """Compare the common part of two RGB images."""
    from skimage.metrics import structural_similarity

    parts = same_part(source, edited, where, SIDE)
    first, second = (smooth(part[MARGIN:-MARGIN, MARGIN:-MARGIN], 1.0) for part in parts)
    apart = first - second
    grey = first.mean(axis=2), second.mean(axis=2)
    similarity = structural_similarity(*grey, data_range=255, gaussian_weights=True, use_sample_covariance=False)
    contrast = np.minimum(_contrast(grey[0]), _contrast(grey[1]))
    local = smooth(np.sqrt((apart**2).mean(axis=2)), 2.5) / (13.0 + 0.25 * contrast)
    return Difference(
        mean=float(np.abs(apart).mean()),
        shade=float(np.abs(apart.mean(axis=(0, 1))).max()),
        dissimilarity=1.0 - float(similarity),
        local=float(local.max()),
    )


def _contrast(grey: Pixels) -> NDArray[np.float32]:
    """The local standard deviation of (h, w), in levels; Gaussian window, sigma 4 pixels."""
    deviation: NDArray[np.float32] = np.sqrt(np.maximum(smooth(grey**2, 4.0) - smooth(grey, 4.0) ** 2, 0.0))
    return deviation


def _is_bare_outside(edited: Image, where: Map) -> bool:
    """Whether the edit shows nothing new beside its source: narrow strips may hold anything, wide ones one colour."""
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
