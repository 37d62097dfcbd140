"""Judges and panels against people: a panel's gain on other photos, and weights that are worth it."""

import numpy as np
import pytest
from scipy import stats

from editlane.stats.held_out import FOLDS, assign_folds, rank_correlation
from editlane.stats.panel_people import compare_with_people
from editlane.stats.panel_weights import cross_validate, fit_weights

JUDGES = ["a", "b", "c"]


def judged(seed: int, errors: list[float], shared: float = 0.0, photos: int = 60):
    """Labels, scores, photos and editors of two edits by each of two editors of each photo."""
    rng = np.random.default_rng(seed)
    quality = np.repeat(rng.normal(0, 0.6, photos), 4) + rng.normal(0, 0.8, 4 * photos)
    own = np.sqrt(1 - shared) * rng.normal(size=(4 * photos, len(errors)))
    common = np.sqrt(shared) * rng.normal(size=(4 * photos, 1))
    scores = quality[:, None] + np.array(errors) * (own + common)
    labels = quality + rng.normal(0, 0.3, 4 * photos)
    return labels, scores, np.repeat(np.arange(photos), 4), np.tile(["x", "y"], 2 * photos)


def compare(labels, scores, photos, editors):
    return compare_with_people(labels, scores, scores.mean(axis=1), photos, editors, JUDGES)


def test_with_one_editor_the_correlation_is_spearmans() -> None:
    labels, scores, photos, editors = judged(0, [0.5, 1.0, 2.0])
    found = compare(labels, scores, photos, np.full(len(editors), "x"))
    for judge, of in zip(JUDGES, scores.T, strict=True):
        assert found["judges"][judge]["value"] == pytest.approx(stats.spearmanr(labels, of).statistic)


def test_a_judge_that_prefers_an_editor_loses_and_gains_nothing_by_it() -> None:
    labels, scores, photos, editors = judged(1, [0.5, 1.0, 2.0])
    biased = scores + 5 * (editors == "x")[:, None]
    one, other = (compare(labels, of, photos, editors)["judges"]["a"] for of in (scores, biased))
    assert one["value"] == pytest.approx(other["value"]) and one["interval"] == pytest.approx(other["interval"])


def test_a_panel_of_independent_judges_gains_and_one_of_copies_does_not() -> None:
    independent = compare(*judged(2, [1.0, 1.0, 1.0]))
    assert (independent["gain"]["interval"] or (0, 0))[0] > 0
    assert 2.0 < (independent["effective_judges"]["value"] or 0) <= 3
    copies = compare(*judged(2, [1.0, 1.0, 1.0], shared=1.0))
    assert copies["gain"]["value"] == pytest.approx(0)
    assert copies["effective_judges"]["value"] == pytest.approx(1)


def test_a_panel_with_two_bad_judges_is_worse_than_the_good_one_which_is_the_best_in_every_fold() -> None:
    found = compare(*judged(3, [0.3, 3.0, 3.0]))
    assert (found["gain"]["interval"] or (0, 0))[1] < 0
    assert found["best"] == {"a": FOLDS}


def test_edits_that_a_judge_did_not_score_are_left_out() -> None:
    labels, scores, photos, editors = judged(4, [1.0, 1.0, 1.0])
    scores[:40, 1] = np.nan
    labels[-4:] = np.nan
    found = compare(labels, scores, photos, editors)
    assert (found["edits"], found["photos"]) == (196, 49)


@pytest.mark.parametrize("edits", [0, 1, 4])
def test_too_few_edits_have_reasons_instead_of_figures(edits: int) -> None:
    found = compare(*(one[:edits] for one in judged(5, [1.0, 1.0, 1.0])))
    for name in ("gain", "combined", "error_correlation", "effective_judges"):
        assert found[name]["interval"] is None and found[name]["why"]


def test_all_edits_of_a_photo_are_in_one_fold() -> None:
    photos = np.repeat(np.arange(33), 3)
    folds = assign_folds(photos)
    assert all(len(set(folds[photos == photo])) == 1 for photo in range(33))
    assert np.ptp(np.bincount(folds[::3])) <= 1


def test_weights_go_to_the_good_judge_and_are_worth_it_on_other_photos() -> None:
    labels, scores, photos, editors = judged(6, [0.3, 3.0, 3.0])
    found = cross_validate(labels, scores, photos, editors, JUDGES)
    assert found["weights"]["a"] > 0.8 and sum(found["weights"].values()) == pytest.approx(1)
    assert found["spread"]["a"][0] > 0.8 and min(low for low, _ in found["spread"].values()) >= 0
    assert found["shown"] and (found["gain"]["interval"] or (0, 0))[0] > 0.1


def test_weights_of_judges_that_are_alike_gain_nothing() -> None:
    shown = [cross_validate(*judged(seed, [1.0, 1.0, 1.0]), JUDGES)["shown"] for seed in range(10)]
    assert not any(shown)


def test_people_who_rate_on_another_scale_give_the_same_weights() -> None:
    labels, scores, _, editors = judged(7, [0.5, 1.0, 2.0])
    assert fit_weights(100 + 30 * labels, scores, editors) == pytest.approx(fit_weights(labels, scores, editors))


def test_judges_that_rank_edits_the_wrong_way_round_weigh_the_same() -> None:
    labels, scores, _, editors = judged(8, [0.1, 0.1, 0.1])
    assert fit_weights(labels, -scores, editors) == pytest.approx([1 / 3] * 3)
    assert rank_correlation(labels, -scores[:, 0], editors) < -0.9
