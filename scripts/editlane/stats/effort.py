"""Find editors that pay more for no more: they take more GPU-seconds, and a cheaper one is no worse.

The textbook rule, which calls an editor "volume king" whose share of the wins is less than its share of the effort,
also crowned the best editor: it took 62 % of the seconds and won 48 % of the items.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from editlane.core.types import SCALE
from editlane.stats.intervals import ALPHA, Interval, infer_mean, mean_interval

Floats = NDArray[np.float64]

MARGIN = 0.25
"""Points of 0..10. A cheaper editor counts as no worse if its mean is surely not lower by this much."""

REACH = SCALE[1] - SCALE[0]


class Effort(TypedDict):
    """What one editor costs and reaches, over the items that all editors have a score for."""

    seconds: float | None
    """GPU-seconds per edit, mean over the edits whose time is known; by the clock of the process that edited."""
    seconds_interval: Interval | None
    timed: int
    score: float
    """Mean of the categories' means, 0..10."""
    no_more_than: list[str]
    """Cheaper editors that are surely no worse."""


class Rival(TypedDict):
    """An editor against one that is cheaper by the interval."""

    editor: str
    cheaper: str
    seconds: Interval
    """Interval of the seconds that the cheaper one saves per edit."""
    difference: float
    """Mean of the cheaper one less that of the editor."""
    interval: Interval | None
    p_holm: float
    """One-sided, of a cheaper one that is worse by MARGIN; corrected over all rivals."""


class VolumeKing(TypedDict):
    margin: float
    editors: dict[str, Effort]
    rivals: list[Rival]
    kings: list[str]
    """Editors that pay more for no more."""


def find_kings(
    scores: Floats,
    seconds: Floats,
    editors: Sequence[str],
    groups: NDArray[Any],
    clusters: NDArray[Any],
) -> VolumeKing:
    """Compare each editor with the cheaper ones. scores, seconds: (items, editors); only seconds may be NaN."""
    rivals = [
        rival
        for dear in range(len(editors))
        for cheap in range(len(editors))
        if dear != cheap and (rival := _compare(dear, cheap, scores, seconds, editors, groups, clusters))
    ]
    if rivals:
        corrected = multipletests([rival["p_holm"] for rival in rivals], method="holm")[1]
        for rival, p in zip(rivals, map(float, corrected), strict=True):
            rival["p_holm"] = p
    better: Mapping[str, list[str]] = {
        name: [one["cheaper"] for one in rivals if one["editor"] == name and one["p_holm"] < ALPHA / 2]
        for name in editors
    }
    return {
        "margin": MARGIN,
        "editors": {
            name: _measure(scores[:, at], seconds[:, at], groups, clusters) | {"no_more_than": better[name]}
            for at, name in enumerate(editors)
        },
        "rivals": rivals,
        "kings": [name for name in editors if better[name]],
    }


def _measure(scores: Floats, seconds: Floats, groups: NDArray[Any], clusters: NDArray[Any]) -> Effort:
    timed = ~np.isnan(seconds)
    values = seconds[timed]
    return {
        "seconds": float(values.mean()) if len(values) else None,
        "seconds_interval": mean_interval(values, clusters[timed]) if len(values) else None,
        "timed": len(values),
        "score": float(np.mean([scores[groups == group].mean() for group in np.unique(groups)])),
        "no_more_than": [],
    }


def _compare(
    dear: int,
    cheap: int,
    scores: Floats,
    seconds: Floats,
    editors: Sequence[str],
    groups: NDArray[Any],
    clusters: NDArray[Any],
) -> Rival | None:
    """Compare two editors; None unless `cheap` takes less time by the interval. `p_holm` is not corrected yet."""
    saved = seconds[:, dear] - seconds[:, cheap]
    timed = ~np.isnan(saved)
    cheaper = timed.any() and saved[timed].mean() > 0
    span = mean_interval(saved[timed], clusters[timed]) if cheaper else None
    if span is None or span[0] <= 0:
        return None
    differences = scores[:, cheap] - scores[:, dear]
    plain = infer_mean(differences, clusters, groups, scale=(-REACH, REACH))
    shifted = infer_mean(differences + MARGIN, clusters, groups, scale=(-REACH, REACH))
    if plain is None or shifted is None:
        return None
    one_sided = shifted.p / 2 if shifted.mean > 0 else 1 - shifted.p / 2
    return {
        "editor": editors[dear],
        "cheaper": editors[cheap],
        "seconds": span,
        "difference": plain.mean,
        "interval": plain.interval,
        "p_holm": 1.0 if shifted.mean > 0 and shifted.reversible else one_sided,
    }
