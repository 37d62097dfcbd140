"""Division of labour, routing, closeness and effort, against what can be worked out by hand."""

import numpy as np
import pytest

from editlane.stats.division import (
    count_winners,
    measure_closeness,
    measure_differentiation,
    measure_routing,
    normalise_mutual_information,
    share_wins,
)
from editlane.stats.effort import find_kings


def draw(skills: list[list[float]], items: int = 100, seed: int = 0):
    """Scores of categories x editors, `items` in each, all photos different."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(len(skills)), items)
    scores = np.clip(5 + np.array(skills)[groups] + rng.normal(0, 1.5, (len(groups), len(skills[0]))), 0, 10)
    return scores, groups, np.arange(len(groups))


ALIKE, DIVIDED = [[0, 0]] * 3, [[2, 0], [0, 2], [2, 0]]


def test_mutual_information_is_1_for_an_editor_of_each_category_and_0_for_none() -> None:
    tables = np.array([[[5.0, 0], [0, 5]], [[5, 5], [5, 5]], [[5, 5], [0, 0]]])
    assert normalise_mutual_information(tables) == pytest.approx([1, 0, 0])


def test_tied_editors_share_an_item() -> None:
    assert share_wins(np.array([[5.0, 5, 1], [2, 3, 1]])).tolist() == [[0.5, 0.5, 0], [0, 1, 0]]


def test_a_division_of_labour_is_found_and_equality_is_none() -> None:
    divided, alike = measure_differentiation(*draw(DIVIDED)), measure_differentiation(*draw(ALIKE))
    assert divided["p"] < 0.01 and divided["value"] > divided["null_p95"]
    assert alike["p"] > 0.05 and alike["null_mean"] > 0


def test_edits_of_one_photo_move_together_under_the_null() -> None:
    """Every item ten times over: without that, nothing would look like something."""
    scores, groups, clusters = draw(ALIKE, 20, seed=3)
    many = [np.repeat(one, 10, axis=0) for one in (scores, groups, clusters)]
    assert measure_differentiation(*many)["p"] == pytest.approx(
        measure_differentiation(scores, groups, clusters)["p"], abs=0.06
    )
    assert measure_differentiation(many[0], many[1], np.arange(len(many[0])))["p"] < 0.01


def test_the_gain_of_routing_is_held_out() -> None:
    divided, alike = measure_routing(*draw(DIVIDED)), measure_routing(*draw(ALIKE, seed=1))
    assert divided["interval"][0] > 0 and divided["choice"] == {"0": 0, "1": 1, "2": 0} and divided["best"] == 0
    assert divided["value"] == pytest.approx(2 / 3, abs=0.25)
    assert alike["apparent"] >= 0 and alike["interval"][0] <= 0
    same = measure_routing(*draw([[2, 0]] * 3))
    assert (same["value"], same["interval"], same["why"]) == (0.0, None, "same_editor")
    assert divided["why"] is None


def test_a_gain_has_an_interval_where_the_parts_choose_otherwise_for_nothing() -> None:
    """Two photos decide for the second editor in the last category; on all others both are equal."""
    scores, groups, clusters = np.full((200, 2), 5.0), np.repeat([0, 1], 100), np.arange(200)
    scores[0, 0] = scores[100, 1] = scores[101, 1] = 6
    found = measure_routing(scores, groups, clusters)
    assert found["why"] is None and found["interval"] is not None
    assert found["interval"][0] < 0 < found["interval"][1]


def test_too_few_photos_give_a_gain_no_interval() -> None:
    scores, groups, clusters = draw(DIVIDED)
    found = measure_routing(scores, groups, clusters % 5)
    assert (found["interval"], found["why"]) == (None, "too_few_photos")


def test_closeness_and_winners_have_their_extremes() -> None:
    even = np.array([[1.0, 0], [0, 1]] * 50)
    one = np.array([[1.0, 0]] * 100)
    clusters = np.arange(100)
    assert measure_closeness(even, clusters)["value"] == 1 and count_winners(even, clusters)["value"] == 2
    assert measure_closeness(one, clusters)["value"] == 0 and count_winners(one, clusters)["value"] == 1


@pytest.mark.parametrize(
    ("better", "king"), [(2.0, []), (0.0, ["dear"]), (-1.0, ["dear"])], ids=["best", "no better", "worse"]
)
@pytest.mark.runs
def test_only_who_pays_more_for_no_more_is_named(better: float, king: list[str]) -> None:
    scores, groups, clusters = draw([[better, 0]] * 3, 400)
    seconds = np.tile([40.0, 1.0], (len(scores), 1)) + np.random.default_rng(1).random(scores.shape)
    found = find_kings(scores, seconds, ["dear", "cheap"], groups, clusters)
    assert found["kings"] == king
    assert found["editors"]["dear"]["seconds"] == pytest.approx(40.5, abs=0.1)
    assert [one["cheaper"] for one in found["rivals"]] == ["cheap"]


def test_without_times_nobody_is_named() -> None:
    scores, groups, clusters = draw(ALIKE)
    found = find_kings(scores, np.full(scores.shape, np.nan), ["x", "y"], groups, clusters)
    assert found["kings"] == [] and found["editors"]["x"]["seconds"] is None
