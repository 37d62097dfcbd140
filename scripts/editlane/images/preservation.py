"""Measure how much of the source an edit preserved. This describes an edit; it does not rate it.

An edit that does nothing preserves everything, and "make it night" must not. On the VIEScore data LPIPS agrees with
human ratings at a Spearman rho of 0.1. Read these numbers beside the score, never instead of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from PIL.Image import Image

from editlane.core.errors import ItemError, one_line
from editlane.core.schemas import PRESERVATION
from editlane.core.types import EDITED, Row
from editlane.images.alignment import align, cut_common_part
from editlane.images.recorded import open_recorded

COMMON_SIDE = 512
"""Longer side, in pixels, at which source and edit are compared; less if one of them is smaller."""

CHANGED_LEVELS = 20
"""A pixel counts as changed if a channel differs by more than this, in levels of 0..255. Saving as JPEG or WebP of
quality 60 exceeded it in up to 0.3 % of the pixels of photos of 0.3 to 1.2 megapixels, and in up to 4 % for smaller
photos with much fine colour."""

MEASURED, NO_EDIT, FAILED = "measured", "no_edit", "failed"


class Preservation(TypedDict):
    """Measurements of one edit."""

    ssim: float
    """Mean structural similarity of the colour image, -1..1; Gaussian windows, sigma 1.5 (Wang et al. 2004)."""
    psnr: float | None
    """Peak signal-to-noise ratio in dB; None for equal images, because it is infinite."""
    mae: float
    """Mean absolute difference of pixels and channels, in levels of 0..255."""
    changed_share: float
    """Share of pixels that changed (CHANGED_LEVELS), 0..1."""


def measure_preservation(source: Image, edited: Image) -> Preservation:
    """Compare the part of the scene that both images show. Both are RGB, of any size.

    `alignment` undoes the editor's own resize first. Cropped or padded parts are ignored, and a stretch or a shift of a
    few pixels is no change. Values are rounded to 6 decimals.
    """
    from skimage.metrics import structural_similarity

    first, second = cut_common_part(source, edited, align(source, edited, COMMON_SIDE), COMMON_SIDE)
    difference = np.abs(first - second)
    similarity = structural_similarity(
        first, second, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    equal = not difference.any()
    return {
        "ssim": round(float(similarity), 6),
        "psnr": None if equal else round(_compute_psnr(difference), 6),
        "mae": round(float(difference.mean(dtype=np.float64)), 6),
        "changed_share": round(float((difference.max(axis=2) > CHANGED_LEVELS).mean()), 6),
    }


def _compute_psnr(difference: np.ndarray) -> float:
    """Return 10 log10(255^2 / mean squared difference), in dB.

    scikit-image has the same in a module that imports scipy.stats, which takes half of a small lane's time.
    """
    return float(10 * np.log10(255.0**2 / np.mean(difference**2, dtype=np.float64)))


def make_preservation_row(run_dir: Path, edit: Mapping[str, Any]) -> Row:
    """Make the row of `preservation.parquet` for one row of an edits table.

    Its state is `measured`, `no_edit`, or `failed` with the reason in `error`.
    """
    row = dict.fromkeys(PRESERVATION.names) | {name: edit[name] for name in PRESERVATION.names if name in edit}
    row |= {"state": NO_EDIT, "error": None}
    if edit["state"] != EDITED:
        return row
    try:
        source = open_recorded(run_dir, edit["source_path"], edit["source_sha256"])
        edited = open_recorded(run_dir, edit["edited_path"], edit["edited_sha256"])
        return row | measure_preservation(source, edited) | {"state": MEASURED}
    except ItemError as error:
        return row | {"state": FAILED, "error": one_line(error)}
    except Exception as error:  # noqa: BLE001  one pair that cannot be compared must not abort the step
        return row | {"state": FAILED, "error": f"{type(error).__name__}: {one_line(error)}"[:300]}
