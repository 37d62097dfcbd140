"""Intervals: worked examples, and how often they hold the truth on scores like a judge's."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS

from editlane.stats import intervals
from editlane.stats.intervals import cluster_contributions, macro_interval, mean_interval, rate_interval

LEVELS = (np.arange(20_000) + 0.5) / 20_000
QUANTILES = {
    "a third fails, the rest is spread": np.where(
        LEVELS < 0.35, 0, 10 * stats.beta.ppf((LEVELS - 0.35) / 0.65, 2, 1.5)
    ),
    "most fail, the rest are whole points": np.where(
        LEVELS < 0.6, 0, np.round(10 * stats.beta.ppf((LEVELS - 0.6) / 0.4, 4, 2))
    ),
    "most near the top, half points": np.round(2 * (10 - 10 * stats.beta.ppf(1 - LEVELS, 0.6, 3))) / 2,
    "most near the bottom, half points": np.round(2 * 10 * stats.beta.ppf(LEVELS, 0.5, 2.5)) / 2,
}
"""Score by quantile level: bounded 0..10, skewed, most of them tied."""
for _scores in QUANTILES.values():
    np.nan_to_num(_scores, copy=False)


def draw(scores: np.ndarray, items: int, per_photo: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores and photos: one item per photo, or two to three that correlate by 0.5."""
    photos = np.repeat(np.arange(items), rng.integers(2, 4, items) if per_photo > 1 else 1)[:items]
    level = stats.norm.cdf(
        np.sqrt(0.5) * rng.standard_normal(items)[photos] + np.sqrt(0.5) * rng.standard_normal(items)
    )
    return scores[(level * len(scores)).astype(int)], photos


@pytest.mark.parametrize("items", [25, 50, 270])
@pytest.mark.parametrize("per_photo", [1, 3])
def test_the_interval_holds_the_true_mean_in_95_of_100_cases(
    items: int, per_photo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng = np.random.default_rng(items + per_photo)
    held = []
    for scores in QUANTILES.values():
        for _ in range(200):
            found = mean_interval(*draw(scores, items, per_photo, rng))
            assert found is not None
            held.append(found[0] <= scores.mean() <= found[1])
    assert 0.93 <= np.mean(held) <= 0.97


def test_the_interval_of_the_macro_mean_holds_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 499)
    rng = np.random.default_rng(0)
    truth = np.mean([scores.mean() for scores in QUANTILES.values()])
    sizes = [10, 10, 20, 50]
    groups = np.repeat(np.arange(4), sizes)
    held = []
    for _ in range(600):
        drawn = [draw(scores, size, 1, rng)[0] for scores, size in zip(QUANTILES.values(), sizes, strict=True)]
        found = macro_interval(np.concatenate(drawn), np.arange(len(groups)), groups)
        assert found is not None
        held.append(found[0] <= truth <= found[1])
    assert 0.93 <= np.mean(held) <= 0.97


def test_contributions_carry_the_mean_and_its_cluster_robust_standard_error() -> None:
    rng = np.random.default_rng(0)
    scores, photos = draw(QUANTILES["most near the top, half points"], 40, 3, rng)
    found = cluster_contributions(scores, photos, np.zeros(40))
    assert found is not None
    numbers, freedom = found
    count = len(np.unique(photos))
    assert (len(numbers), freedom) == (count, count - 1)
    assert numbers.mean() == pytest.approx(scores.mean())
    robust = OLS(scores, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": photos, "use_correction": False}).bse[
        0
    ] * math.sqrt(count / (count - 1))
    assert numbers.std(ddof=0) / math.sqrt(count) == pytest.approx(robust)


def test_photos_that_share_their_items_widen_the_interval() -> None:
    """Each photo has three items with one score: as much is known as from one item per photo."""
    scores = np.array([0.0, 1, 2, 3, 5, 7, 8, 8, 9, 10])
    alone = mean_interval(scores, np.arange(10))
    together = mean_interval(np.repeat(scores, 3), np.repeat(np.arange(10), 3))
    as_if_independent = mean_interval(np.repeat(scores, 3), np.arange(30))
    assert together == pytest.approx(alone)
    assert alone is not None and as_if_independent is not None
    assert alone[1] - alone[0] > 1.6 * (as_if_independent[1] - as_if_independent[0])


def test_the_interval_above_many_clusters_is_the_limit_of_the_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, photos = draw(QUANTILES["most near the bottom, half points"], 2001, 1, np.random.default_rng(0))
    limit = mean_interval(scores, photos)
    monkeypatch.setattr(intervals, "MANY_CLUSTERS", 3000)
    monkeypatch.setattr(intervals, "RESAMPLES", 20_000)
    resampled = mean_interval(scores, photos)
    assert limit is not None and resampled is not None
    assert limit == pytest.approx(resampled, abs=0.03 * (limit[1] - limit[0]))


def test_the_macro_interval_lies_around_the_mean_of_the_means() -> None:
    scores = np.array([0.0, 0, 1, 1, 2, 2, 7, 8, 8, 9, 9, 10, 10, 10, 10])
    found = macro_interval(scores, np.arange(15), ["物理"] * 6 + ["社会"] * 9)
    assert found is not None
    assert found[0] < (1 + 9) / 2 < found[1]
    micro = mean_interval(scores, np.arange(15))
    assert micro is not None
    assert found[1] - found[0] < micro[1] - micro[0]


def test_an_interval_stays_within_what_was_seen() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scores = np.where(rng.random(20) < 0.9, 0.0, 10.0)
        found = mean_interval(scores, rng.integers(0, 8, 20))
        assert found is None or 0 <= found[0] < found[1] <= 10


def test_the_seed_and_not_the_order_of_the_rows_decides() -> None:
    scores, photos = draw(QUANTILES["most near the top, half points"], 50, 3, np.random.default_rng(0))
    found = mean_interval(scores, photos, seed=1)
    order = np.random.default_rng(3).permutation(50)
    assert mean_interval(scores, photos, seed=1) == found
    assert mean_interval(scores[order], photos[order], seed=1) == pytest.approx(found)
    assert mean_interval(scores, photos, seed=2) != found


@pytest.mark.parametrize(
    ("scores", "photos"),
    [
        ([], []),
        ([5.0], [0]),
        ([1.0, 2, 3, 4, 5], [0, 1, 2, 3, 4]),
        ([1.0, 2, 3, 4, 5, 6, 7], [0] * 7),
        ([7.3] * 50, range(50)),
        ([2.0, 8.0] * 10, np.repeat(range(10), 2)),
    ],
    ids=["empty", "one value", "five photos", "one photo", "all equal", "photos all alike"],
)
def test_no_interval_where_nothing_can_be_said(scores: list[float], photos: list[int]) -> None:
    assert mean_interval(scores, photos) is None


def test_no_macro_interval_where_one_group_has_too_few_photos() -> None:
    scores = np.arange(12.0)
    assert macro_interval(scores, np.arange(12), [0] * 7 + [1] * 5) is None
    assert macro_interval(scores, np.arange(12), [0] * 6 + [1] * 6) is not None
    assert macro_interval(scores, [*range(6), 6, 7, 8, 9, 10, 10], [0] * 6 + [1] * 6) is None


def test_a_score_that_is_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        mean_interval([1.0, float("nan")], [0, 1])


def test_arrays_of_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 values, 2 clusters"):
        mean_interval([1.0, 2.0, 3.0], [0, 1])


def test_a_rate_has_the_interval_of_wilson() -> None:
    """11 of 180, by the closed form of Wilson (1927)."""
    z, p, n = stats.norm.ppf(0.975), 11 / 180, 180
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert rate_interval(11, 180) == pytest.approx(((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)))
    assert rate_interval(0, 0) is None
    low, high = rate_interval(0, 10) or (math.nan, math.nan)
    assert low == 0
    assert high == pytest.approx(0.2775, abs=1e-4)
    assert rate_interval(10, 10) == pytest.approx((1 - high, 1))


@pytest.mark.parametrize(("photos", "groups"), [(6, 5), (6, 6), (8, 8), (10, 12)])
def test_photos_that_occur_in_every_group_leave_an_interval(photos: int, groups: int) -> None:
    """One photo under an instruction of each category: what is resampled are the photos, however many the groups."""
    rng = np.random.default_rng(photos * groups)
    clusters, group = np.tile(np.arange(photos), groups), np.repeat(np.arange(groups), photos)
    hits = 0
    for _ in range(200):
        photo, noise = rng.normal(0, 1.5, photos), rng.normal(0, 1, photos * groups)
        found = macro_interval(5 + photo[clusters] + noise, clusters, group)
        assert found is not None and np.isfinite(found).all()
        hits += found[0] <= 5 <= found[1]
    assert 0.88 < hits / 200 < 0.99
