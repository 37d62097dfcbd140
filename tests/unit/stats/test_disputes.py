"""Where judges disagree: edits, categories, editors, states, and the order of two editors."""

import numpy as np
import pandas as pd
import pytest

from editlane.stats.disputes import (
    compare_orders,
    count_split_states,
    list_disputed,
    measure_disagreement,
    spread_scores,
)

JUDGES = ["j", "k"]


def rows(scores: dict[tuple[str, str], list[float | str | None]], categories: tuple[str, ...] = ("物理",)):
    """Rows of (editor, judge) -> a score, None for an unreadable answer, or a state, by item."""
    return pd.DataFrame(
        {
            "item_id": f"项-{place:02}",
            "category": categories[place % len(categories)],
            "editor": editor,
            "judge": judge,
            "cluster": place,
            "state": one if isinstance(one, str) else "judge_unreadable" if one is None else "scored",
            "score": one if isinstance(one, float) else np.nan,
        }
        for (editor, judge), results in scores.items()
        for place, one in enumerate(results)
    )


def test_the_most_disputed_edits_come_first_with_all_scores() -> None:
    table = rows({("a", "j"): [5.0, 9.0, 4.0, None], ("a", "k"): [5.0, 1.0, 7.0, 3.0], ("a", "other"): [0.0] * 4})
    edits = spread_scores(table, JUDGES)
    assert [(one["item_id"], one["range"]) for one in list_disputed(edits, JUDGES)] == [("项-01", 8.0), ("项-02", 3.0)]
    first = list_disputed(edits, JUDGES, most=1)[0]
    assert first["scores"] == {"j": 9.0, "k": 1.0}
    assert first["sd"] == pytest.approx(np.std([9.0, 1.0], ddof=1))
    found = measure_disagreement(edits, JUDGES)
    assert (found["n"], found["mean"]) == (3, pytest.approx(11 / 3))


def test_an_edit_with_one_score_is_no_dispute() -> None:
    edits = spread_scores(rows({("a", "j"): [5.0], ("a", "k"): [None]}), JUDGES)
    assert list_disputed(edits, JUDGES) == []
    assert measure_disagreement(edits, JUDGES) == {"n": 0, "mean": None, "interval": None}


def test_edits_that_only_some_judges_scored_are_counted() -> None:
    table = rows({("a", "j"): [5.0, None, None, "edit_failed"], ("a", "k"): [5.0, 4.0, None, "edit_failed"]})
    found = count_split_states(table, JUDGES)
    assert (found["n"], found["split"], found["unscored"]) == (3, 1, {"j": 1, "k": 0})


def make_orders(j: float, k: float, noise: float = 0.3):
    """Two editors of which a is better by j points under one judge and by k under the other."""
    rng = np.random.default_rng(0)

    def scores(mean: float) -> list[float]:
        return list(5 + mean + noise * rng.normal(size=40))

    table = rows({("a", "j"): scores(j), ("b", "j"): scores(0), ("a", "k"): scores(k), ("b", "k"): scores(0)})
    return compare_orders(spread_scores(table, JUDGES), ["a", "b"], JUDGES)[0]


def test_an_order_swaps_only_where_both_differences_leave_out_zero() -> None:
    assert make_orders(2.0, -2.0)["swaps"] == [("j", "k")]
    assert make_orders(2.0, 2.0)["swaps"] == []
    unsure = make_orders(2.0, -0.1)
    assert unsure["swaps"] == [] and unsure["differences"]["k"]["difference"] < 0 < unsure["n"] == 40


def test_orders_are_of_the_items_that_all_judges_scored_for_both_editors() -> None:
    table = rows(
        {("a", "j"): [5.0, 6.0, 7.0], ("b", "j"): [5.0, 6.0, None], ("a", "k"): [1.0] * 3, ("b", "k"): [0.0] * 3}
    )
    found = compare_orders(spread_scores(table, JUDGES), ["a", "b"], JUDGES)[0]
    assert found["n"] == 2 and found["differences"]["k"] == {"difference": 1.0, "interval": None}
    assert compare_orders(spread_scores(table, JUDGES), ["a", "nobody"], JUDGES)[0]["n"] == 0
