"""Agreement between judges: worked examples of others, and what must hold for copies and for independent judges."""

import evalica
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from editlane.stats.jackknife import MOST_GROUPS
from editlane.stats.panel import count_effective, interval_alpha, measure_agreement

NAN = np.nan

KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T
"""Example C of Computing Krippendorff's Alpha-Reliability (2011): units, observers."""


def judged(seed: int, edits: int = 200, judges: int = 3, error: float = 1.0, shared: float = 0.0) -> np.ndarray:
    """Scores of judges that see the same quality; `shared` is the share of their errors' variance that is common."""
    rng = np.random.default_rng(seed)
    own = np.sqrt(1 - shared) * rng.normal(size=(edits, judges)) + np.sqrt(shared) * rng.normal(size=(edits, 1))
    return 5 + rng.normal(size=(edits, 1)) + error * own


def test_alpha_is_that_of_the_published_example() -> None:
    found = interval_alpha(KRIPPENDORFF, np.arange(12))
    assert found["value"] == pytest.approx(0.849, abs=0.0005)
    low, high = found["interval"] or (0, 0)
    assert low < 0.849 < high


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_evalica_with_missing_scores(seed: int) -> None:
    scores = judged(seed, 30)
    scores[np.random.default_rng(seed).random(scores.shape) < 0.2] = NAN
    expected = evalica.alpha(pd.DataFrame(scores.T), distance="interval").alpha
    assert interval_alpha(scores, np.arange(30))["value"] == pytest.approx(expected)


def test_a_shift_and_a_larger_scale_leave_alpha_as_it_is() -> None:
    scores = judged(1, 60)
    values = [interval_alpha(one, np.arange(60))["value"] for one in (scores, 1000 + 3 * scores)]
    assert values[0] == pytest.approx(values[1])


def test_two_edits_of_one_photo_are_not_independent() -> None:
    """The same edits twice say no more than once, but they would if they were taken for independent."""
    scores, photos = judged(2, 60), np.arange(60)
    twice = np.repeat(scores, 2, axis=0)
    widths = [
        np.ptp(interval_alpha(rows, clusters)["interval"] or (0, 0))
        for rows, clusters in ((scores, photos), (twice, np.repeat(photos, 2)), (twice, np.arange(120)))
    ]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[2] < 0.8 * widths[1]


def test_correlations_are_those_of_scipy_over_the_edits_that_both_scored() -> None:
    scores = judged(3, 50)
    scores[:10, 1] = NAN
    found = measure_agreement(scores, np.arange(50), ["a", "b", "c"])
    assert [(one["a"], one["b"], one["n"]) for one in found["correlations"]] == [
        ("a", "b", 40), ("a", "c", 50), ("b", "c", 40),
    ]  # fmt: skip
    for one, (a, b) in zip(found["correlations"], ((0, 1), (0, 2), (1, 2)), strict=True):
        rho = stats.spearmanr(scores[:, a], scores[:, b], nan_policy="omit").statistic
        assert one["spearman"]["value"] == pytest.approx(rho)
        low, high = one["spearman"]["interval"] or (1, -1)
        assert low < rho < high
    pearson = pd.DataFrame(scores).corr().to_numpy()[np.triu_indices(3, 1)].mean()
    assert found["mean_correlation"]["value"] == pytest.approx(pearson)


def test_copies_of_one_judge_are_one_judge() -> None:
    scores = np.repeat(judged(4, 80, 1), 3, axis=1)
    found = measure_agreement(scores, np.arange(80), ["a", "b", "c"])
    assert found["effective_judges"]["value"] == 1.0
    assert found["alpha"]["value"] == pytest.approx(1.0)
    assert "at an end of its scale, or always the same" in (found["alpha"]["why"] or "")


def test_judges_that_see_nothing_are_as_many_as_there_are() -> None:
    scores = np.random.default_rng(5).normal(size=(400, 3))
    found = measure_agreement(scores, np.arange(400), ["a", "b", "c"])["effective_judges"]
    low, high = found["interval"] or (0, 0)
    assert 2.6 < low < 3 and high == 3.0


def test_the_effective_number_is_at_most_that_of_independent_errors() -> None:
    """The correlation of scores holds what the judges rightly agree about, so it is larger than that of the errors."""
    scores = judged(6, 2000, shared=0.2)
    found = measure_agreement(scores, np.arange(2000), ["a", "b", "c"])["effective_judges"]["value"]
    assert found is not None and found < 3 / (1 + 2 * 0.2)


def test_judges_that_contradict_each_other_are_no_more_than_there_are() -> None:
    assert count_effective({"value": -0.9, "interval": (-0.95, -0.8), "why": None}, 2)["value"] == 2.0


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        (np.full((10, 2), 5.0), "all scores are equal"),
        (np.array([[1.0, NAN]] * 10), "fewer than 3 edits were scored by two judges"),
    ],
)
def test_what_is_undefined_has_a_reason(scores: np.ndarray, why: str) -> None:
    found = measure_agreement(scores, np.arange(len(scores)), ["a", "b"])
    assert (found["alpha"]["value"], found["alpha"]["why"]) == (None, why)
    assert found["effective_judges"]["value"] is None and found["correlations"][0]["spearman"]["value"] is None


def test_few_photos_have_no_interval() -> None:
    found = measure_agreement(judged(7, 5), np.arange(5), ["a", "b", "c"])
    assert found["alpha"]["value"] is not None and found["alpha"]["interval"] is None
    assert found["alpha"]["why"] == "no interval: fewer than 6 source images"


def test_many_photos_are_left_out_in_groups() -> None:
    scores = judged(8, 3 * MOST_GROUPS)
    found = interval_alpha(scores, np.arange(len(scores)))["interval"] or (0, 0)
    alone = np.array([interval_alpha(judged(seed, 3 * MOST_GROUPS), np.arange(600))["value"] for seed in range(60)])
    assert np.ptp(found) == pytest.approx(2 * 1.97 * alone.std(ddof=1), rel=0.35)


@pytest.mark.runs
@pytest.mark.parametrize("photos", [12, 60])
def test_intervals_of_alpha_hold_the_truth_in_about_95_of_100_samples(photos: int) -> None:
    truth = interval_alpha(judged(0, 100_000), np.arange(100_000))["value"]
    found = [interval_alpha(judged(1 + seed, photos), np.arange(photos))["interval"] or (0, 0) for seed in range(600)]
    held = np.mean([low <= truth <= high for low, high in found])
    assert 0.92 < held < 0.98


@pytest.mark.runs
def test_three_independent_judges_count_for_more_than_three_copies() -> None:
    shown = {
        shared: [
            measure_agreement(judged(seed, 120, shared=shared), np.arange(120), ["a", "b", "c"])["effective_judges"]
            for seed in range(50)
        ]
        for shared in (0.0, 1.0)
    }
    assert {one["value"] for one in shown[1.0]} == {1.0}
    assert all(low > 1.2 for low, _ in (one["interval"] or (0, 0) for one in shown[0.0]))
