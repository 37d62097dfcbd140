"""Agreement of a judge with people: the published VIEScore figures, published alphas, scipy on small data, bad data."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evalica
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from editlane.ratings.tables import Rating, Score, align, make_rating_array
from editlane.stats.agreement import JudgeAgreement, measure_judge_agreement, measure_rater_agreement
from editlane.stats.resampled import draw_weights, fisher_mean, ordinal_alphas, spearman

VIESCORE = Path(__file__).parent / "viescore"

NAN = math.nan


def read_viescore(name: str) -> list[tuple[str, str, Any, Any]]:
    """The item, system, SC and PQ of each cell of a wide table: a row per image, a column per system."""
    with (VIESCORE / f"{name}.tsv").open(newline="") as file:
        records = list(csv.DictReader(file, delimiter="\t"))
    return [
        (record["uid"], system, *json.loads(cell))
        for record in records
        for system, cell in record.items()
        if system != "uid"
    ]


def viescore_ratings(combine: Callable[[float, float], float]) -> list[Rating]:
    raters = [f"rater{number}" for number in (1, 2, 3)]
    return [
        Rating(item, system, rater, combine(sc, pq))
        for rater in raters
        for item, system, sc, pq in read_viescore(rater)
    ]


def viescore_scores(judge: str, combine: Callable[[float, float], float]) -> list[Score]:
    """A released judge's answers; SC and PQ are the minimum of their parts."""
    return [
        Score(item, system, judge, combine(min(sc), min(pq)), item) for item, system, sc, pq in read_viescore(judge)
    ]


COMBINE: dict[str, Callable[[float, float], float]] = {
    "SC": lambda sc, pq: sc,
    "PQ": lambda sc, pq: pq,
    "O": lambda sc, pq: math.sqrt(sc * pq),
}


def viescore(measure: str, judge: str = "gpt4o", resamples: int = 200) -> JudgeAgreement:
    found = align(viescore_ratings(COMBINE[measure]), viescore_scores(judge, COMBINE[measure]), judge)
    return measure_judge_agreement(found.ratings, found.scores, found.sources, found.systems, resamples=resamples)


@pytest.mark.parametrize(
    ("measure", "correct", "published", "leave_one_out"),
    [("SC", 0.4544, 0.4062, 0.642), ("PQ", 0.5437, 0.4864, 0.6253), ("O", 0.4186, 0.3821, 0.6511)],
)
def test_viescore_correlations_are_reproduced(
    measure: str, correct: float, published: float, leave_one_out: float
) -> None:
    found = viescore(measure)
    assert (found["items"], found["cells"], len(found["spearman"]["averaged"])) == (179, 1432, 8)
    assert found["spearman"]["mean"]["value"] == pytest.approx(correct, abs=5e-5)
    assert found["spearman"]["tanh_of_mean"]["value"] == pytest.approx(published, abs=5e-5)
    assert found["leave_one_out"]["human"]["value"] == pytest.approx(leave_one_out, abs=5e-4), "within systems"
    for estimate in (found["spearman"]["mean"], *found["spearman"]["systems"].values()):
        assert estimate["interval"] is not None
        assert estimate["interval"][0] < estimate["value"] < estimate["interval"][1]


@pytest.mark.parametrize(("measure", "alpha"), [("SC", 0.716), ("PQ", 0.657), ("O", 0.701)])
def test_viescore_alphas_are_reproduced(measure: str, alpha: float) -> None:
    rows = viescore_ratings(COMBINE[measure])
    axes = [sorted({str(row[place]) for row in rows}) for place in range(3)]
    found = measure_rater_agreement(make_rating_array(rows, *axes), np.array(axes[0]), resamples=200)
    assert found["value"] == pytest.approx(alpha, abs=5e-4)
    assert found["interval"] is not None
    assert alpha - 0.06 < found["interval"][0] < alpha < found["interval"][1] < alpha + 0.06


def test_viescore_systems_and_pairs_are_reproduced() -> None:
    found = viescore("O")
    assert found["system_level"]["spearman"]["value"] == pytest.approx(0.929, abs=5e-4)
    assert found["system_level"]["kendall"]["value"] == pytest.approx(0.857, abs=5e-4)
    pairs = found["pairwise"]
    parts = [pairs[name] for name in ("concordant", "discordant", "tied_by_raters", "tied_by_judge", "tied_by_both")]
    assert sum(parts) == pairs["pairs"] == 179 * 28
    assert pairs["always_tied"]["value"] == pytest.approx(0.56, abs=0.005)  # peers: humans tie in 56 %, GPT-4o in 27 %
    assert (parts[3] + parts[4]) / pairs["pairs"] == pytest.approx(0.27, abs=0.005)
    assert pairs["accuracy"]["value"] == pytest.approx((parts[0] + parts[4]) / pairs["pairs"])
    assert pairs["calibrated"]["value"] > pairs["accuracy"]["value"]


def test_a_judge_that_left_edits_out_is_compared_on_the_rest() -> None:
    assert viescore("O", "gemini", resamples=20)["cells"] == len(viescore_scores("gemini", COMBINE["O"]))


def some_data(seed: int = 0, items: int = 30, systems: int = 4, raters: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Ratings 0..4 with ties and gaps, and scores of a judge that sees part of the same quality."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=(items, systems)) + np.linspace(0, 1, systems)
    ratings = np.clip(np.round(quality[:, :, None] + rng.normal(size=(items, systems, raters)) + 1.5), 0, 4)
    ratings[rng.random(ratings.shape) < 0.1] = NAN
    scores = np.round(quality + rng.normal(size=quality.shape), 1)
    scores[rng.random(scores.shape) < 0.1] = NAN
    return ratings, scores


NAMES = ["a", "b", "c", "d"]


def test_resampled_spearman_is_that_of_scipy_on_the_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, 40).astype(float), rng.integers(0, 9, 40).astype(float)
    x[3], y[7] = NAN, NAN
    weights = draw_weights(np.arange(40) // 2, 20, seed=3)
    for row, rho in zip(weights, spearman(x, y, weights), strict=True):
        drawn = np.repeat(np.arange(40), row.astype(int))
        kept = drawn[~np.isnan(x[drawn]) & ~np.isnan(y[drawn])]
        assert rho == pytest.approx(stats.spearmanr(x[kept], y[kept]).statistic, abs=1e-12)


def test_resampled_alpha_is_that_of_the_package_on_the_repeated_units() -> None:
    ratings, _ = some_data()
    units = ratings.reshape(-1, 3)
    items = np.repeat(np.arange(30), 4)
    paired = (~np.isnan(units)).sum(axis=1) >= 2
    units, items = units[paired], items[paired]
    weights = draw_weights(np.arange(30), 20, seed=5)
    for row, alpha in zip(weights, ordinal_alphas(units, items, weights), strict=True):
        drawn = np.repeat(units, row[items].astype(int), axis=0)
        assert alpha == pytest.approx(evalica.alpha(pd.DataFrame(drawn.T), distance="ordinal").alpha, abs=1e-12)


KRIPPENDORFF_2011 = """
1 2 3 3 2 1 4 1 2 . . .
1 2 3 3 2 2 4 1 2 5 . 3
. 3 3 3 2 3 4 2 2 5 1 .
1 2 3 3 2 4 4 1 2 5 1 .
"""
"""The example of "Computing Krippendorff's Alpha-Reliability": four observers, twelve units."""


def test_the_published_alphas_of_four_observers_are_reproduced() -> None:
    observers = np.array(
        [[float(cell.replace(".", "nan")) for cell in row.split()] for row in KRIPPENDORFF_2011.split("\n")[1:-1]]
    )
    found = measure_rater_agreement(observers.T[:, None, :], np.arange(12), resamples=10)
    assert found["value"] == pytest.approx(0.815, abs=5e-4)
    for distance, alpha in (("nominal", 0.743), ("interval", 0.849)):
        assert evalica.alpha(pd.DataFrame(observers), distance).alpha == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize(
    ("raters", "alpha"), [(2, 0.4870871665400559), (3, 0.4558822026317517), (4, 0.4409224051794447)]
)
def test_alpha_stays_what_the_package_krippendorff_gave(raters: int, alpha: float) -> None:
    """Values of krippendorff 0.9.0, which has another licence."""
    ratings, _ = some_data(seed=raters - 2, raters=raters)
    assert measure_rater_agreement(ratings, np.arange(30), resamples=5)["value"] == pytest.approx(alpha, abs=1e-12)


def test_items_with_one_photo_are_drawn_together() -> None:
    clusters = np.array(["x", "y", "x", "z", "u", "v", "w", "z"])
    weights = draw_weights(clusters, 500, seed=0)
    assert (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 3] == weights[:, 7]).all()
    assert weights[1:, 1].mean() == pytest.approx(1, abs=0.1)
    ratings, scores = some_data(items=40)
    alone = measure_judge_agreement(ratings, scores, np.arange(40), NAMES, resamples=500)
    doubled = measure_judge_agreement(
        np.repeat(ratings, 4, axis=0), np.repeat(scores, 4, axis=0), np.repeat(np.arange(40), 4), NAMES, resamples=500
    )
    once, four_times = (found["pairwise"]["accuracy"]["interval"] for found in (alone, doubled))
    assert four_times == pytest.approx(once, abs=0.01)  # copies of an item add no information


def test_the_interval_covers_the_true_accuracy() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(200):
        ratings = rng.integers(0, 5, (40, 2, 1)).astype(float)
        scores = rng.integers(0, 5, (40, 2)).astype(float)  # a judge that guesses: concordant + tied by both is 0.36
        found = measure_judge_agreement(ratings, scores, np.arange(40), ["a", "b"], resamples=200, seed=seed)
        interval = found["pairwise"]["accuracy"]["interval"]
        assert interval is not None
        hits += interval[0] <= 0.36 <= interval[1]
    assert 178 <= hits <= 198


def test_averages_and_pairs_by_hand() -> None:
    ratings, scores = some_data()
    ratings[np.isnan(ratings)] = 2.0
    people = ratings.mean(axis=2).round(9)
    found = measure_judge_agreement(ratings, scores, np.arange(30), NAMES, resamples=10)
    there = ~np.isnan(scores)
    rhos = [stats.spearmanr(scores[there[:, s], s], people[there[:, s], s]).statistic for s in range(4)]
    assert [found["spearman"]["systems"][name]["value"] for name in NAMES] == pytest.approx(rhos)
    assert found["spearman"]["mean"]["value"] == pytest.approx(np.tanh(np.mean(np.arctanh(rhos))))
    assert found["spearman"]["tanh_of_mean"]["value"] == pytest.approx(np.tanh(np.mean(rhos)))

    def pool(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
        """Correlate the ranks of all pairs, each centred and divided by its number of items, as one sample."""
        ranks = [[(stats.rankdata(one) - stats.rankdata(one).mean()) / len(one) for one in pair] for pair in pairs]
        x, y = (np.concatenate([pair[side] for pair in ranks]) for side in (0, 1))
        return float((x @ y) / np.sqrt((x @ x) * (y @ y)))

    mine = [(people[there[:, s], s], scores[there[:, s], s]) for s in range(4)]
    assert found["spearman"]["pooled"]["value"] == pytest.approx(pool(mine))
    human, judge = (
        pool(
            [
                (values[there[:, s]], np.delete(ratings[there[:, s], s], r, axis=1).mean(axis=1).round(9))
                for s in range(4)
                for r in range(3)
                for values in [ratings[:, s, r] if human else scores[:, s]]
            ]
        )
        for human in (True, False)
    )
    assert found["leave_one_out"]["pooled"] == 12
    assert found["leave_one_out"]["human"]["value"] == pytest.approx(human)
    assert found["leave_one_out"]["judge"]["value"] == pytest.approx(judge)
    assert found["leave_one_out"]["difference"]["value"] == pytest.approx(judge - human)

    counts = dict.fromkeys(((h, j) for h in (-1, 0, 1) for j in (-1, 0, 1)), 0)
    differences = []
    for i in range(30):
        for a in range(4):
            for b in range(a + 1, 4):
                if there[i, a] and there[i, b]:
                    h, j = people[i, a] - people[i, b], round(scores[i, a] - scores[i, b], 9)
                    counts[np.sign(h), np.sign(j)] += 1
                    differences.append((h, j))
    pairs = found["pairwise"]
    assert pairs["concordant"] == counts[1, 1] + counts[-1, -1]
    assert pairs["discordant"] == counts[1, -1] + counts[-1, 1]
    assert pairs["tied_by_raters"] == counts[0, 1] + counts[0, -1]
    assert pairs["tied_by_judge"] == counts[1, 0] + counts[-1, 0]
    assert pairs["tied_by_both"] == counts[0, 0]
    best = max(
        (sum(np.sign(h) == (0 if abs(j) <= limit else np.sign(j)) for h, j in differences), -limit)
        for limit in {0.0, *(abs(j) for _, j in differences)}
    )
    assert pairs["calibrated"]["value"] == pytest.approx(best[0] / len(differences))
    assert pairs["threshold"] == pytest.approx(-best[1])


def test_the_order_of_rows_does_not_matter() -> None:
    ratings, scores = some_data()
    rows = [Rating(f"i{i}", NAMES[s], f"r{r}", v) for (i, s, r), v in np.ndenumerate(ratings)]
    table = [Score(f"i{i}", NAMES[s], "j", v, f"photo{i // 2}") for (i, s), v in np.ndenumerate(scores)]
    straight, turned = align(rows, table, "j"), align(rows[::-1], table[::-1], "j")
    found = [
        measure_judge_agreement(a.ratings, a.scores, a.sources, a.systems, resamples=50) for a in (straight, turned)
    ]
    assert json.dumps(found[0]) == json.dumps(found[1])
    assert found[0]["clusters"] == 15


def undefined(found: Any) -> list[str]:
    """The reasons given in place of values; fails if an undefined estimate has a number all the same."""
    if isinstance(found, dict) and set(found) == {"value", "interval", "why"}:
        if found["value"] is None:
            assert found["interval"] is None and found["why"]
            return [found["why"]]
        assert math.isfinite(found["value"]) and (found["interval"] is not None or found["why"])
        return []
    return [why for part in found.values() for why in undefined(part)] if isinstance(found, dict) else []


def test_constant_ratings_give_no_value() -> None:
    ratings, scores = some_data()
    constant = np.where(np.isnan(ratings), NAN, 3.0)
    assert measure_rater_agreement(constant, np.arange(30)) == {
        "value": None,
        "interval": None,
        "why": "all ratings are equal",
    }
    found = measure_judge_agreement(constant, scores, np.arange(30), NAMES, resamples=20)
    assert undefined(found["spearman"]) == ["all mean ratings are equal"] * 4 + [
        "no system has a correlation that can be averaged",
        "no system has a correlation",
    ] + ["no system has a correlation that can be averaged"]
    assert undefined(found["system_level"]) == ["all systems have the same mean"] * 2
    assert undefined(found["pairwise"]) == ["every pair is tied by one side"]
    assert found["pairwise"]["always_tied"]["value"] == 1


def rate(items: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three raters who give 0, 0.5 or 1 to the edits of six systems, and a judge."""
    level = 0.7 * rng.normal(size=(items, 1, 1)) + 0.7 * rng.normal(size=(items, 6, 1))
    level = level + np.linspace(-1.8, 1.8, 6)[:, None]
    rated = level + rng.normal(size=(items, 6, 3))
    return np.select([rated < -1, rated < 1], [0.0, 0.5], 1.0), level[..., 0] + rng.normal(size=(items, 6))


@pytest.mark.parametrize("items", [30, pytest.param(60, marks=pytest.mark.runs)])
def test_the_ceiling_of_few_items_is_that_of_many(items: int) -> None:
    """The average by arctanh, which drops perfect and undefined correlations, was .662 of 30 and .545 of 179 items."""
    rng = np.random.default_rng(items)
    truth = measure_judge_agreement(*rate(4000, rng), np.arange(4000), list("abcdef"), resamples=2)["leave_one_out"]
    found, held = [], []
    for seed in range(60):
        ratings, scores = rate(items, rng)
        one = measure_judge_agreement(ratings, scores, np.arange(items), list("abcdef"), resamples=199, seed=seed)
        found.append([one["leave_one_out"][name]["value"] for name in ("human", "judge")])
        low, high = one["leave_one_out"]["human"]["interval"]
        held.append(low <= truth["human"]["value"] <= high)
    assert np.mean(found, axis=0) == pytest.approx([truth[name]["value"] for name in ("human", "judge")], abs=0.03)
    assert np.mean(held) >= 0.88


def test_one_constant_system_is_left_out_of_the_average_by_name() -> None:
    ratings, scores = some_data()
    scores[:, 1] = 5.0
    found = measure_judge_agreement(ratings, scores, np.arange(30), NAMES, resamples=20)["spearman"]
    assert found["systems"]["b"]["why"] == "all scores are equal"
    assert found["averaged"] == ["a", "c", "d"]


def test_one_rater_has_no_agreement_but_the_judge_has() -> None:
    ratings, scores = some_data(raters=1)
    assert measure_rater_agreement(ratings, np.arange(30))["why"] == "fewer than two raters"
    found = measure_judge_agreement(ratings, scores, np.arange(30), NAMES, resamples=20)
    assert found["spearman"]["mean"]["value"] is not None
    assert found["leave_one_out"]["pooled"] == 0
    assert len(undefined(found["leave_one_out"])) == 3


def test_two_items_are_too_few_for_anything() -> None:
    ratings, scores = np.array([[[1.0, 2], [3, 3], [4, 2]], [[2, 2], [1, 3], [4, 4]]]), np.ones((2, 3))
    assert measure_rater_agreement(ratings, np.arange(2))["why"] == "fewer than 3 items were rated by two raters"
    found = measure_judge_agreement(ratings, scores, np.arange(2), NAMES[:3])
    assert len(undefined(found)) == 6 + 3 + 2 + 4
    assert found["pairwise"]["pairs"] == 6 and found["pairwise"]["threshold"] is None


def test_few_photos_or_a_perfect_judge_give_no_interval() -> None:
    ratings, scores = some_data()
    found = measure_judge_agreement(ratings, scores, np.arange(30) % 5, NAMES, resamples=20)
    assert found["spearman"]["mean"]["value"] is not None
    assert found["spearman"]["mean"]["why"] == "no interval: fewer than 6 source images"
    people = ratings[:, :, 0]
    found = measure_judge_agreement(ratings[:, :, :1], people * 2, np.arange(30), NAMES, resamples=200)
    assert found["spearman"]["systems"]["a"]["value"] == pytest.approx(1)
    assert found["spearman"]["systems"]["a"]["why"] == "no interval: every resample gives the same value"
    assert found["spearman"]["averaged"] == [] and found["spearman"]["mean"]["value"] is None


def test_two_systems_have_no_ranking() -> None:
    ratings, scores = some_data(systems=2)
    found = measure_judge_agreement(ratings, scores, np.arange(30), NAMES[:2], resamples=20)["system_level"]
    assert undefined(found) == ["fewer than 3 systems are both rated and scored"] * 2
    assert set(found["scores"]) == {"a", "b"}


def test_a_correlation_of_one_does_not_drown_the_others() -> None:
    assert fisher_mean(np.array([1.0, 0.5, 0.5, NAN])) == pytest.approx(0.5)
    assert np.isnan(fisher_mean(np.array([1.0, NAN])))


def test_equal_means_are_ties_in_whatever_order_they_were_summed() -> None:
    ratings = np.array([[[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]]] * 3)
    found = measure_judge_agreement(ratings, np.zeros((3, 2)), np.arange(3), ["a", "b"], resamples=5)
    assert found["pairwise"]["tied_by_both"] == 3
