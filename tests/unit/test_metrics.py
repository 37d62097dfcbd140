"""Rows to numbers, with every number worked out by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from editlane.errors import UserError
from editlane.metrics import report_numbers, spread, summarise
from editlane.types import Item, State


def item(item_id: str, category: str) -> Item:
    return Item(
        item_id=item_id,
        category=category,
        instruction="把天空换成日落",
        language="zh",
        source_path=f"sources/{item_id}.png",
        source_sha256=item_id,
        width=8,
        height=8,
        cost=1.0,
    )


def row(item_id: str, score: float | None, state: str = "scored", **more: Any) -> dict[str, Any]:
    base = {"item_id": item_id, "category": "物理", "editor": "a", "judge": "j", "state": state, "score": score}
    return base | {"unchanged": False, "error_kind": None, "score_instruction": score} | more


def failed(item_id: str, state: str, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return row(item_id, None, state, error_kind=kind, unchanged=None) | more


def test_the_numbers_of_some_scores_and_two_failures() -> None:
    rows = [
        row("1", 2.0),
        row("2", 4.0, unchanged=True),
        row("3", 9.0),
        failed("4", "edit_failed"),
        failed("5", "judge_unreadable", unchanged=False),
    ]
    assert summarise(rows, 5) == {
        "n": 5,
        "scored": 3,
        "mean": 5.0,
        "std": pytest.approx(13**0.5),  # (9 + 1 + 16) / (3 - 1)
        "median": 4.0,
        "min": 2.0,
        "max": 9.0,
        "coverage": 0.6,
        "bounds": (3.0, 7.0),  # (15 + 0) / 5 and (15 + 20) / 5
        "states": {
            "scored": 3,
            "source_unreadable": 0,
            "edit_failed": 1,
            "edit_refused": 0,
            "judge_unreadable": 1,
            "judge_failed": 0,
        },
        "missing": 0,
        "unchanged": {"count": 1, "n": 4},
    }


def test_a_row_that_does_not_exist_yet_counts_in_n_and_in_the_bounds_but_in_no_state() -> None:
    numbers = summarise([row("1", 6.0), failed("2", "edit_refused")], 4)
    assert (numbers["n"], numbers["scored"], numbers["missing"]) == (4, 1, 2)
    assert sum(numbers["states"].values()) == 2
    assert numbers["bounds"] == (1.5, 9.0)
    assert numbers["coverage"] == 0.25


def test_a_number_beside_a_failed_state_does_not_count() -> None:
    numbers = summarise([row("1", 6.0), failed("2", "judge_failed", score=10.0)], 2)
    assert (numbers["mean"], numbers["scored"], numbers["bounds"]) == (6.0, 1, (3.0, 8.0))


def test_nothing_scored_gives_no_mean_and_the_widest_bounds() -> None:
    numbers = summarise([failed("1", "edit_failed"), failed("2", "judge_failed")], 2)
    assert [numbers[key] for key in ("mean", "std", "median", "min", "max")] == [None] * 5  # type: ignore[literal-required]
    assert (numbers["coverage"], numbers["bounds"]) == (0.0, (0.0, 10.0))


def test_one_score_has_a_mean_but_no_standard_deviation() -> None:
    numbers = spread([7.5], 1)
    assert (numbers["mean"], numbers["std"], numbers["bounds"]) == (7.5, None, (7.5, 7.5))


def test_a_category_without_items_has_neither_coverage_nor_bounds() -> None:
    numbers = summarise([], 0)
    assert (numbers["n"], numbers["coverage"], numbers["bounds"], numbers["mean"]) == (0, None, None, None)


@given(st.lists(st.none() | st.floats(0, 10), min_size=1), st.integers(0, 5))
def test_failures_never_move_the_mean_and_the_bounds_hold_it(values: list[float | None], missing: int) -> None:
    numbers = spread(values, len(values) + missing)
    alone = spread([value for value in values if value is not None], numbers["scored"])
    assert (numbers["mean"], numbers["std"], numbers["median"]) == (alone["mean"], alone["std"], alone["median"])
    assert numbers["bounds"] is not None
    if numbers["mean"] is not None:
        assert numbers["bounds"][0] - 1e-9 <= numbers["mean"] <= numbers["bounds"][1] + 1e-9


ITEMS = [item("1", "物理"), item("2", "环境"), item("3", "物理")]


def numbers_of(rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    return report_numbers(rows, ITEMS, ["a", "b"], ["j"], run="demo", **options)


def full_rows() -> list[dict[str, Any]]:
    rows = [row("1", 4.0), row("2", 8.0, category="环境"), row("3", 6.0)]
    return rows + [entry | {"editor": "b"} for entry in rows]


def test_a_full_report_has_items_times_editors_times_judges_rows() -> None:
    numbers = numbers_of(full_rows())
    assert (numbers["run"], numbers["items"], numbers["rows"], numbers["missing"]) == ("demo", 3, 6, 0)
    cell = numbers["editors"]["a"]["j"]
    assert list(cell["categories"]) == ["物理", "环境"]
    assert cell["overall"]["mean"] == 6.0
    assert (cell["categories"]["物理"]["mean"], cell["categories"]["物理"]["n"]) == (5.0, 2)


def test_categories_come_in_the_order_of_the_config_also_those_without_items() -> None:
    numbers = numbers_of(full_rows(), categories=["指代", "环境"])
    categories = numbers["editors"]["b"]["j"]["categories"]
    assert [(name, s["n"]) for name, s in categories.items()] == [("指代", 0), ("环境", 1), ("物理", 2)]


def test_a_partial_report_says_where_rows_are_missing() -> None:
    numbers = numbers_of(full_rows()[:4])
    assert (numbers["rows"], numbers["missing"]) == (4, 2)
    missing = {name: s["missing"] for name, s in numbers["editors"]["b"]["j"]["categories"].items()}
    assert missing == {"物理": 1, "环境": 1}
    assert numbers["editors"]["a"]["j"]["overall"]["missing"] == 0


def test_criteria_are_summed_up_over_scored_rows_only() -> None:
    rows = full_rows()
    rows[0] |= {"score_instruction": 1.0}
    rows[1] |= {"score_instruction": 3.0}
    rows[2] |= {"state": "judge_failed", "score": None, "score_instruction": 9.0}
    spread_of = numbers_of(rows, criteria=["instruction"])["editors"]["a"]["j"]["criteria"]["instruction"]
    assert (spread_of["mean"], spread_of["scored"], spread_of["n"]) == (2.0, 2, 3)
    assert spread_of["bounds"] == (pytest.approx(4 / 3), pytest.approx(14 / 3))


def test_a_judge_has_the_criteria_that_it_answered_and_no_others() -> None:
    rows = [entry | {"mode_correct": None, "score_correct": None} for entry in full_rows()]
    rows[3:] = [failed(entry["item_id"], "edit_failed", category=entry["category"], editor="b") for entry in rows[3:]]
    unread = {"judge": "k", "score": None, "state": "judge_unreadable", "score_instruction": None}
    rows += [entry | unread | {"mode_correct": "Yes"} for entry in rows[:3]]
    numbers = report_numbers(rows, ITEMS, ["a", "b"], ["j", "k"], run="demo", criteria=["instruction", "correct"])
    criteria = {judge: list(cell["criteria"]) for judge, cell in numbers["editors"]["a"].items()}
    assert criteria == {"j": ["instruction"], "k": ["correct"]}
    spread_of = numbers["editors"]["b"]["j"]["criteria"]["instruction"]
    assert (spread_of["scored"], spread_of["n"], spread_of["bounds"]) == (0, 3, (0.0, 10.0)), "asked, but all failed"


def test_error_kinds_are_counted_by_state() -> None:
    rows = [
        failed("1", "edit_failed", "oom"),
        failed("2", "edit_failed", "oom", category="环境"),
        failed("3", "judge_unreadable"),
    ]
    errors = numbers_of(rows)["editors"]["a"]["j"]["errors"]
    assert errors == {"edit_failed": {"oom": 2}, "judge_unreadable": {"not given": 1}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"item_id": "3"}, "second row"),
        ({"item_id": "9"}, "no such item"),
        ({"category": "环境"}, "no such item in category '环境'"),
        ({"editor": "c"}, "not expected"),
        ({"state": "edited", "score": None}, "state 'edited' is unknown"),
        ({"state": "edit_failed"}, "contradict"),
        ({"score": None}, "contradict"),
        ({"score": 10.5}, "outside 0..10"),
        ({"score": float("nan")}, "outside 0..10"),
    ],
)
def test_a_row_that_must_not_be_counted_ends_the_report(change: dict[str, Any], problem: str) -> None:
    rows = full_rows()
    rows[0] |= change
    with pytest.raises(UserError, match=problem):
        numbers_of(rows)


def test_every_state_is_listed_in_its_order() -> None:
    assert list(summarise([], 0)["states"]) == [str(state) for state in State]
