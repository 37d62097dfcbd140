"""A judge that prefers an editor's pictures gives its wrong edits more, too."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from editlane.stats.preference import explains, measure_preferences

EDITORS = ["甲", "b", "c"]


def rows(**scores: object) -> pd.DataFrame:
    table = [
        {"control": "other_instruction", "editor": editor, "score": score}
        for editor, of in scores.items()
        for score in np.ravel(of)
    ]
    others = [{"control": "swapped", "editor": editor, "score": 10.0} for editor in scores]
    return pd.DataFrame(table + others)


def test_a_judge_that_gives_one_editor_three_points_more_is_found() -> None:
    rng = np.random.default_rng(0)
    low = {editor: rng.uniform(0, 2, 8) for editor in EDITORS}
    found = measure_preferences(rows(**low | {"甲": low["甲"] + 3}), EDITORS)
    assert [(one["a"], one["b"], one["n"]) for one in found] == [
        ("甲", "b", (8, 8)),
        ("甲", "c", (8, 8)),
        ("b", "c", (8, 8)),
    ]
    assert found[0]["difference"] == pytest.approx(3 + low["甲"].mean() - low["b"].mean())
    test = stats.ttest_ind(low["甲"] + 3, low["b"], equal_var=False)
    assert found[0]["interval"] == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert explains(found[0], 2.0) and explains(found[0], 5.0)
    assert not explains(found[0], 9.0)  # less than half of the difference
    assert not explains(found[0], -2.0)  # the judge ranks the other one higher
    assert not explains(found[2], 0.5)  # not significant


@pytest.mark.runs
def test_without_a_preference_hardly_any_difference_is_withheld() -> None:
    rng = np.random.default_rng(1)
    cases = [
        measure_preferences(rows(a=rng.uniform(0, 2, 10), b=rng.uniform(0, 2, 10)), ["a", "b"]) for _ in range(400)
    ]
    assert np.mean([explains(found[0], 0.2) for found in cases]) < 0.05


def test_where_nothing_can_be_compared_nothing_is_said() -> None:
    assert measure_preferences(rows(a=[1.0], b=[2.0, 3.0]), ["a", "b"]) == []
    assert measure_preferences(rows(a=[1.0, np.nan], b=[1.0, 2.0]), ["a", "b"]) == []


def test_whole_points_that_are_all_the_same_have_no_variance_but_an_order() -> None:
    [found] = measure_preferences(rows(a=[3.0] * 8, b=[0.0] * 8), ["a", "b"])
    assert (found["difference"], found["interval"]) == (3.0, (3.0, 3.0))
    assert found["p_holm"] == pytest.approx(2 / 12870)  # of C(16, 8) orders
    assert explains(found, 4.0)
    [few] = measure_preferences(rows(a=[3.0] * 2, b=[0.0] * 2), ["a", "b"])
    assert not explains(few, 4.0)
    [equal] = measure_preferences(rows(a=[0.0] * 8, b=[0.0] * 8), ["a", "b"])
    assert (equal["difference"], equal["p_holm"]) == (0.0, 1.0)
    [one_varies] = measure_preferences(rows(a=[1.1] * 3, b=[1.2, 1.3, 1.9]), ["a", "b"])
    assert one_varies["p_holm"] == pytest.approx(0.23545, abs=1e-4)
