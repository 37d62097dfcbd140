"""The report's page in a browser: phone, print, keyboard, contrast, and that nothing is asked of anybody."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser
from made_report import acceptance, better, cell, comparison, made_costs, made_report
from report_run import load, write_run

from editlane.report.notices import Notice
from editlane.report.write import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

EDITORS = (
    "Qwen-Image-Edit-2511",
    "FLUX.1-Kontext-dev",
    "Step1X-Edit-v1p2-preview",
    "a_name_without_any_place_to_break_it",
)
CATEGORIES = ("物理", "环境", "指代")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a matrix, folded comparisons, folded notices, wide tables and long names."""
    run = write_run(tmp_path_factory.mktemp("runs") / "demo")
    tables = load(run)
    pairs = [(a, b) for place, a in enumerate(EDITORS) for b in EDITORS[place + 1 :]]
    rows = [better(a, b) for a, b in pairs]
    rows += [comparison(a, b, category) for category in CATEGORIES for a, b in pairs]
    rows += [comparison(a, b, category) for category in CATEGORIES for a, b in pairs[::-1]]
    metric = {"mean": 0.8, "interval": [0.7, 0.9], "median": 0.8}
    kept: dict[str, Any] = {"n": 50, "measured": 50} | dict.fromkeys(("ssim", "psnr", "mae", "changed_share"), metric)
    report = made_report(
        {editor: cell(6.0 + place / 9, categories=CATEGORIES) for place, editor in enumerate(EDITORS)},
        rows,
        acceptance() | {"editors": dict.fromkeys(EDITORS, acceptance()["editors"]["A"])},
        CATEGORIES,
        items=tables.items,
        costs=made_costs(EDITORS, 2),
        preservation={editor: {"overall": kept, "categories": dict.fromkeys(CATEGORIES, kept)} for editor in EDITORS},
        provenance={"judges": {"j": {"protocol": {"name": "rubric", "version": "1", "text": "a rule\n" * 200}}}},
    )
    told = [Notice(title="A note.", lines=("one", "two"), severe=False), Notice(title="An alarm.", lines=("one",))]
    none = tables.scores.iloc[:0].astype({"editor": str, "judge": str})
    write_report(replace(report, scores=none), told, run_dir=run, out_dir=run / "report")
    return run / "report" / "report.html"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(started: Browser, page: Path) -> Browser:
    """The browser with the page freshly loaded."""
    started.open(page)
    return started


def test_nothing_is_requested_and_nothing_is_complained_about(browser: Browser) -> None:
    assert not {event["method"] for event in browser.events} & {"Log.entryAdded", "Runtime.exceptionThrown"}
    requested = [event["params"]["request"]["url"] for event in browser.events if "request" in event.get("params", {})]
    assert [url.split("/")[-1] for url in requested if not url.startswith("data:")] == ["report.html"]


def test_every_link_leads_somewhere_and_no_id_is_given_twice(browser: Browser) -> None:
    dead = (
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => decodeURIComponent(a.hash.slice(1)))"
        ".filter(id => !id.startsWith('item-') && !document.getElementById(id))"
    )
    assert browser.run(dead) == []
    ids = browser.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_a_link_to_the_numbers_of_a_chart_reaches_its_category(browser: Browser) -> None:
    browser.run("document.querySelectorAll('.panels a')[1].click()")
    assert browser.run("document.querySelector(':target').textContent.trim().slice(0, 2)") == "物理"


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_does_not_scroll_sideways(browser: Browser, page: Path, width: int) -> None:
    browser.send("Emulation.setDeviceMetricsOverride", width=width, height=740, deviceScaleFactor=1, mobile=width < 500)
    try:
        browser.open(page)
        browser.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        outside = f"[...document.querySelectorAll('.scroll')].filter(e => e.getBoundingClientRect().right > {width})"
        assert browser.run(f"{outside}.length") == 0, "what is too wide scrolls within its own region"
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


def test_regions_that_scroll_can_be_reached_and_are_named(browser: Browser) -> None:
    bad = (
        "[...document.querySelectorAll('.scroll')].filter(e => e.tabIndex !== 0 || e.role !== 'group'"
        " || !document.getElementById(e.getAttribute('aria-labelledby'))?.textContent).length"
    )
    assert browser.run("document.querySelectorAll('.scroll').length") > 5
    assert browser.run(bad) == 0


def test_the_first_tab_offers_to_skip_to_the_results(browser: Browser) -> None:
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.hash") == "#answer"
    assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_first_screen_has_the_answer(browser: Browser, page: Path, width: int, height: int) -> None:
    browser.send(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
    )
    try:
        browser.open(page)
        for what in (".notice", ".claim", ".evidence", ".figures div:last-child", ".forest tbody tr"):
            assert browser.run(f"document.querySelector('{what}').getBoundingClientRect().bottom") <= height, what
        assert browser.run("document.querySelectorAll('.forest tbody tr').length") == len(EDITORS)
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


def test_every_section_of_the_appendix_is_folded_until_a_link_leads_there(browser: Browser, page: Path) -> None:
    opened = "[...document.querySelectorAll('details.section[open]')].map(d => d.parentElement.id)"
    turn = "new Promise(next => setTimeout(next, 100))"
    assert browser.run(opened) == []
    browser.run("document.querySelector('.menu a[href=\"#trust\"]').click()")
    browser.run(turn)
    assert browser.run(opened) == ["trust"]
    browser.run("document.querySelector('#costs summary').click()")
    assert browser.run("location.hash") == "#costs"
    browser.open("about:blank")
    browser.open(page.resolve().as_uri() + "#scores-1-2")
    browser.run(turn)
    assert browser.run(opened) == ["scores"]
    assert abs(browser.run("document.querySelector('#scores-1-2').getBoundingClientRect().top")) < 300


def test_a_long_name_stays_beside_its_numbers(browser: Browser) -> None:
    over = (
        "[...document.querySelectorAll('.forest tbody tr')].filter(row => row.querySelector('.who')"
        ".getBoundingClientRect().right > row.querySelector('.macro').getBoundingClientRect().left)"
    )
    assert browser.run(f"{over}.length") == 0


def test_no_two_landmarks_have_one_name(browser: Browser) -> None:
    browser.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    roles = ("navigation", "region", "banner", "main", "contentinfo", "complementary", "form", "search")
    named = [node for node in nodes if node.get("role", {}).get("value") in roles]
    found = [(node["role"]["value"], node["name"]["value"]) for node in named]
    assert len(found) == len(set(found)) and len(found) >= 4


def test_many_editors_are_compared_in_a_matrix_and_the_rest_is_folded(browser: Browser) -> None:
    assert browser.run("document.querySelector('#said table tbody tr td:nth-of-type(2)').textContent") == "▲ +0.80"
    folded = browser.run(
        "[...document.querySelectorAll('details')].map(d => [d.open, d.firstElementChild.textContent.trim()])"
    )
    assert [False, "All 6 pairs in words"] in folded
    assert [False, "36 comparisons in the categories, 0 separable"] in folded
    assert [False, "Comparisons by j (42)"] in folded
    assert [False, "An alarm."] in folded and [False, "About this run"] in folded
    visible = "[...document.querySelectorAll('.notice')].map(n => [n.innerText.split('\\n')[0], n.checkVisibility()])"
    assert browser.run(visible) == [["An alarm.", True], ["", False]], "notes that are not severe stand in the fold"


def test_printing_opens_what_is_folded_and_closes_it_again(browser: Browser) -> None:
    browser.run("document.querySelector('details').open = true")
    browser.run(
        "void addEventListener('beforeprint', () => {"
        " window.closed = document.querySelectorAll('details:not([open])').length; })"
    )
    browser.send("Page.printToPDF")
    assert browser.run("window.closed") == 0
    assert browser.run("[...document.querySelectorAll('details')].map(details => details.open)")[:2] == [True, False]


def test_print_has_colours_and_a_size_of_its_own(browser: Browser) -> None:
    browser.send(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    try:
        style = "getComputedStyle(document.{}).{}"
        assert browser.run(style.format("body", "fontSize")) == "12.6667px"  # 9.5 pt
        assert browser.run(style.format("documentElement", "getPropertyValue('--t9')")).strip() == "#a32a1d"
    finally:
        browser.send("Emulation.setEmulatedMedia", media="", features=[])


def test_no_table_is_cut_in_print(browser: Browser) -> None:
    a4 = 703  # pixels between the margins
    browser.send("Emulation.setDeviceMetricsOverride", width=a4, height=1000, deviceScaleFactor=1, mobile=False)
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        browser.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        cut = (
            "[...document.querySelectorAll('main table')].filter(table => table.getBoundingClientRect().right"
            " > document.documentElement.clientWidth).map(table => table.getAttribute('aria-labelledby'))"
        )
        assert browser.run(cut) == []
        assert not browser.run("document.querySelector('header nav').checkVisibility()")
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")
        browser.send("Emulation.clearDeviceMetricsOverride")


def test_the_axis_is_as_wide_as_its_charts(browser: Browser, page: Path) -> None:
    """Its ends stand over those of the charts; a head that sorts would draw them together."""
    browser.send("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(page)
    left, right = browser.run(
        "(() => { const ends = [...document.querySelectorAll('.forest .ends span')]"
        ".map(e => e.getBoundingClientRect()); "
        "const chart = document.querySelector('.forest tbody svg').getBoundingClientRect(); "
        "return [ends[0].left - chart.left, chart.right - ends.at(-1).right]; })()"
    )
    browser.send("Emulation.clearDeviceMetricsOverride")
    assert 0 < left < 12
    assert 0 < right < 12


def test_a_column_of_charts_is_in_no_file(browser: Browser, page: Path) -> None:
    browser.open(page)
    head = browser.run("editlaneTables.readTable(document.querySelector('table.forest')).head")
    assert head == ["Rank", "Editor", "Macro mean, 95% interval", "Ahead in categories", "Coverage", "Per edit"]


def test_charts_stand_on_the_page_and_in_no_box(browser: Browser, page: Path) -> None:
    browser.open(page)
    frames = browser.run(
        "[...document.querySelectorAll('.panels')].map(e => getComputedStyle(e))"
        ".map(e => e.borderTopWidth + e.overflow)"
    )
    assert set(frames) == {"0pxvisible"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_editors_colour_stands_out_from_the_paper(browser: Browser, scheme: str) -> None:
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    names = ["--paper", *(f"--e{place}" for place in range(8))]
    read = "n => getComputedStyle(document.documentElement).getPropertyValue(n).trim()"
    colours = browser.run(f"{names}.map({read})")
    browser.send("Emulation.setEmulatedMedia", features=[])
    paper, *editors = map(luminance, colours)
    assert all((max(paper, one) + 0.05) / (min(paper, one) + 0.05) >= 3 for one in editors)
    assert len(set(colours)) == 9 and (paper > 0.5) == (scheme == "light")


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb as WCAG 2 defines it, 0..1."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
