"""Infer many means at once, such as those of all pairs of editors, as `infer_mean` does each.

Bootstrap samples depend only on the number of source images, so values of equally many share them. That is what makes a
report about twenty editors fast.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from editlane.stats.intervals import (
    BATCH_CELLS,
    FEWEST_CLUSTERS,
    RESAMPLES,
    SMALLEST_ERROR,
    Floats,
    Inference,
    Interval,
    Sample,
    conclude,
)

Values = tuple[npt.ArrayLike, npt.ArrayLike]
"""Values (n,) and their clusters (n,)."""

TOGETHER = 200
"""Samples that are computed together; more need more memory, and are no faster."""


def infer_means(tables: Sequence[Values], scale: Interval | None = None, seed: int = 0) -> list[Inference | None]:
    """Infer the mean of each table's values. Figures are those of `infer_mean` but for rounding, without pivots."""
    samples = [Sample.of(np.asarray(values, dtype=np.float64), clusters, None) for values, clusters in tables]
    kept = {at: one for at, one in enumerate(samples) if one and one.effective.min() >= FEWEST_CLUSTERS}
    by_size: dict[int, list[int]] = {}
    for at, one in kept.items():
        if one.is_drawn(one.measure()[1]):
            by_size.setdefault(len(one.strata), []).append(at)
    found = dict[int, Inference]()
    for alike in by_size.values():
        for start in range(0, len(alike), TOGETHER):
            part = alike[start : start + TOGETHER]
            for at, pivots in zip(part, _studentise([kept[at] for at in part], seed), strict=True):
                found[at] = _drop_pivots(conclude(kept[at], pivots, scale))
    for at in kept.keys() - found.keys():
        found[at] = conclude(kept[at], np.empty(0), scale)
    return [found.get(at) for at in range(len(samples))]


def find_intervals(tables: Sequence[Values], scale: Interval, seed: int = 0) -> list[Interval | None]:
    """Return the interval of the mean of each table's values, as `mean_interval` does."""
    return [found.interval if found else None for found in infer_means(tables, scale, seed)]


def _drop_pivots(found: Inference) -> Inference:
    return replace(found, pivots=np.empty(0))


def _studentise(samples: Sequence[Sample], seed: int) -> Floats:
    """Return the sorted pivots (samples, RESAMPLES) of samples of one group and of equally many clusters.

    The error of a sample of weights w is the root of the sum of w (d - e c)^2, where d is a cluster's deviation from
    the mean, c its values, and e the drawn mean's own deviation. Multiplied out, it needs products of w alone.
    """
    counts = np.column_stack([one.counts[:, 0] for one in samples])
    measured = np.array([one.measure() for one in samples])
    deviations = np.column_stack([one.sums[:, 0] for one in samples]) - measured[:, 0] * counts
    size, single = len(counts), bool((counts == 1).all())
    parts = [deviations, deviations**2] + ([] if single else [counts, counts**2, deviations * counts])
    columns, floor = np.concatenate(parts, axis=1), SMALLEST_ERROR * measured[:, 1]
    rng, left, batch = np.random.default_rng(seed), RESAMPLES, max(1, BATCH_CELLS // size)
    pivots = []
    while left > 0:
        products = samples[0].draw(min(batch, left), rng) @ columns
        rng.choice([-1, 1], len(products))  # `infer_mean` draws them in each batch; then both draw the same samples
        left -= batch
        d, dd, *rest = np.split(products, len(parts), axis=1)
        c, cc, dc = rest if rest else (np.float64(size), np.float64(size), d)
        shift = d / c
        spread = np.maximum(dd - 2 * shift * dc + shift**2 * cc, 0)
        errors = np.sqrt(size / (size - 1) * spread) / c
        pivots.append(shift / np.maximum(errors, floor))
    return np.sort(np.concatenate(pivots).T, axis=1)
