"""Tables of the page in a browser: sorted by their heads, taken away as CSV and LaTeX."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from report_run import load, write_run

from editlane.report.exports import csv_text, latex
from editlane.report.sections import make_sections
from editlane.report.texts import load_texts
from editlane.report.write import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

SCORES = {
    ("=a|b", "j"): [8.0, 4.0, 9.0, 6.25, 3.0],
    ("b_%", "j"): [5.0, 1.0, ("edit_failed", "oom"), 2.0, ("edit_refused", "refused")],
    ("c--c", "j"): [("edit_failed", "oom"), 7.0, ("edit_failed", "oom"), 9.0, 10.0],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "demo", SCORES)  # type: ignore[arg-type]
    write_report(load(run), [], run_dir=run, out_dir=run / "report")
    return run


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(started: Browser, run: Path) -> Browser:
    """The browser with the page freshly loaded and unfolded."""
    started.open(run / "report" / "report.html")
    started.run("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
    return started


def read_rows(browser: Browser, section: str = "scores") -> list[list[str]]:
    """Return the names in each group of a section's first table, in the order shown."""
    script = (
        f"[...document.querySelector('#{section} table').tBodies].map(body => [...body.rows]"
        ".map(row => row.querySelector('[scope=row]').textContent.trim()))"
    )
    rows: list[list[str]] = browser.run(script)
    return rows


def press_head(browser: Browser, title: str, section: str = "scores") -> str | None:
    """Press a column head as a user does, and return the order that it then tells."""
    sort: str | None = browser.run(
        f"(() => {{ const head = [...document.querySelectorAll('#{section} table th')]"
        f".find(e => e.textContent.trim() === {json.dumps(title)}); head.querySelector('button').click(); "
        "return head.getAttribute('aria-sort'); })()"
    )
    return sort


def test_a_head_sorts_each_group_by_numbers_and_a_third_press_restores_the_order(browser: Browser) -> None:
    before = read_rows(browser)
    assert before[0] == ["=a|b", "b_%", "c--c"]
    assert press_head(browser, "Mean") == "descending"
    assert read_rows(browser)[0] == ["c--c", "=a|b", "b_%"], "8.67, 6.05, 2.67"
    assert read_rows(browser)[1] == ["c--c", "=a|b", "b_%"], "7.00, 6.00, 3.00 in 物理"
    assert press_head(browser, "Mean") == "ascending"
    assert read_rows(browser)[0] == ["b_%", "=a|b", "c--c"]
    assert press_head(browser, "Mean") is None
    assert read_rows(browser) == before


def test_what_has_no_number_is_last_in_both_directions(browser: Browser) -> None:
    for _ in range(2):
        press_head(browser, "Std")
        assert read_rows(browser)[1][-1] == "c--c", "one score in 物理 has no spread"
    groups = browser.run("[...document.querySelectorAll('#scores table tbody')].map(b => b.rows[0].cells[0].scope)")
    assert set(groups) == {"rowgroup"}, "the name of the group stays with its first row"


def test_names_sort_from_a_and_only_one_column_is_sorted(browser: Browser) -> None:
    press_head(browser, "Mean")
    assert press_head(browser, "Editor") == "ascending"
    assert browser.run("document.querySelectorAll('#scores [aria-sort]').length") == 1


def test_heads_are_pressed_with_the_keyboard(browser: Browser) -> None:
    browser.run("document.querySelector('#scores table th.cell button').focus()")
    browser.press(" ", 32)
    assert browser.run("document.activeElement.closest('th').getAttribute('aria-sort')") == "descending"


def test_exports_are_those_of_the_files_to_the_letter(browser: Browser, run: Path) -> None:
    report, t = load(run), load_texts("en")
    shown = {
        f"{section.name}-{place}": table
        for section in make_sections(report, t)
        for place, table in enumerate(section.tables, start=1)
    }
    assert len(shown) > 5
    for name, table in shown.items():
        find = f"(() => {{ const table = document.querySelector('table[aria-labelledby={json.dumps(name)}]'); "
        read = find + "return editlaneTables.toCsv(editlaneTables.readTable(table)); })()"
        assert browser.run(read) == csv_text.format_table(table), name
        title, numeric = json.dumps(table.title), json.dumps(table.numeric)
        read = find + f"return editlaneTables.toLatex({title}, editlaneTables.readTable(table), {numeric}); }})()"
        assert browser.run(read) == latex.format_table(table), name


def test_a_drawn_column_is_neither_sorted_nor_exported(browser: Browser) -> None:
    find = "const table = document.querySelector('table.forest'); "
    assert browser.run(f"(() => {{ {find} return table.querySelectorAll('th.axis button').length; }})()") == 0
    head = browser.run(f"(() => {{ {find} return editlaneTables.toCsv(editlaneTables.readTable(table)); }})()")
    names = head.split("\r\n")[0].split(",")
    assert names[:3] == ["Rank", "Editor", '"Macro mean'] and "score" not in head.split("\r\n")[0]


def test_a_press_saves_the_table_without_a_request(browser: Browser, tmp_path: Path) -> None:
    browser.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    browser.run("document.querySelector('#scores .exports button').click()")
    assert browser.run(
        "new Promise(done => setTimeout(() => done(document.querySelectorAll('#scores .exports button').length), 500))"
    )
    (saved,) = tmp_path.glob("*.csv")
    assert saved.name == "scores-1.csv"
    assert saved.read_text(encoding="utf-8-sig").startswith("Category,Editor,Coverage,Mean,")
    assert not {event["method"] for event in browser.events} & {"Log.entryAdded", "Runtime.exceptionThrown"}


def test_a_press_copies_latex_and_says_so(browser: Browser) -> None:
    browser.run(
        "(() => { window.copied = null; document.addEventListener('copy', "
        "event => { window.copied = document.activeElement.value ?? ''; }); })()"
    )
    said = browser.send(
        "Runtime.evaluate",
        expression="(async () => { const button = document.querySelectorAll('#scores .exports button')[1]; "
        "button.click(); await new Promise(done => setTimeout(done, 100)); return button.textContent; })()",
        awaitPromise=True,
        returnByValue=True,
        userGesture=True,
    )
    assert said["result"]["value"] == "LaTeX – copied"
    assert browser.run("window.copied").startswith("% ")


def test_every_control_is_named_after_its_table_and_is_not_printed(browser: Browser) -> None:
    names = browser.run("[...document.querySelectorAll('.exports button')].map(e => e.getAttribute('aria-label'))")
    assert len(names) == len(set(names)) and "LaTeX: Scores by j" in names
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.run("[...document.querySelectorAll('.exports')].filter(e => e.checkVisibility()).length") == 0
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")


def test_long_names_stay_within_a_phone_and_apart_from_numbers(started: Browser, tmp_path: Path) -> None:
    names = ["a_name_without_any_place_to_break_it_" * 3, "千问图像编辑模型超长名称" * 5]
    run = write_run(tmp_path / "demo", {(name, "j"): [8.0, 4.0, 9.0, 6.25, 3.0] for name in names})
    write_report(load(run), [], run_dir=run, out_dir=run / "report")
    started.send("Emulation.setDeviceMetricsOverride", width=390, height=740, deviceScaleFactor=1, mobile=True)
    try:
        started.open(run / "report" / "report.html")
        assert started.run("document.documentElement.scrollWidth") == 390
        overlapping = (
            "[...document.querySelectorAll('main tbody th[scope=row]')].filter(name => name.checkVisibility() && "
            "name.scrollWidth > name.clientWidth + 1).length"
        )
        assert started.run(overlapping) == 0
    finally:
        started.send("Emulation.clearDeviceMetricsOverride")
