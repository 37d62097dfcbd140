"""Acceptance of a judge: worked examples, and how often good and bad judges are accepted."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from editlane.core.types import ACCEPTANCE, SAME_FOR_ALL, WRONG, Control
from editlane.stats.acceptance import accept, compare_controls, compare_copies

NAN = float("nan")
CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]
REAL = np.linspace(0, 10, 50)


def test_a_control_is_missed_if_it_scores_like_the_best_three_tenths() -> None:
    found = compare_controls(REAL, [0.0] * 18 + [6.9, 7.2, 9.9], 21)
    assert (found["scored"], found["missed"], found["chance"]) == (21, 2, 0.3)
    best, others = (np.quantile(REAL, 0.7) <= REAL).sum(), 50
    table = [[best, others - best], [2, 19]]
    assert found["p"] == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)
    assert found["verdict"] == "not_told_apart"
    assert compare_controls(REAL, [0.0] * 19 + [6.9, 7.2], 21)["verdict"] == "told_apart"


def test_p_is_that_of_the_precedence_test() -> None:
    """P(no control above the r-th highest of m edits), all in random order: C(m, r) / C(m + n, r)."""
    found = compare_controls(np.arange(20), [-1.0] * 7, 7)
    order = np.array(
        [(np.sort(draw[:20])[-6] > draw[20:].max()) for draw in np.random.default_rng(0).random((20000, 27))]
    )
    assert found["chance"] == 6 / 20
    assert found["p"] == pytest.approx(order.mean(), abs=0.006)


@pytest.mark.parametrize("controls", [[], [0.0], [NAN, 0.0], [0.0] * 8])
def test_with_too_few_controls_not_even_a_perfect_judge_is_told_from_chance(controls: list[float]) -> None:
    found = compare_controls(REAL, controls, 10)
    assert (found["n"], found["verdict"]) == (10, "too_few")
    assert compare_controls([], [0.0] * 20, 20)["verdict"] == "too_few"


def test_a_judge_that_always_answers_the_same_misses_all() -> None:
    found = compare_controls(np.full(50, 7.0), np.full(20, 7.0), 20)
    assert (found["missed"], found["chance"], found["verdict"]) == (20, 1.0, "not_told_apart")


def test_where_most_edits_get_the_lowest_score_only_higher_ones_count_as_missed() -> None:
    edits = np.repeat([0.0, 8.0], [80, 20])
    found = compare_controls(edits, np.zeros(20), 20)
    assert (found["missed"], found["chance"], found["verdict"]) == (0, 0.2, "told_apart")
    assert compare_controls(edits, np.zeros(10), 10)["verdict"] == "too_few"


def test_copies_are_compared_with_their_own_edits() -> None:
    edits = np.array([3.0, 4, 5, 6, 7, 8, 9, NAN, 2, 0])
    copies = edits - np.array([1, 2, 1, 2, 1, 2, 1, 1, -1, 0])
    found = compare_copies(edits, copies, 10)
    assert (found["n"], found["scored"], found["missed"], found["chance"]) == (10, 9, 1.5, 0.5)
    test = stats.ttest_rel(edits, copies, alternative="greater", nan_policy="omit")
    assert found["p"] == pytest.approx(test.pvalue)
    assert found["verdict"] == "told_apart"
    assert compare_copies(edits, edits, 10)["verdict"] == "not_told_apart"
    assert compare_copies(edits, edits - 1, 10)["verdict"] == "told_apart"
    assert compare_copies([9.0] * 5 + [0.0] * 20, [5.0] * 5 + [0.0] * 20, 25)["verdict"] == "too_few"
    assert compare_copies([], [], 5)["verdict"] == "too_few"


Draw = Callable[[np.random.Generator, pd.DataFrame], Any]


def make_run(
    judge: Draw, editors: int = 1, fails: float = 0.3, seed: int = 0, *, each: int = 5
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make 54 edits in each of five categories and `each` controls of each kind, and let a judge score them.

    An edit that failed is worth 0..2, another 4..10. A control is worth 0..2, and the copy of a right edit 30 to 100 %
    of the edit. `judge` returns the scores of rows with the columns control (empty for an edit), worth.
    """
    rng = np.random.default_rng(seed)
    edits = pd.DataFrame(
        [(f"{name}{n}", name, f"e{k}", "") for k in range(editors) for name in CATEGORIES for n in range(54)],
        columns=["item_id", "category", "editor", "control"],
    )
    failed = rng.random(len(edits)) < fails
    edits["worth"] = edits["right"] = np.where(failed, rng.uniform(0, 2, len(edits)), rng.uniform(4, 10, len(edits)))
    number = edits["item_id"].str[2:].astype(int)

    def ask(place: int, kind: Control) -> pd.DataFrame:
        count = each * (editors if kind in SAME_FOR_ALL else 1)
        return edits[(number * 7 + 11 * place) % 54 < count].assign(control=str(kind))

    rows = [ask(place, kind) for place, kind in enumerate(ACCEPTANCE)]
    controls = pd.concat(rows, ignore_index=True)
    low, worse = rng.uniform(0, 2, len(controls)), controls["right"] * rng.uniform(0.3, 1, len(controls))
    copies = controls["control"].isin(["half_blended", "blurred"]) & (controls["right"] >= 4)
    controls["worth"] = np.where(copies, worse, low)
    for rows_ in (edits, controls):
        rows_["score"] = judge(rng, rows_)
    first = controls.groupby(["item_id", "control"])["score"].transform("first")
    controls["score"] = np.where(controls["control"].isin(list(map(str, SAME_FOR_ALL))), first, controls["score"])
    return edits, controls.assign(state="scored")


def sees(rng: np.random.Generator, rows: pd.DataFrame) -> pd.Series:
    return rows["worth"]


def blind(where: Callable[[pd.DataFrame], pd.Series]) -> Draw:
    """Sees, but gives the score of any edit where it is blind."""

    def judge(rng: np.random.Generator, rows: pd.DataFrame) -> np.ndarray:
        guesses = np.where(rng.random(len(rows)) < 0.3, rng.uniform(0, 2, len(rows)), rng.uniform(4, 10, len(rows)))
        return np.where(where(rows), guesses, rows["worth"])

    return judge


def by_brightness(rng: np.random.Generator, rows: pd.DataFrame) -> np.ndarray:
    right = (rows["right"] >= 4) & ~rows["control"].isin(list(map(str, WRONG)))
    return np.where(right, rng.uniform(4, 10, len(rows)), rows["worth"])


def share_accepted(judge: Draw, cases: int = 40, **more: Any) -> float:
    return float(
        np.mean([accept(*make_run(judge, seed=seed, **more))["verdict"] == "accepted" for seed in range(cases)])
    )


@pytest.mark.parametrize(
    ("fails", "editors"),
    [pytest.param(0.1, 1, marks=pytest.mark.runs), (0.6, 1), pytest.param(0.6, 2, marks=pytest.mark.runs)],
)
def test_a_judge_that_sees_is_accepted_while_up_to_six_tenths_of_the_edits_fail(fails: float, editors: int) -> None:
    assert share_accepted(sees, fails=fails, editors=editors) >= 0.97


@pytest.mark.parametrize(
    "judge",
    [
        blind(lambda rows: rows["control"] == rows["control"]),
        blind(lambda rows: rows["control"] == "other_instruction"),
        blind(lambda rows: rows["control"] == "source_as_edit"),
        blind(lambda rows: pd.Series(pd.util.hash_array(rows["item_id"].to_numpy(dtype=object)) % 2 == 0)),
        by_brightness,
    ],
    ids=["guesses", "blind to the instruction", "blind to unchanged edits", "right for half the items", "brightness"],
)
@pytest.mark.runs
def test_a_judge_that_does_not_see_is_rarely_accepted(judge: Draw) -> None:
    assert share_accepted(judge, cases=40) <= 0.05


def test_a_question_that_is_the_same_for_all_editors_counts_once() -> None:
    edits, controls = make_run(sees, editors=4)
    found = accept(edits, controls)
    assert found["controls"]["source_as_edit"]["n"] == 5 * 20
    assert found["controls"]["swapped"]["n"] == 5 * 5 * 4
    assert found["calls"] == 5 * (20 * 2 + 5 * 4 * 4)
    judge = blind(lambda rows: rows["control"] == "source_as_edit")
    assert share_accepted(judge, editors=8, cases=20) == 0


@pytest.mark.runs
def test_where_a_judge_is_blind_in_two_categories_it_is_accepted_in_the_others_alone() -> None:
    judge = blind(lambda rows: rows["category"].isin(CATEGORIES[:2]))
    found = [accept(*make_run(judge, seed=seed, each=7)) for seed in range(20)]
    verdicts = [[one["categories"][name]["verdict"] for name in CATEGORIES] for one in found]
    assert np.mean([one["verdict"] == "accepted" for one in found]) > 0.8
    assert np.mean(np.array(verdicts)[:, :2] == "told_apart") <= 0.05
    assert np.mean(np.array(verdicts)[:, 2:] == "told_apart") > 0.95


def test_where_a_judge_is_blind_to_one_editor_of_eight_it_is_accepted_for_the_others() -> None:
    judge = blind(lambda rows: rows["editor"] == "e3")
    found = [accept(*make_run(judge, editors=8, seed=seed)) for seed in range(5)]
    for one in found:
        told = {name for name, result in one["editors"].items() if result["verdict"] == "told_apart"}
        assert one["verdict"] == "accepted" and told == {f"e{n}" for n in range(8) if n != 3}


def test_one_control_not_told_apart_is_a_reason() -> None:
    found = accept(*make_run(blind(lambda rows: rows["control"] == "swapped")))
    assert found["verdict"] == "not_accepted"
    assert set(found["reasons"]) <= {"swapped", "together"} and found["reasons"][0] == "swapped"


def test_a_judge_with_too_few_answers_to_a_control_is_not_tested_rather_than_called_blind() -> None:
    edits, controls = make_run(sees)
    found = accept(edits, controls[controls["control"] != "swapped"])
    assert (found["verdict"], found["reasons"], found["too_few"]) == ("not_tested", [], ["swapped"])
    assert found["controls"]["swapped"]["n"] == 0


def test_tables_of_an_older_version_without_worse_copies_are_not_tested() -> None:
    edits, controls = make_run(sees)
    found = accept(edits, controls[~controls["control"].isin(["half_blended", "blurred"])])
    assert (found["verdict"], found["too_few"]) == ("not_tested", ["degraded"])


def test_controls_without_a_score_are_counted_and_left_out() -> None:
    edits, controls = make_run(sees)
    controls.loc[controls["control"] == "swapped", ["score", "state"]] = [NAN, "edit_failed"]
    controls.loc[(controls["control"] == "blank_edit") & (controls["category"] == "因果"), "score"] = NAN
    found = accept(edits, controls)
    blank = found["controls"]["blank_edit"]
    assert (blank["n"], blank["scored"]) == (25, 20)
    assert found["calls"] == len(controls) - 25
    assert found["share"] == pytest.approx(found["calls"] / len(edits))


def test_edits_of_which_it_is_not_sure_that_they_changed_are_counted() -> None:
    edits, controls = make_run(sees)
    unsure: Sequence[bool | None] = [None] * 3 + [False] * (len(edits) - 3)
    assert accept(edits.assign(unchanged=unsure), controls)["real"]["unsure"] == 3


def test_without_controls_a_judge_is_not_tested() -> None:
    edits, controls = make_run(sees)
    found = accept(edits, controls.iloc[:0])
    assert found["verdict"] == "not_tested"
    assert (found["calls"], found["categories"], found["controls"]) == (0, {}, {})
