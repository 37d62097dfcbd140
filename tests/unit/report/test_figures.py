"""The charts: there only with their data, with texts for those who do not see them, verdicts by form."""

import re
from typing import Any

import pytest
from made_report import CATEGORIES, acceptance, better, cell, comparison, made_report

from editlane.report.load import Report
from editlane.report.page.axis import fit_axis
from editlane.report.page.figure import Figure
from editlane.report.page.figures import make_figures
from editlane.report.texts import load_texts

EN = load_texts("en")
LONG = "一个非常长的编辑模型名称-它没有任何可以折断的地方-而且还要更长"


def win(a: str, b: str, rate: float, interval: list[float] | None) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "n": 40,
        "clusters": 40,
        "wins": 1,
        "ties": 0,
        "losses": 0,
        "rate": rate,
        "interval": interval,
    }


def speed(mean: float) -> dict[str, Any]:
    return {"n": 40, "clusters": 40, "mean": mean, "interval": [mean - 0.1, mean + 0.1], "devices": ["H200"]}


def full_report(names: tuple[str, ...] = ("A", "B", LONG), verdict: str = "accepted") -> Report:
    first, second, third = names
    accepted = acceptance(verdict)
    accepted["editors"] = dict.fromkeys(names, acceptance()["editors"]["A"])
    pairs = [
        better(first, second),
        comparison(second, first, "物理"),
        comparison(first, third, difference=-0.1, interval=[-0.7, 0.5]),
        comparison(second, third, verdict="too_few", interval=None),
    ]
    wins = [win(first, second, 0.8, [0.7, 0.9]), win(first, third, 0.5, [0.4, 0.6]), win(second, third, 0.2, None)]
    return made_report(
        {name: cell(7.0 - place) for place, name in enumerate(names)},
        pairs,
        accepted,
        win_rates={"definition_version": 1, "judges": {"j": wins}},
        speed={
            "definition_version": 1,
            "editors": {name: speed(1.0 + place) for place, name in enumerate(names)},
            "fronts": {"j": [first]},
        },
    )


def draw(report: Report) -> list[Figure]:
    return [figure for groups in make_figures(report, EN).values() for of_judge in groups for figure in of_judge]


def test_each_chart_is_there_and_says_in_words_what_it_shows() -> None:
    figures = draw(full_report())
    assert [figure.title for figure in figures] == [
        "Differences of macro means, by j",
        "Quality and seconds per edit, by j",
        *(f"{category}, means by j" for category in CATEGORIES),
        "Shared items won, in percent, by j",
    ]
    for figure in figures:
        assert re.match(r'<svg viewBox="[^"]+" role="img" aria-label="[^"]{30,}"', figure.svg)
        assert "nan" not in figure.svg and "inf" not in figure.svg


@pytest.mark.parametrize("verdict", ["not_accepted", "not_tested"])
def test_nothing_is_drawn_by_a_judge_that_is_not_accepted(verdict: str) -> None:
    assert draw(full_report(verdict=verdict)) == []


def test_a_report_without_the_data_has_no_chart() -> None:
    assert draw(made_report({"A": cell(6.0)}, [], acceptance(), ["物理"])) == []


def test_the_form_tells_the_verdict_and_no_difference_is_negative() -> None:
    forest = draw(full_report())[0].svg
    assert (forest.count('class="mean"'), forest.count("<circle"), forest.count('<rect class="hollow"')) == (1, 1, 1)
    assert f"{LONG} minus A: +0.10 [−0.50, 0.70], n = 50, not separable" in forest


def test_with_many_editors_only_pairs_with_the_best_are_drawn() -> None:
    names = [f"e{place}" for place in range(8)]
    pairs = [comparison(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    accepted = acceptance() | {"editors": dict.fromkeys(names, acceptance()["editors"]["A"])}
    report = made_report({name: cell(9.0 - place) for place, name in enumerate(names)}, pairs, accepted)
    forest = draw(report)[0]
    assert forest.svg.count(" minus ") == 7 and "only the pairs with e0 are drawn" in forest.note


def test_a_win_in_one_direction_is_a_loss_in_the_other() -> None:
    wins = draw(full_report())[-1].svg
    cells = re.findall(r'class="(cell(?: sure)?)"[^>]*>(\d+)<title>([^<]*)</title>', wins)
    assert [(kind, value) for kind, value, _ in cells] == [
        *(("cell sure", "80"), ("cell", "50"), ("cell sure", "20"), ("cell", "20"), ("cell", "50"), ("cell", "80")),
    ]
    assert cells[2][2] == "B over A: 20.0% [10.0, 30.0], n = 40"
    assert "too few source images" in cells[3][2]


def test_the_front_is_marked_by_form_and_other_devices_are_told() -> None:
    report = full_report()
    figure = draw(report)[1]
    assert (figure.svg.count('class="mean"'), figure.svg.count("<circle")) == (2, 4), "in the chart and below it"
    report.numbers["speed"]["editors"]["B"]["devices"] = ["A100"]
    assert "cannot be compared: A100, H200" in draw(report)[1].note


def test_an_editor_of_which_the_judge_is_not_believed_is_in_no_chart_of_means() -> None:
    report = full_report(("A", "B", "unbelieved"))
    del report.numbers["acceptance"]["j"]["editors"]["unbelieved"]
    figures = draw(report)[1:-1]
    assert len(figures) == 3
    assert not [figure.title for figure in figures if "unbelieved" in figure.svg or "--e2" in figure.svg]


def test_names_are_shortened_and_never_run_into_numbers() -> None:
    for figure in draw(full_report()):
        shown = re.sub("<title>.*?</title>", "", figure.svg)
        assert LONG not in shown.split(">", 1)[1] and LONG in figure.svg


def test_a_name_is_no_markup() -> None:
    for figure in draw(full_report(("<b>A</b>", "B", "C"))):
        assert "<b>" not in figure.svg and "&lt;b&gt;" in figure.svg


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([0.0, 2.3], [0, 1, 2, 3]), ([-0.04, 0.05], [-0.04, -0.02, 0, 0.02, 0.04]), ([5.0], [5])],
)
def test_axes_hold_all_values_between_round_ends(values: list[float], ticks: list[float]) -> None:
    axis = fit_axis(values, 0, 100, (-10, 10))
    assert axis.low <= min(values) and axis.high >= max(values) and axis.high > axis.low
    assert set(ticks) <= set(axis.list_ticks())
    assert 2 <= len(axis.list_ticks()) <= 11
