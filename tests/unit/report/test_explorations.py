"""Breakdowns by difficulty and tag, win rates and seconds: every number worked out by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_report import acceptance

from editlane.report.breakdowns import MOST_VALUES, compute_explorations
from editlane.stats.speed import find_front, measure_speed
from editlane.stats.win_rates import count_wins

SEVEN = range(7)


def make_rows(scores: dict[str, list[float | None]], category: str = "物理") -> pd.DataFrame:
    """Make rows of one judge, `j`; each item has a photo of its own."""
    return pd.DataFrame(
        [
            {"item_id": str(place), "category": category, "editor": editor, "judge": "j", "cluster": place}
            | {"score": np.nan if score is None else score, "state": "edit_failed" if score is None else "scored"}
            for editor, of in scores.items()
            for place, score in enumerate(of)
        ]
    )


def make_items(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"item_id": [str(place) for place in SEVEN]} | columns)


def explore(rows: pd.DataFrame, items: pd.DataFrame, verdict: str = "accepted") -> dict[str, Any]:
    editors = list(dict.fromkeys(rows["editor"]))
    cells = {editor: {"j": {"macro": {"mean": 5.0}}} for editor in editors}
    return compute_explorations(
        rows, items, editors, {"j": acceptance(verdict)}, cells, {"editors": {"b": {"adapter": "given"}}}
    )


def test_ties_count_half_and_items_without_both_scores_do_not_count() -> None:
    rows = make_rows({"a": [5.0, 6.0, 7.0, 1.0, None, 3.0, 9.0], "b": [5.0, 5.0, 8.0, None, 2.0, 3.0 + 1e-12, 1.0]})
    (found,) = count_wins(rows, ["a", "b"])
    assert [found[name] for name in ("n", "wins", "ties", "losses", "rate")] == [5, 2, 2, 1, 0.6]  # type: ignore[literal-required]
    assert found["interval"] is None, "five photos"


def test_a_win_rate_has_an_interval_within_its_scale_and_resamples_photos() -> None:
    rows = make_rows({"a": [2.0] * 40, "b": [1.0] * 40})
    (found,) = count_wins(rows, ["a", "b"])
    assert found["rate"] == 1 and found["interval"] and found["interval"][0] < found["interval"][1] == 1
    (together,) = count_wins(rows.assign(cluster=rows["cluster"] % 4), ["a", "b"])
    assert together["interval"] is None and together["clusters"] == 4


@pytest.mark.runs
@pytest.mark.parametrize("photos", [12, 40])
def test_intervals_of_win_rates_hold_the_true_rate(photos: int) -> None:
    """At least 93 of 100 samples in the long run; 90 allow for chance."""
    rng = np.random.default_rng(photos)
    held = 0
    for _ in range(100):
        differences = rng.choice([1.0, 0.0, -1.0], size=photos, p=[0.6, 0.1, 0.3])
        (found,) = count_wins(make_rows({"a": list(5 + differences), "b": [5.0] * photos}), ["a", "b"])
        held += found["interval"] is not None and found["interval"][0] <= 0.65 <= found["interval"][1]
    assert held >= 90


def test_an_edit_that_two_judges_scored_has_its_seconds_counted_once() -> None:
    seconds = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.nan]
    rows = make_rows({"a": [5.0] * 7}).assign(edit_seconds=seconds, edit_device=["H200", "A100"] * 3 + [None])
    found = measure_speed(pd.concat([rows, rows.assign(judge="k")]))
    assert (found["n"], found["mean"], found["devices"]) == (6, 3.5, ["A100", "H200"])
    assert found["interval"] and 1 <= found["interval"][0] < 3.5 < found["interval"][1] <= 6


def test_attempts_that_failed_early_make_no_editor_fast() -> None:
    rows = make_rows({"a": [5.0] * 12}).assign(edit_seconds=20.0, edit_device="H200")
    rows.loc[:5, ["state", "edit_seconds"]] = ["edit_failed", 0.02]
    found = measure_speed(rows)
    assert (found["n"], found["mean"]) == (6, 20.0)


def test_edits_that_were_made_elsewhere_have_no_seconds() -> None:
    rows = make_rows({"a": [5.0] * 7, "b": [6.0] * 7}).assign(edit_seconds=1.0, edit_device="H200")
    found = explore(rows, make_items())["speed"]
    assert list(found["editors"]) == ["a"] and found["fronts"] == {"j": ["a"]}


def test_an_editor_of_which_the_judge_is_not_believed_takes_no_place_on_the_front() -> None:
    rows = make_rows({"a": [5.0] * 7, "fast": [9.0] * 7}).assign(edit_device="H200")
    rows["edit_seconds"] = rows["editor"].map({"a": 2.0, "fast": 1.0})
    assert explore(rows, make_items())["speed"]["fronts"] == {"j": ["a"]}
    assert list(explore(rows, make_items())["speed"]["editors"]) == ["a", "fast"]


def test_the_front_has_the_editors_that_no_other_beats_in_both() -> None:
    quality = {"best": 8.0, "fast": 5.0, "slow": 7.0, "twin": 5.0, "none": None, "timeless": 9.0}
    seconds = {"best": 3.0, "fast": 1.0, "slow": 4.0, "twin": 1.0, "none": 0.1}
    assert find_front(quality, seconds) == ["best", "fast", "twin"]


def test_an_item_counts_under_each_of_its_tags_once() -> None:
    rows = make_rows({"a": [float(place) for place in SEVEN]})
    tags = [["x", "x"], ["x", "y"], ["x"], ["x"], ["x"], ["x"], []]
    found = explore(rows, make_items(difficulty=["hard", *[None] * 6], tags=tags))["breakdowns"]
    assert found["tag"]["values"] == {"x": 6, "y": 1} and found["tag"]["without"] == 1
    x, y = (found["tag"]["judges"]["j"][tag]["a"] for tag in ("x", "y"))
    assert (x["n"], x["scored"], x["mean"], x["too_few"]) == (6, 6, 2.5, False)
    assert (y["n"], y["mean"], y["interval"], y["too_few"]) == (1, 1.0, None, True)
    assert found["difficulty"]["values"] == {"hard": 1} and found["difficulty"]["without"] == 6


def test_items_of_categories_where_the_judge_is_not_believed_are_left_out() -> None:
    rows = pd.concat([make_rows({"a": [4.0] * 7}), make_rows({"a": [9.0] * 7}, "unknown").assign(item_id="0")])
    found = explore(rows, make_items(difficulty=["easy"] * 7))
    assert found["breakdowns"]["difficulty"]["judges"]["j"]["easy"]["a"]["mean"] == 4.0


@pytest.mark.parametrize("verdict", ["not_accepted", "not_tested"])
def test_a_judge_that_is_not_accepted_is_not_explored(verdict: str) -> None:
    found = explore(make_rows({"a": [4.0] * 7, "b": [5.0] * 7}), make_items(difficulty=["easy"] * 7), verdict)
    assert found["breakdowns"]["difficulty"]["judges"] == {} == found["win_rates"]["judges"]
    assert found["speed"]["fronts"] == {}


def test_of_many_tags_those_of_most_items_are_shown_and_the_rest_is_counted() -> None:
    tags = [[f"t{tag}" for tag in range(MOST_VALUES + 5)], *[["t24"]] * 6]
    found = explore(make_rows({"a": [4.0] * 7}), make_items(tags=tags))["breakdowns"]["tag"]
    assert len(found["values"]) == MOST_VALUES and found["more"] == 5
    assert next(iter(found["values"].items())) == ("t24", 7)
