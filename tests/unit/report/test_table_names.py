"""Files of tables are named after what they show, whatever the language; small figures keep their digits."""

import pytest
from made_report import acceptance, cell, comparison, made_costs, made_report

from editlane.report.cells import format_seconds
from editlane.report.page.highlights import find_compared, find_lead
from editlane.report.sections import make_sections
from editlane.report.summary import list_facts
from editlane.report.texts import LANGUAGES, load_texts


@pytest.mark.parametrize("language", LANGUAGES)
def test_tables_that_are_alone_in_their_section_need_no_number(language: str) -> None:
    report = made_report(costs=made_costs("AB", 1), provenance={"dataset": {"n": 1}, "editors": {"A": {"seed": 1}}})
    sections = {section.name: section for section in make_sections(report, load_texts(language))}
    assert [table.about for table in sections["provenance"].tables] == [("editors",), ("run",)]


def test_seconds_of_a_fast_model_are_not_zero() -> None:
    assert [format_seconds(value) for value in (12.345, 0.1, 0.0049, None)] == ["12.35", "0.10", "0.005", "–"]


def test_pictures_are_picked_by_the_judge_of_the_result() -> None:
    report = made_report({"A": cell(6.8), "B": cell(6.0)}, [comparison("A", "B")])
    for name in ("comparisons", "failures_as_zero", "acceptance"):
        report.numbers[name]["panel"] = report.numbers[name]["j"]
    report.judges.append("panel")
    assert (find_lead(report), find_compared(report)) == (0, [0, 1])
    report.numbers["provenance"] = {"panels": {"panel": {}}}
    assert find_lead(report) == 1, "an accepted panel stands first"
    assert find_compared(report) == [0], "a panel does not dispute its own members"
    report.numbers["acceptance"]["panel"] = acceptance("not_accepted")
    assert (find_lead(report), find_compared(report)) == (0, [0])


def test_the_head_counts_source_images() -> None:
    report = made_report()
    report.items["source_sha256"] = ["a", "b"] * (len(report.items) // 2)
    facts = {fact.label: fact.name for fact in list_facts(report, load_texts("en"))}
    assert (facts["Items"], facts["Source images"]) == ("100", "2")
