"""Rows to numbers, with every number worked out by hand."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_rows import failed, frame, row

from editlane.core.types import State
from editlane.stats.summaries import summarise, summarise_scores


def spread_of(values: list[float | None], expected: int) -> Any:
    scores = pd.Series(values, dtype=float)
    return summarise_scores(scores, pd.Series(range(len(scores))), expected)


def test_the_numbers_of_some_scores_and_two_failures() -> None:
    rows = [
        row("1", 2.0),
        row("2", 4.0, unchanged=True),
        row("3", 9.0),
        failed("4", "edit_failed"),
        failed("5", "judge_unreadable", unchanged=False),
    ]
    assert summarise(frame(rows), 5) == {
        "n": 5,
        "scored": 3,
        "clusters": 3,
        "mean": 5.0,
        "interval": None,  # too few photos to say
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
        "unchanged": {
            "count": 1,
            "n": 4,
            "interval": (pytest.approx(0.0456, abs=1e-4), pytest.approx(0.6994, abs=1e-4)),
        },
    }


def test_a_row_that_does_not_exist_yet_counts_in_n_and_in_the_bounds_but_in_no_state() -> None:
    numbers = summarise(frame([row("1", 6.0), failed("2", "edit_refused")]), 4)
    assert (numbers["n"], numbers["scored"], numbers["missing"]) == (4, 1, 2)
    assert sum(numbers["states"].values()) == 2
    assert numbers["bounds"] == (1.5, 9.0)
    assert numbers["coverage"] == 0.25


def test_nothing_scored_gives_no_mean_and_the_widest_bounds() -> None:
    numbers = summarise(frame([failed("1", "edit_failed"), failed("2", "judge_failed")]), 2)
    assert [numbers[key] for key in ("mean", "std", "median", "min", "max")] == [None] * 5  # type: ignore[literal-required]
    assert (numbers["coverage"], numbers["bounds"]) == (0.0, (0.0, 10.0))


def test_one_score_has_a_mean_but_no_standard_deviation() -> None:
    numbers = spread_of([7.5], 1)
    assert (numbers["mean"], numbers["std"], numbers["bounds"]) == (7.5, None, (7.5, 7.5))


def test_a_category_without_items_has_neither_coverage_nor_bounds() -> None:
    numbers = summarise(frame([]), 0)
    assert (numbers["n"], numbers["coverage"], numbers["bounds"], numbers["mean"]) == (0, None, None, None)


@given(st.lists(st.none() | st.floats(0, 10), min_size=1), st.integers(0, 5))
def test_failures_never_move_the_mean_and_the_bounds_hold_it(values: list[float | None], missing: int) -> None:
    numbers = spread_of(values, len(values) + missing)
    alone = spread_of([value for value in values if value is not None], numbers["scored"])
    assert (numbers["mean"], numbers["std"], numbers["median"]) == (alone["mean"], alone["std"], alone["median"])
    assert numbers["bounds"] is not None
    if numbers["mean"] is not None:
        assert numbers["bounds"][0] - 1e-9 <= numbers["mean"] <= numbers["bounds"][1] + 1e-9


def test_every_state_is_listed_in_its_order() -> None:
    assert list(summarise(frame([]), 0)["states"]) == [str(state) for state in State]
