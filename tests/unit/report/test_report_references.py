"""The further images of an item on the report's page: on its card, above its pictures, enlarged, in two languages."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from gallery_page import make_report, write_image, write_page

from editlane.report.load import Report
from editlane.report.page.gallery import make_gallery

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

IDS = {"en": "Reference (image 2) of 树-1", "zh": "树-1 的参考图（图 2）"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "演示"


@pytest.fixture(scope="module")
def report(run: Path) -> Report:
    """The first item has two references, the third one, which changed since it was recorded."""
    found = make_report(run)
    hashes = {name: write_image(run / f"sources/{name}.png", name) for name in ("navy", "gold", "lime")}

    def refer(*names: str) -> list[dict[str, object]]:
        return [{"path": f"sources/{name}.png", "sha256": hashes[name], "width": 48, "height": 32} for name in names]

    write_image(run / "sources/lime.png", "black")
    found.items["references"] = [refer("navy", "gold"), None, refer("lime"), None, None]
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def test_references_stand_after_the_edits_and_only_where_there_are_some(report: Report, run: Path) -> None:
    gallery = make_gallery(report, run, run / "report")
    assert gallery.columns == 1 + 2 + 2
    block = gallery.blocks["items-0"]
    assert '"sources/navy.png",null,"sources/lime.png",null,null' in block
    assert '"sources/gold.png",null,null,null,null' in block
    assert '"changed"' in block


@needs_browser
@pytest.mark.parametrize(("limit", "language"), [(5, "en"), (4, "en"), (5, "zh")])
def test_a_reader_sees_every_image_of_an_item(
    report: Report, run: Path, browser: Browser, limit: int, language: str
) -> None:
    out = run / f"{language}-{limit}"
    page = write_page(report, make_gallery(report, run, out, limit), out, language)
    browser.open("about:blank")
    browser.open(page.resolve().as_uri())
    browser.run("(async () => { while (document.getElementById('cards').ariaBusy !== 'false')"
                " await new Promise((next) => setTimeout(next, 10)); })()")  # fmt: skip
    captions = "[...document.querySelectorAll('#cards .item')].map(c => c.querySelectorAll('figcaption').length)"
    assert browser.run(captions) == [5, 3, 4, 3, 3]
    alts = "[...document.querySelector('#cards .item').querySelectorAll('img')].map(i => i.alt)"
    assert browser.run(alts)[1] == IDS[language]
    shown = "[...document.querySelectorAll('.pick[data-kind=best] .references img')].map(i => i.alt)"
    assert browser.run(shown)[0] == IDS[language]
    browser.run("document.querySelectorAll('#cards .item .zoom')[1].click()")
    enlarged = "[...document.querySelectorAll('#large figure img')].map(i => i.alt)"
    assert browser.run(enlarged)[1] == IDS[language], "beside the source"
    exceptions = [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]
    assert not exceptions
