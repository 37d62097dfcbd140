"""Where the time goes: bars, table and sentence of the report, from the cost sheet."""

import re
from typing import Any

import pytest
from made_report import cell, made_costs, made_report

from editlane.lanes.costs import PARTS
from editlane.report.load import Report
from editlane.report.markdown import to_markdown
from editlane.report.page.charts import WIDTH
from editlane.report.texts import LANGUAGES, load_texts
from editlane.report.time_breakdown import make_time_tables, summarise_time

EN = load_texts("en")


def made(editors: tuple[str, ...] = ("甲", "乙"), **more: Any) -> Report:
    return made_report({editor: cell() for editor in editors}, costs=made_costs(editors, 2, **more))


def test_the_sentence_names_the_largest_part_where_most_of_it_is_and_what_changes_it() -> None:
    spent = summarise_time(made(lost_seconds=300.0, held_seconds=2700.0), EN)
    assert spent is not None
    assert spent.sentence == (
        "Of 4.50 h on devices, 85.2% went into items; without loading and lost time it was 98.3%. "
        "The largest other part is “Lost”, 11.1% of all, most of it in Editing · 甲. Look for the cause in the logs of "
        "the lanes with more than one process. A lane without progress is stopped after `lane_timeout`."
    )


def test_a_run_that_lost_nothing_is_told_nothing() -> None:
    nothing = dict.fromkeys(("load_seconds", "idle_seconds", "imports_seconds", "reading_seconds"), 0.0)
    nothing |= dict.fromkeys(("transfer_seconds", "warmup_seconds", "input_seconds", "output_seconds"), 0.0)
    spent = summarise_time(made(busy_seconds=2400.0, **nothing), EN)
    assert spent is not None
    assert spent.sentence == (
        "Of 4.00 h on devices, 100.0% went into items; without loading and lost time it was 100.0%."
    )
    assert spent.legend == [(0, "Items")]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("part", PARTS[1:])
def test_every_part_has_a_name_and_an_advice(part: str, language: str) -> None:
    t = load_texts(language)
    column = {"starting": "load_seconds", "other": "idle_seconds"}.get(part, f"{part}_seconds")
    spent = summarise_time(made(**{column: 9000.0}, held_seconds=12000.0), t)
    assert spent is not None
    assert t(f"time.part.{part}") in spent.sentence
    assert spent.sentence.endswith(t(f"time.advice.{part}"))


def test_a_bar_is_as_wide_as_its_panel_and_says_what_each_part_is() -> None:
    spent = summarise_time(made(), EN)
    assert spent is not None
    assert [name for name, _ in spent.panels] == ["Editing", "Judging by j", "All"]
    bars = spent.panels[0][1].split("</text>")
    shares = re.findall(r'class="part" x="([\d.]+)" y="\d+" width="([\d.]+)".*?<title>(.*?)</title>', bars[2])
    assert float(shares[-1][0]) + float(shares[-1][1]) == pytest.approx(WIDTH, abs=0.2)
    assert [title for _, _, title in shares] == [
        *("Items 95.8%", "Imports 0.8%", "Reading 0.6%", "Transfer 0.4%", "Warm-up 0.2%", "Starting 0.4%"),
        *("Input 0.5%", "Output 0.3%", "Other idle 0.8%"),
    ]


def test_the_table_has_the_seconds_of_one_loading_and_the_shares() -> None:
    (table,) = make_time_tables(made(), EN)
    assert table.columns[:3] == ("Loading once, s", "All, h", "Items")
    line = table.groups[0].lines[0]
    assert (line.name, line.cells[:3], line.cells[-1]) == ("甲", ("60.0", "1.33", "95.8%"), "98.3%")
    (table,) = make_time_tables(made(died=1, attempts=2), EN)
    assert table.groups[0].lines[0].cells[0] == "60.0"


@pytest.mark.parametrize(("language", "title"), [("en", "Where the time goes"), ("zh", "时间去向")])
def test_page_and_markdown_show_the_section(language: str, title: str) -> None:
    t, report = load_texts(language), made()
    spent = summarise_time(report, t)
    assert spent is not None
    text = to_markdown(report, [], t)
    assert f"## {title}\n" in text
    assert spent.sentence.replace("`", "\\`").replace("_", "\\_") in text


def test_a_run_without_costs_has_no_such_section() -> None:
    report = made_report()
    assert summarise_time(report, EN) is None
    assert make_time_tables(report, EN) == []
    assert "Where the time goes" not in to_markdown(report, [], EN)
