"""Many means at once are those of one at a time."""

import numpy as np
import pytest

from editlane.stats.intervals import MANY_CLUSTERS, Interval, infer_mean
from editlane.stats.many_means import TOGETHER, Values, infer_means


def make_tables(photos: int, each: int) -> list[Values]:
    """Values of as many photos: spread, rare, all equal, and unevenly over the photos."""
    rng = np.random.default_rng(photos)
    clusters, count = np.repeat(np.arange(photos), each), photos * each
    return [
        (rng.random(count), clusters),
        ((rng.random(count) < 0.2).astype(float), clusters),
        (np.ones(count), clusters),
        (rng.random(count), rng.integers(0, photos, count)),
    ]


@pytest.mark.parametrize("scale", [None, (0.0, 1.0)])
@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.runs
def test_each_is_as_if_it_were_alone(scale: Interval | None, each: int) -> None:
    sizes = (1, 5, 7, 30, 1500, MANY_CLUSTERS + 1)
    tables = [table for photos in sizes for table in make_tables(photos, each)] + [([], [])]
    for table, found in zip(tables, infer_means(tables, scale), strict=True):
        alone = infer_mean(*table, scale=scale)
        assert (found is None) == (alone is None)
        if found is not None and alone is not None:
            assert (found.mean, found.error, found.reversible) == (alone.mean, alone.error, alone.reversible)
            assert found.p == pytest.approx(alone.p, abs=5e-4)  # rounding may part two equal samples
            assert found.interval == (None if alone.interval is None else pytest.approx(alone.interval, abs=1e-9))


def test_more_than_are_computed_together_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    tables = [(rng.random(8), np.arange(8)) for _ in range(TOGETHER + 3)]
    means = [found.mean if found else None for found in infer_means(tables)]
    assert means == pytest.approx([values.mean() for values, _ in tables])
