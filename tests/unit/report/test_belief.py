"""Which comparisons keep their verdict, by where the judge is believed and whom it may prefer."""

from typing import Any

import pytest
from made_report import acceptance, better, comparison

from editlane.report.belief import list_believed, withhold


def blind(of: str, name: str) -> dict[str, Any]:
    found = acceptance()
    return found | {of: found[of] | {name: {"verdict": "too_few"}}}


def verdicts(judged: dict[str, Any], *rows: dict[str, Any], preferences: list[Any] | None = None) -> list[str]:
    withhold(rows, judged, preferences or [])  # type: ignore[arg-type]
    return [one["verdict"] for one in rows]


def test_in_a_category_where_the_judge_is_blind_or_untested_nothing_has_a_verdict() -> None:
    rows = [better("A", "B"), better("A", "B", "因果"), comparison("A", "B", "因果"), better("A", "B", "物理")]
    assert verdicts(blind("categories", "因果"), *rows) == ["a_better", "not_believed", "not_believed", "a_better"]


def test_of_an_editor_whose_controls_it_does_not_tell_apart_nothing_has_a_verdict() -> None:
    rows = [better("A", "B"), better("A", "C"), better("B", "C", "因果")]
    assert verdicts(blind("editors", "C"), *rows) == ["a_better", "not_believed", "not_believed"]


@pytest.mark.parametrize(
    ("preferred", "p", "left"), [(1.0, 0.01, "prefers"), (0.3, 0.01, "a_better"), (1.0, 0.2, "a_better")]
)
def test_a_difference_that_may_be_preference_has_no_winner(preferred: float, p: float, left: str) -> None:
    preference = {"a": "A", "b": "B", "difference": preferred, "p_holm": p}
    rows = [better("A", "B"), comparison("A", "B", "物理")]
    assert verdicts(acceptance(), *rows, preferences=[preference]) == [left, "not_separable"]
    assert verdicts(acceptance(), better("B", "A"), preferences=[preference]) == ["a_better"]


def test_a_judge_that_is_not_accepted_keeps_its_numbers_which_nothing_is_ranked_by() -> None:
    judged = acceptance("not_accepted")
    assert list_believed(judged, "categories", ["物理", "别的"]) == ["物理", "别的"]
    assert verdicts(judged, better("A", "B")) == ["a_better"]
    assert list_believed(acceptance(), "categories", ["物理", "别的"]) == ["物理"]
