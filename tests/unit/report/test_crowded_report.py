"""The report of eight editors with long names, three judges of which one is blind, and failures, in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from crowded_run import EDITORS, JUDGES, write_crowded_report, write_crowded_run

pytestmark = [pytest.mark.runs, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")]

BLIND = list(JUDGES)[-1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crowded_run(tmp_path_factory.mktemp("runs") / "拥挤")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [390, 1440])
def test_a_crowded_page_fits_and_complains_about_nothing(
    browser: Browser, run: Path, language: str, width: int
) -> None:
    page = run / language / "report.html"
    if not page.exists():
        write_crowded_report(run, language, language)
    browser.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    try:
        browser.open(page)
        browser.run("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert not {event["method"] for event in browser.events} & {"Log.entryAdded", "Runtime.exceptionThrown"}
        assert browser.run("document.querySelectorAll('.forest tbody tr').length") == len(EDITORS)
        assert browser.run("document.querySelectorAll('.pick:not([hidden]) .strip button').length") == 3 * len(EDITORS)
        beside = "[...document.querySelectorAll('.forest tr .who')].map(who => who.getBoundingClientRect())"
        assert browser.run(f"{beside}.every(box => box.height < 120)")
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


def test_the_blind_judge_has_its_controls_and_no_table_of_scores(run: Path) -> None:
    write_crowded_report(run, "en", "words")
    text = (run / "words/report.md").read_text(encoding="utf-8")
    assert f"### Judge acceptance: {BLIND}" in text and f"{BLIND} is not accepted" in text
    for title in ("Scores by", "Criteria by", "Comparisons by"):
        assert f"### {title}" in text and f"### {title} {BLIND}" not in text
