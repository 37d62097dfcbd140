"""People's ratings correct a judge: ppi-python's own numbers, and what must hold for any judge."""

import numpy as np
import pytest

from editlane.stats.prediction_powered import Corrected, compare_rated, correct_means

NAN = np.nan


def width(found: Corrected, of: str = "corrected") -> float:
    low, high = found[of]["interval"]  # type: ignore[literal-required]
    return high - low


def judged(seed: int, photos: int = 120, error: float = 0.5, rated: float = 0.4, bias: float = 2.0):
    """Labels, scores, photos and categories of two edits of each photo, one in each of two categories."""
    rng = np.random.default_rng(seed)
    quality = np.repeat(rng.normal(0, 1, photos), 2) + rng.normal(0, 1, 2 * photos)
    labels = 4 + quality + rng.normal(0, 0.3, 2 * photos)
    labels[rng.random(2 * photos) > rated] = NAN
    scores = 4 + bias + quality + rng.normal(0, error, 2 * photos)
    return labels, scores, np.repeat(np.arange(photos), 2), np.tile(["x", "y"], photos)


def test_unclustered_data_give_the_numbers_of_ppi_python() -> None:
    """Constants by ppi-python 0.2.3: `ppi_mean_pointestimate` with its own lambda and with 1, `ppi_mean_ci` at 95 %.

    It adds lambda times the mean of the unlabelled less that of the labelled, divides the covariance by n, and takes
    normal quantiles.
    """
    place = np.arange(120)
    quality = (place * 37 % 101) / 101 * 6
    scores = np.round(2 * (1 + quality + ((place * 53 % 17) / 17 - 0.5) * 3)) / 2
    labels = np.round(0.8 * quality + ((place * 29 % 13) / 13 - 0.5) * 2 + 1)
    rated = (place * 7 % 10) < 3
    n, others = int(rated.sum()), int((~rated).sum())
    found = correct_means(np.where(rated, labels, NAN), scores, place, np.full(120, "c"), ["c"])
    macro, power = found["macro"], found["power"] or 0
    assert macro["people"]["value"] == pytest.approx(3.30555556)
    assert power * (n - 1) / n * others / 120 == pytest.approx(0.4943018857)
    per_point = ((macro["corrected"]["value"] or 0) - 3.30555556) / (power * others / 120)
    assert 3.30555556 + per_point == pytest.approx(3.16666667)
    assert 3.30555556 + per_point * 0.4943018857 == pytest.approx(3.23690252)
    assert width(macro) == pytest.approx(3.62981202 - 2.84399301, rel=0.08)
    assert found["categories"]["c"] == macro


def test_a_biased_judge_does_not_bias_the_mean_and_makes_its_interval_narrower() -> None:
    for seed in range(5):
        found = correct_means(*judged(seed), ["x", "y"])["macro"]
        low, high = found["corrected"]["interval"] or (NAN, NAN)
        assert low - 0.2 < 4 < high + 0.2
        assert (found["judge"]["value"] or 0) > 5.5
        assert (found["narrower"] or 0) > 0.1


def test_a_judge_that_tells_nothing_leaves_the_labels_alone() -> None:
    labels, scores, photos, categories = judged(1)
    for useless in (np.full(len(scores), 5.0), np.random.default_rng(0).normal(size=len(scores)), -scores):
        found = correct_means(labels, useless, photos, categories, ["x", "y"])["macro"]
        assert found["corrected"]["value"] == pytest.approx(found["people"]["value"], abs=0.1)
        assert abs(found["narrower"] or 0) < 0.05


@pytest.mark.parametrize(("factor", "shift"), [(10.0, 3.0), (0.1, 1000.0)])
def test_other_scales_of_people_and_of_the_judge_change_nothing_else(factor: float, shift: float) -> None:
    labels, scores, photos, categories = judged(2)
    one = correct_means(labels, scores, photos, categories, ["x", "y"])["macro"]
    of_people = correct_means(shift + factor * labels, scores, photos, categories, ["x", "y"])["macro"]
    of_judge = correct_means(labels, shift + factor * scores, photos, categories, ["x", "y"])["macro"]
    assert of_people["corrected"]["value"] == pytest.approx(shift + factor * (one["corrected"]["value"] or 0))
    assert width(of_people) == pytest.approx(factor * width(one))
    assert of_judge["corrected"]["value"] == pytest.approx(one["corrected"]["value"])
    assert of_judge["corrected"]["interval"] == pytest.approx(one["corrected"]["interval"])


def test_a_rated_edit_without_a_score_counts_in_the_labels_alone() -> None:
    labels, scores, photos, categories = judged(3)
    rated = np.flatnonzero(~np.isnan(labels))[:10]
    scores[rated] = NAN
    found = correct_means(labels, scores, photos, categories, ["x", "y"])["macro"]
    assert (found["rated"] - found["both"], found["scored"]) == (10, len(scores) - 10)
    means = [np.nanmean(labels[categories == name]) for name in ("x", "y")]
    assert found["people"]["value"] == pytest.approx(np.mean(means))
    assert width(found) < width(found, "people")
    scores[:] = NAN
    alone = correct_means(labels, scores, photos, categories, ["x", "y"])
    assert alone["macro"]["corrected"]["value"] == alone["macro"]["people"]["value"] and alone["power"] is None
    assert alone["macro"]["judge"] == {"value": None, "interval": None, "why": "the judge scored none"}


def test_a_category_without_a_label_has_no_figure_and_the_mean_leaves_it_out() -> None:
    labels, scores, photos, categories = judged(4)
    labels[categories == "y"] = NAN
    found = correct_means(labels, scores, photos, categories, ["x", "y", "empty"])
    assert found["rated_categories"] == ["x"]
    for name in ("y", "empty"):
        assert found["categories"][name]["corrected"] == {"value": None, "interval": None, "why": "no edit was rated"}
    assert found["macro"]["corrected"] == found["categories"]["x"]["corrected"]


def test_without_any_label_there_is_no_figure() -> None:
    labels, scores, photos, categories = judged(5)
    found = correct_means(np.full(len(labels), NAN), scores, photos, categories, ["x", "y"])
    assert found["macro"]["people"]["value"] is None and found["macro"]["p"] is None and found["power"] is None
    nothing = correct_means(*(one[:0] for one in (labels, scores, photos, categories)), ["x", "y"])
    assert nothing["macro"]["corrected"]["value"] is None


def test_few_rated_photos_give_a_value_without_an_interval() -> None:
    labels, scores, photos, categories = judged(6, rated=1.0)
    labels[10:] = NAN  # five photos
    found = correct_means(labels, scores, photos, categories, ["x", "y"])["macro"]
    assert found["corrected"]["value"] is not None and found["corrected"]["interval"] is None
    assert found["corrected"]["why"] == "no interval: the rated edits have fewer than 6 source images"
    labels, *_ = judged(6, rated=1.0)
    labels[(photos > 0) & (categories == "y")] = NAN
    found = correct_means(labels, scores, photos, categories, ["x", "y"])["macro"]
    assert "a category has rated edits of one source image only" in (found["corrected"]["why"] or "")


def test_two_edits_of_one_photo_are_not_independent() -> None:
    labels, scores, photos, _ = judged(7, rated=1.0)
    labels[::2], scores[::2] = labels[1::2], scores[1::2]
    labels[120:] = NAN
    one = np.full(len(labels), "c")
    widths = [width(correct_means(labels, scores, of, one, ["c"])["macro"]) for of in (photos, np.arange(len(labels)))]
    assert widths[0] > 1.3 * widths[1]


def test_many_photos_are_left_out_in_groups_and_labels_make_the_width() -> None:
    labels, scores, photos, categories = judged(8, photos=3000, rated=0.02)
    found = correct_means(labels, scores, photos, categories, ["x", "y"])["macro"]
    errors = np.hypot(0.3, 0.5) / np.sqrt(found["rated"]), 0.02  # of raters and judge; of 3000 photos
    assert width(found) == pytest.approx(4 * np.hypot(*errors), rel=0.2)


def test_rated_edits_that_were_picked_by_their_score_are_noticed() -> None:
    labels, scores, photos, categories = judged(9)
    rated = ~np.isnan(labels)
    random = compare_rated(scores, rated, photos, categories, ["x", "y"])
    picked = compare_rated(scores, scores > np.median(scores), photos, categories, ["x", "y"])
    assert (random["p"] or 0) > 0.05 and (picked["p"] or 1) < 1e-6
    assert (picked["difference"]["value"] or 0) > 1
    everything = compare_rated(scores, np.full(len(scores), True), photos, categories, ["x", "y"])
    assert everything["p"] is None and "no category has both" in (everything["difference"]["why"] or "")
