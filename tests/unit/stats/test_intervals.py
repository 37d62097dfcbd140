"""Intervals: worked examples, and how often they hold the truth on scores like a judge's."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS

from editlane.stats import intervals
from editlane.stats.intervals import infer_mean, macro_interval, mean_interval, rate_interval

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


@pytest.mark.parametrize("items", [25, 50, pytest.param(270, marks=pytest.mark.runs)])
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
    assert 0.93 <= np.mean(held) <= 0.975


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


def test_the_error_is_the_cluster_robust_one() -> None:
    scores, photos = draw(QUANTILES["most near the top, half points"], 40, 3, np.random.default_rng(0))
    found = infer_mean(scores, photos)
    assert found is not None
    count = len(np.unique(photos))
    fitted = OLS(scores, np.ones(40)).fit(cov_type="cluster", cov_kwds={"groups": photos, "use_correction": False})
    assert found.mean == pytest.approx(scores.mean())
    assert found.error == pytest.approx(fitted.bse[0] * math.sqrt(count / (count - 1)))


def test_the_error_of_a_macro_mean_is_that_of_the_groups_means() -> None:
    scores, groups = np.random.default_rng(0).normal(size=60), np.repeat([0, 1, 2], [10, 20, 30])
    found = infer_mean(scores, np.arange(60), groups)
    assert found is not None
    of_groups = [stats.sem(scores[groups == group]) for group in range(3)]
    assert found.error == pytest.approx(np.sqrt(np.square(of_groups).sum()) / 3)


SKEWED = {"exponential": lambda rng, n: rng.exponential(size=n) - 1, "normal": lambda rng, n: rng.normal(size=n)}


@pytest.mark.parametrize("name", SKEWED)
@pytest.mark.parametrize("items", [8, 12, 20])
def test_a_true_zero_is_rejected_in_5_of_100_samples_also_of_skewed_values(
    name: str, items: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sign-flip test that was here before rejects the exponential one in 9.7, 9.2 and 7.0 of 100."""
    monkeypatch.setattr(intervals, "RESAMPLES", 399)
    rng = np.random.default_rng(items)
    found = [infer_mean(SKEWED[name](rng, items), np.arange(items), seed=case) for case in range(1000)]
    assert all(one is not None and one.interval is not None for one in found)
    assert 0.035 <= np.mean([one.p < 0.05 for one in found if one]) <= 0.07


def test_interval_and_p_say_the_same() -> None:
    rng = np.random.default_rng(0)
    for case in range(300):
        values = rng.exponential(size=8) - 0.5
        plain, scaled = (infer_mean(values, np.arange(8), scale=scale, seed=case) for scale in (None, (-10, 10)))
        assert plain and scaled and plain.interval and scaled.interval
        assert (plain.p < 0.05) == (not plain.interval[0] <= 0 <= plain.interval[1])
        assert (scaled.p < 0.05 and not scaled.reversible) == (not scaled.interval[0] <= 0 <= scaled.interval[1])


def test_a_rare_large_value_that_no_sample_of_12_shows_is_reckoned_with() -> None:
    """-0.1 in 19 of 20 images and 1.9 in one: the mean is 0, and more than half of the samples lack the large one."""
    rng, certain = np.random.default_rng(0), 0
    for case in range(200):
        values = np.where(rng.random(12) < 0.05, 1.9, -0.1) + rng.normal(0, 0.02, 12)
        found = infer_mean(values, np.arange(12), scale=(-10, 10), seed=case)
        assert found and found.interval and found.interval[0] <= 0 <= found.interval[1]
        certain += found.p < 0.05
        assert found.reversible
    assert certain > 60, "else the scale is not what saves it"


def test_unseen_images_widen_an_interval_by_the_rule_of_three() -> None:
    """Ten times 8, and three images unseen with 0 or 10: 80 / 13 and 110 / 13."""
    found = infer_mean(np.full(10, 8.0), np.arange(10), scale=(0, 10))
    assert found and found.interval == pytest.approx((80 / 13, 110 / 13))
    wide = infer_mean(np.tile([3.0, 7.0], 200), np.arange(400), scale=(0, 10))
    assert wide and wide.interval
    assert wide.interval == infer_mean(np.tile([3.0, 7.0], 200), np.arange(400)).interval  # type: ignore[union-attr]
    one_of_two = infer_mean(np.full(20, 8.0), np.arange(20), np.repeat([0, 1], 10), scale=(0, 10))
    assert one_of_two and one_of_two.interval == pytest.approx(((80 / 13 + 8) / 2, (110 / 13 + 8) / 2))


def test_an_image_that_dominates_leaves_nothing_to_say() -> None:
    """One photo with 30 items beside 20 single ones are 2.7 effective photos; intervals covered 40 % there."""
    rng = np.random.default_rng(0)
    assert mean_interval(rng.normal(size=50), [0] * 30 + list(range(1, 21))) is None
    assert mean_interval(rng.normal(size=50), [0] * 10 + list(range(1, 41))) is not None


@pytest.mark.parametrize(("share", "sizes"), [(0.1, (8, 50, 200)), (0.9, (8, 50, 200)), (0.5, (12, 12, 200))])
def test_all_or_nothing_scores_in_categories_of_unequal_sizes(
    share: float, sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The macro interval covered 85 % at a share of 0.1."""
    monkeypatch.setattr(intervals, "RESAMPLES", 399)
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    held = []
    for case in range(200):
        found = macro_interval(10.0 * (rng.random(len(groups)) < share), np.arange(len(groups)), groups, (0, 10), case)
        assert found
        held.append(found[0] <= 10 * share <= found[1])
    assert np.mean(held) >= 0.94


def test_an_image_that_alone_is_in_two_categories_is_drawn_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has 8 of the 38 items of both. If it were drawn from itself alone, it would never vary."""
    monkeypatch.setattr(intervals, "RESAMPLES", 399)
    rng, held = np.random.default_rng(0), []
    clusters = [*range(30), *[60] * 8, *range(30, 60), *[60] * 8]
    groups = np.repeat([0, 1], 38)
    for case in range(300):
        found = macro_interval(rng.normal(size=61)[clusters], clusters, groups, seed=case)
        assert found
        held.append(found[0] <= 0 <= found[1])
    assert 0.91 <= np.mean(held) <= 0.99


def test_images_in_several_categories_are_drawn_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 399)
    rng, held = np.random.default_rng(0), []
    clusters, groups = np.tile(np.arange(30), 3), np.repeat(np.arange(3), 30)
    for case in range(200):
        values = np.tile(rng.normal(size=30), 3) + 0.3 * rng.normal(size=90)
        found = macro_interval(values, clusters, groups, seed=case)
        assert found
        held.append(found[0] <= 0 <= found[1])
    assert 0.9 <= np.mean(held) <= 0.99


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
