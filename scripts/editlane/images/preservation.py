"""How much of the source an edit left as it was: a description, not a quality.

An edit that does nothing preserves everything, and "make it night" may not: LPIPS agrees with people's ratings at a
Spearman rho of 0.1 on the VIEScore data. Read these numbers beside the score, never instead of it.
"""

from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL.Image import Image

from editlane.core.errors import ItemError, one_line
from editlane.core.schemas import PRESERVATION
from editlane.core.types import EDITED, Row
from editlane.images.alignment import align, same_part
from editlane.images.recorded import open_recorded

COMMON_SIDE = 512
"""Longer side, in pixels, at which source and edit are compared; less where one of them is smaller."""

CHANGED_LEVELS = 20
"""A pixel counts as changed where a channel differs by more than this, in levels of 0..255. Saving alone, as JPEG or
WebP of quality 60, exceeded it in up to 0.3 % of the pixels of photos of 0.3 to 1.2 megapixels, in up to 4 % of smaller
ones with much fine colour."""

MEASURED, NO_EDIT, FAILED = "measured", "no_edit", "failed"


class Preservation(TypedDict):
    """What `measure` says about one edit."""

    ssim: float
    """Mean structural similarity of the colour image, -1..1; Gaussian windows, sigma 1.5 (Wang et al. 2004)."""
    psnr: float | None
    """Peak signal-to-noise ratio in dB; None for equal images, which have no finite one."""
    mae: float
    """Mean absolute difference of pixels and channels, in levels of 0..255."""
    changed_share: float
    """Share of pixels that changed (CHANGED_LEVELS), 0..1."""


def measure(source: Image, edited: Image) -> Preservation:
    """Compare what both images show of the same scene. Both RGB; any sizes.

    The editor's own resize is undone first (`alignment`): what it cropped or padded does not count, a stretch
    or a shift of a few pixels is no change. Rounded to 6 decimals.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    first, second = same_part(source, edited, align(source, edited, COMMON_SIDE), COMMON_SIDE)
    difference = np.abs(first - second)
    similarity = structural_similarity(
        first, second, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    equal = not difference.any()
    return {
        "ssim": round(float(similarity), 6),
        "psnr": None if equal else round(float(peak_signal_noise_ratio(first, second, data_range=255)), 6),
        "mae": round(float(difference.mean(dtype=np.float64)), 6),
        "changed_share": round(float((difference.max(axis=2) > CHANGED_LEVELS).mean()), 6),
    }


def preservation_row(run_dir: Path, edit: Row) -> Row:
    """The row of `preservation.parquet` of one row of an edits table: measured, no_edit, or failed with the reason."""
    row = dict.fromkeys(PRESERVATION.names) | {name: edit[name] for name in PRESERVATION.names if name in edit}
    row |= {"state": NO_EDIT, "error": None}
    if edit["state"] != EDITED:
        return row
    try:
        source = open_recorded(run_dir, edit["source_path"], edit["source_sha256"])
        edited = open_recorded(run_dir, edit["edited_path"], edit["edited_sha256"])
        return row | measure(source, edited) | {"state": MEASURED}
    except ItemError as error:
        return row | {"state": FAILED, "error": one_line(error)}
    except Exception as error:  # noqa: BLE001  one pair that cannot be compared must not end a lane
        return row | {"state": FAILED, "error": f"{type(error).__name__}: {one_line(error)}"[:300]}
