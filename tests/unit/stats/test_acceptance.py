"""Acceptance of a judge: worked examples, and how often good and bad judges are accepted."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from editlane.core.types import ACCEPTANCE
from editlane.stats.acceptance import accept, compare_control

NAN = float("nan")
CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]
EDITS = 5 * 50
PER_CONTROL = (7, 6, 6, 6)
"""10 % of the edits of one editor: 25 controls."""

Draw = Callable[[int, np.random.Generator], np.ndarray]


def failed(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 2, count)


def edited(fails: float) -> Draw:
    """A judge that sees: a share of the edits failed, the others score 4..10."""
    return lambda count, rng: np.where(rng.random(count) < fails, failed(count, rng), rng.uniform(4, 10, count))


def zeros(fails: float) -> Draw:
    """The same in whole points, where each failed edit gets exactly 0."""
    return lambda count, rng: np.where(rng.random(count) < fails, 0.0, rng.integers(4, 11, count))


def share_accepted(real: Draw, controls: Sequence[Draw], datasets: int = 1000, times: int = 1) -> float:
    """Share of the datasets on which a judge with such answers is accepted; `times` as many editors."""
    rng = np.random.default_rng(0)

    def accepted() -> bool:
        edits = real(EDITS * times, rng)
        drawn = [draw(count * times, rng) for draw, count in zip(controls, PER_CONTROL, strict=True)]
        return all(compare_control(edits, scores, len(scores))["verdict"] == "told_apart" for scores in drawn)

    return float(np.mean([accepted() for _ in range(datasets)]))


def long(*cases: Draw) -> list[Any]:
    """Cases for `make test-runs`."""
    return [pytest.param(case, marks=pytest.mark.runs) for case in cases]


@pytest.mark.parametrize("fails", [0.1, pytest.param(0.3, marks=pytest.mark.runs), 0.4])
def test_a_judge_that_sees_well_is_rejected_on_less_than_5_of_100_datasets(fails: float) -> None:
    assert share_accepted(edited(fails), [failed] * 4, 1000 if fails == 0.3 else 200) > 0.95


def test_under_an_editor_that_mostly_fails_it_needs_more_controls() -> None:
    """Even of random answers, six are all low in 0.6 ** 6 = 5 % of cases: no test can do better there."""
    assert share_accepted(edited(0.6), [failed] * 4, 100) < 0.5
    assert share_accepted(edited(0.6), [failed] * 4, 100, times=4) > 0.95


@pytest.mark.parametrize("real", [edited(0.3), zeros(0.6), *long(edited(0.6), zeros(0.3))])
def test_a_judge_that_ignores_the_images_or_answers_at_random_is_not_accepted(real: Draw) -> None:
    """Its controls score like real edits."""
    assert share_accepted(real, [real] * 4) < 0.01


def test_a_judge_that_always_answers_the_same_is_not_accepted() -> None:
    same: Draw = lambda count, rng: np.full(count, 7.0)  # noqa: E731
    assert share_accepted(same, [same] * 4, 50) == 0
    assert compare_control(np.full(250, 7.0), np.full(6, 7.0), 6)["verdict"] == "not_told_apart"


@pytest.mark.parametrize("real", [edited(0.3), *long(zeros(0.5), zeros(0.6))])
def test_a_judge_that_only_ignores_the_instruction_is_accepted_by_luck_alone(real: Draw) -> None:
    """One control alone catches it, at the level of its interval: 2.5 % with many controls, up to 5 % with six."""
    assert share_accepted(real, [failed, real, failed, failed]) < 0.05


def test_the_auc_counts_ties_half() -> None:
    found = compare_control([5.0, 7, 9, 9], [5.0, 1, 9, 6], 4)
    wins = 4 + 3.5 + 1 + 3  # of the four edits against 1, 5, 9 and 6
    assert found["auc"] == pytest.approx(wins / 16)
    assert found["mean"] == pytest.approx(5.25)
    assert found["auc"] == pytest.approx(stats.mannwhitneyu([5, 7, 9, 9], [5, 1, 9, 6]).statistic / 16)
    assert found["verdict"] == "not_told_apart"


def test_the_interval_agrees_with_the_test_of_brunner_and_munzel() -> None:
    """It leaves out 0.5 where their test has p < 0.05, both ways."""
    rng = np.random.default_rng(0)
    outside = []
    for shift in np.linspace(-2.5, 2.5, 101):
        edits, controls = np.round(rng.normal(5, 2, 60)), np.round(rng.normal(5 + shift, 2, 20))
        found = compare_control(edits, controls, 20)
        assert found["interval"] is not None
        outside.append(not found["interval"][0] < 0.5 < found["interval"][1])
        assert outside[-1] == (stats.brunnermunzel(controls, edits).pvalue < 0.05)
    assert 20 < sum(outside) < 80


def test_complete_separation_has_the_interval_of_wilson() -> None:
    for count, verdict in [(3, "too_few"), (4, "told_apart"), (6, "told_apart")]:
        found = compare_control(np.linspace(4, 10, 250), np.linspace(0, 2, count), count)
        assert found["auc"] == 1.0
        assert found["interval"] == pytest.approx((count / (count + stats.norm.ppf(0.975) ** 2), 1.0))
        assert found["verdict"] == verdict


def test_a_judge_that_prefers_its_controls_is_not_accepted() -> None:
    found = compare_control(np.linspace(0, 2, 50), np.linspace(4, 10, 10), 10)
    assert found["auc"] == 0.0
    assert found["verdict"] == "not_told_apart"


def test_lowest_scores_that_most_edits_get_too_prove_nothing_in_a_few_controls() -> None:
    """60 % zeros: of a blind judge too, six controls would all be 0 in 5 % of cases, twelve in 0.2 %."""
    edits = np.repeat([0.0, 8.0], [150, 100])
    assert compare_control(edits, np.zeros(6), 6)["verdict"] == "too_few"
    assert compare_control(edits, np.zeros(12), 12)["verdict"] == "told_apart"
    assert compare_control(edits, np.full(12, 8.0), 12)["verdict"] == "not_told_apart"


@pytest.mark.parametrize(
    ("real", "control", "planned"),
    [([], [], 0), ([5.0] * 9, [], 0), ([], [0.0] * 9, 9), ([5.0] * 9, [NAN] * 6, 6), ([NAN] * 9, [0.0] * 6, 6)],
    ids=["nothing", "no control", "no edit", "no control scored", "no edit scored"],
)
def test_without_scores_there_is_no_auc(real: list[float], control: list[float], planned: int) -> None:
    found = compare_control(real, control, planned)
    assert (found["n"], found["auc"], found["interval"], found["verdict"]) == (planned, None, None, "too_few")


@pytest.mark.parametrize("control", [[0.0], [NAN, 0.0], [0.0, 0.0]])
def test_one_or_two_controls_are_too_few(control: list[float]) -> None:
    found = compare_control(np.linspace(2, 9, 30), control, 2)
    assert found["auc"] == 1.0
    assert found["verdict"] == "too_few"
    assert compare_control(np.linspace(0, 9, 30), [4.5], 1)["verdict"] == "too_few"


def real_rows(scores: Sequence[float]) -> pd.DataFrame:
    return pd.DataFrame({"category": np.repeat(CATEGORIES, len(scores)), "score": list(scores) * 5})


def control_rows(of_control: dict[str, Sequence[float]]) -> pd.DataFrame:
    rows = [
        {
            "control": control,
            "category": category,
            "score": score,
            "state": "scored" if score == score else "judge_failed",
        }
        for control, scores in of_control.items()
        for category in CATEGORIES
        for score in scores
    ]
    return pd.DataFrame(rows, columns=["control", "category", "score", "state"])


GOOD = {str(control): [0.0, 1.0] for control in ACCEPTANCE}
REAL = real_rows([4.0, 5, 6, 7, 7, 8, 8, 9, 1, 0])


def test_an_accepted_judge() -> None:
    found = accept(REAL, control_rows(GOOD))
    assert found["verdict"] == "accepted"
    assert found["reasons"] == []
    assert (found["calls"], found["share"]) == (40, 0.8)
    assert list(found["controls"]) == list(GOOD)
    swapped = found["controls"]["swapped"]
    assert swapped["overall"]["n"] == 10
    assert swapped["overall"]["auc"] == pytest.approx((9.5 + 8.5) / 20)  # against 0 and against 1
    assert list(swapped["categories"]) == CATEGORIES
    assert swapped["categories"]["因果"]["n"] == 2
    assert swapped["categories"]["因果"]["verdict"] == "too_few"  # shown, but it decides nothing


def test_one_control_not_told_apart_is_a_reason() -> None:
    found = accept(REAL, control_rows(GOOD | {"other_instruction": [7.0, 8.0]}))
    assert found["verdict"] == "not_accepted"
    assert found["reasons"] == ["other_instruction"]


def test_a_judge_with_too_few_answers_to_a_control_is_not_tested_rather_than_called_blind() -> None:
    rows = control_rows(GOOD)
    found = accept(REAL, rows[rows["control"] != "swapped"])
    assert (found["verdict"], found["reasons"], found["too_few"]) == ("not_tested", [], ["swapped"])
    assert found["controls"]["swapped"]["overall"]["verdict"] == "too_few"
    assert found["controls"]["swapped"]["categories"] == {}


def test_unreadable_controls_are_counted_and_left_out() -> None:
    found = accept(REAL, control_rows(GOOD | {"blank_edit": [0.0, NAN]}))
    blank = found["controls"]["blank_edit"]["overall"]
    assert (blank["n"], blank["scored"], blank["mean"]) == (10, 5, 0.0)
    assert found["calls"] == 40


def test_a_control_that_could_not_be_asked_costs_nothing() -> None:
    rows = control_rows(GOOD)
    rows.loc[rows["control"] == "swapped", ["state", "score"]] = ["edit_failed", NAN]
    assert accept(REAL, rows)["calls"] == 30


def test_a_judge_blind_in_one_category_is_shown_there() -> None:
    rows = control_rows({name: [0.0] * 5 + [1.0] * 5 for name in GOOD})
    rows.loc[rows["category"] == "社会", "score"] = [4.0, 5, 6, 7, 7, 8, 8, 9, 1, 0] * 4
    found = accept(REAL, rows)
    verdicts = {name: result["verdict"] for name, result in found["controls"]["swapped"]["categories"].items()}
    assert verdicts == dict.fromkeys(CATEGORIES, "told_apart") | {"社会": "not_told_apart"}
    assert found["verdict"] == "accepted"


def test_without_controls_a_judge_is_not_tested() -> None:
    assert accept(REAL, control_rows({})) == {
        "verdict": "not_tested",
        "reasons": [],
        "too_few": [],
        "calls": 0,
        "share": 0.0,
        "real": {"scored": 50, "mean": 5.5},
        "controls": {},
    }
    assert accept(REAL.iloc[:0], control_rows({}))["share"] is None
    assert accept(REAL.iloc[:0], control_rows(GOOD))["verdict"] == "not_tested"
