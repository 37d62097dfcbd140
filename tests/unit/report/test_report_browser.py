"""The report's gallery in a browser, as one file and with a folder beside the page: filters, search, sorting, pages,
enlarged pictures, links to items, print, phone, no request to anywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from browser import CHROMIUM, Browser
from gallery_page import ITEMS, make_report, write_page

from editlane.report.page.gallery import make_gallery

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

ALL = [item[0] for item in ITEMS]
SETTLED = """(async () => {
  const cards = document.getElementById('cards');
  while (cards.ariaBusy !== 'false') await new Promise((next) => setTimeout(next, 10));
})()"""


class Page:
    """The page in the browser, and what a reader does with it."""

    def __init__(self, browser: Browser, file: Path) -> None:
        self.browser, self.file = browser, file
        self.run, self.send = browser.run, browser.send

    def open(self, fragment: str = "") -> None:
        self.browser.open("about:blank")
        self.browser.open(self.file.resolve().as_uri() + fragment)
        self.run(SETTLED)

    def shown(self) -> list[str]:
        self.run(SETTLED)
        return self.browser.list_shown()

    def choose(self, control: str, value: str) -> list[str]:
        self.browser.choose(control, value)
        return self.shown()

    def press(self, key: str, code: int) -> None:
        self.browser.press(key, code)
        self.run(SETTLED)

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.run(SETTLED)

    def change(self, selector: str, value: str) -> None:
        self.run(
            f"(() => {{ const control = document.querySelector({json.dumps(selector)}); control.value = '{value}';"
            " control.dispatchEvent(new Event('change', { bubbles: true })); })()"
        )
        self.run(SETTLED)

    def text(self, selector: str) -> str:
        found: str = self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return found

    def load_pictures(self) -> list[int]:
        """Load those that were not scrolled to, too; their widths. One that cannot be shown gives way to a text."""
        self.run(
            "(async () => { for (const image of document.images) image.loading = 'eager';"
            " while ([...document.images].some(image => !image.naturalWidth))"
            " await new Promise(next => setTimeout(next, 10)); })()"
        )
        widths: list[int] = self.run("[...document.images].map(image => image.naturalWidth)")
        return widths

    def photograph(self, selector: str) -> str:
        """The first such element as it is painted, with what is painted over it."""
        box = self.run(
            f"(({{ x, y, width, height }}) => ({{ x, y, width, height, scale: 1 }}))"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        taken: str = self.send("Page.captureScreenshot", clip=box)["data"]
        return taken

    def until(self, condition: str) -> bool:
        """Whether a JavaScript condition comes true within seconds; events of the browser take their time."""
        found: bool = self.run(
            f"(async () => {{ for (let turn = 0; turn < 500; turn++) {{ if ({condition}) return true;"
            " await new Promise(next => setTimeout(next, 10)); } return false; })()"
        )
        return found

    def complaints(self) -> list[Any]:
        return [
            event for event in self.browser.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
        ]

    def requests(self) -> set[str]:
        events = (event["params"] for event in self.browser.events)
        return {event["request"]["url"] for event in events if "request" in event}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page as one file, one with a folder beside it, and a Chinese one, of the same run."""
    run = tmp_path_factory.mktemp("runs") / "演示 1"
    report = make_report(run)
    return {
        name: write_page(report, make_gallery(report, run, run / name, limit), run / name, language)
        for name, limit, language in (("file", 5, "en"), ("folder", 4, "en"), ("chinese", 4, "zh"))
    }


@pytest.fixture(params=["file", "folder"])
def page(request: pytest.FixtureRequest, browser: Browser, files: dict[str, Path]) -> Page:
    """Either page, freshly loaded."""
    page = Page(browser, files[request.param])
    page.open()
    return page


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 45 items; the later, the better."""
    run = tmp_path_factory.mktemp("runs") / "many"
    items = [(f"item-{place}", "物理", f"第 {place} 条", "zh", "sky") for place in range(45)]
    report = make_report(run, {("a", "j"): [place / 5 for place in range(45)]}, items)
    return write_page(report, make_gallery(report, run, run / "report"), run / "report")


def test_a_category_hides_the_items_of_the_others(page: Page) -> None:
    assert page.shown() == ALL
    assert page.text("#shown") == "1–5 of 5 items"
    assert page.choose("category", "0") == ["树-1", "tree 2"]
    assert page.text("#shown") == "1–2 of 2 that match; 5 items in all"
    assert page.choose("category", "") == ALL


def test_a_state_shows_the_items_that_have_a_row_in_it(page: Page) -> None:
    assert page.choose("state", "edit_refused") == ["bold-5"]
    assert page.choose("state", "unchanged") == ["tree 2"]
    assert page.choose("state", "failed") == ["tree 2", "cat%3", "broken-4", "bold-5"]
    assert page.choose("category", "1") == ["cat%3", "broken-4"]
    assert page.choose("state", "edit_refused") == []
    assert page.text("#shown") == "None of 5 items matches."


def test_an_editor_hides_the_edits_of_the_others_and_states_are_its_own(page: Page) -> None:
    page.choose("editor", "0")
    assert page.text(".item").count("says") == 2
    assert page.run("document.querySelectorAll('.item:first-child figure').length") == 2
    assert page.choose("state", "failed") == ["tree 2", "broken-4"]
    assert page.choose("state", "unchanged") == []
    page.choose("editor", "1")
    assert page.shown() == ["tree 2"]


def test_the_search_finds_every_word_in_any_script(page: Page) -> None:
    assert page.choose("text", "帽子") == ["cat%3"]
    assert page.choose("text", "ＮＩＧＨＴ day") == ["tree 2"]
    assert page.choose("text", "<script>") == ["bold-5"]
    assert page.choose("text", "树-1") == ["树-1"]
    assert page.choose("text", "day 帽子") == []
    assert page.choose("text", "  ") == ALL


def test_answers_and_errors_are_searched_where_they_lie_in_the_page(page: Page) -> None:
    one_file = page.file.parent.name == "file"
    assert page.choose("text", "says 影子不对") == ([item for item in ALL if item != "broken-4"] if one_file else [])
    assert page.choose("text", "内存不足 refused") == (["bold-5"] if one_file else [])
    placeholder = page.run("document.querySelector('[type=search]').placeholder")
    assert placeholder == ("instruction, item, answer, error" if one_file else "instruction, item")


def test_sorting_by_a_score_puts_items_without_one_last_both_ways(page: Page) -> None:
    page.choose("sort", "score")
    assert page.choose("of", "0") == ["bold-5", "tree 2", "树-1", "cat%3", "broken-4"]
    assert page.choose("order", "-1") == ["cat%3", "树-1", "tree 2", "bold-5", "broken-4"]
    assert page.choose("sort", "") == ALL


def test_sorting_by_a_criterion_and_by_a_difference_of_two_editors(page: Page) -> None:
    """A criterion is one more than its score in these items."""
    page.choose("sort", "criterion-0")
    assert page.choose("of", "0") == ["bold-5", "tree 2", "树-1", "cat%3", "broken-4"]
    assert "criterion: category · a · j 4.00" in page.text(".item")
    assert page.choose("minus", "1") == ["tree 2", "树-1", "cat%3", "broken-4", "bold-5"], "only two have both"
    page.choose("sort", "score")
    page.choose("judge", "1")
    page.choose("of", "1")
    page.choose("minus", "0")
    assert "score · b − a · k −6.00" in page.text(".item")
    assert page.shown()[0] == "树-1"


def test_what_is_chosen_stands_in_the_address_and_survives_a_reload(page: Page) -> None:
    page.choose("category", "1")
    page.choose("state", "failed")
    page.choose("sort", "score")
    page.choose("of", "1")
    page.choose("order", "-1")
    shown, address = page.shown(), page.run("location.hash")
    assert address == "#gallery?category=%E7%8E%AF%E5%A2%83&state=failed&sort=score&of=b&order=-1"
    page.open(address)
    assert page.until(f"document.querySelectorAll('.item').length === {len(shown)}")
    assert page.shown() == shown and page.run("location.hash") == address
    assert page.run("document.querySelector('[name=of]').checkVisibility()")
    page.run("location.hash = '#gallery?text=bold&category=none'")
    assert page.until("document.querySelectorAll('.item').length === 1")
    assert page.shown() == ["bold-5"], "a name that is no category filters nothing"
    page.click("#all-items")
    assert page.shown() == ALL and page.run("location.hash") == "#gallery"


def test_j_and_k_move_from_item_to_item(page: Page) -> None:
    focused = "document.activeElement.closest('.item')?.id"
    for key, code, item in (("j", 74, "树-1"), ("j", 74, "tree 2"), ("j", 74, "cat%3"), ("k", 75, "tree 2")):
        page.press(key, code)
        assert page.run(focused) == f"item-{item}"
    page.press("Enter", 13)
    assert page.run("document.getElementById('large').open")
    page.press("Escape", 27)
    assert page.until("!document.getElementById('large').open")
    page.press("/", 191)
    assert page.run("document.activeElement.name") == "text"
    page.press("j", 74)
    assert page.run("document.activeElement.name") == "text", "letters in a field are text"


def test_a_slider_lays_an_edit_over_its_source(page: Page) -> None:
    page.load_pictures()
    page.click(".item figure:nth-child(2) .zoom")
    page.click("#large [name=slide]")
    at = "getComputedStyle(document.querySelector('#large .slider')).getPropertyValue('--at')"
    assert page.run(at) == "50%" and page.run("document.querySelectorAll('#large figure').length") == 1
    page.run("document.querySelector('#large .slider input').focus()")
    page.press("ArrowRight", 39)
    assert page.run(at) == "51%" and page.text("#large figcaption").startswith("Edit of 树-1 by a")
    page.press("s", 83)
    assert page.run("document.querySelectorAll('#large figure').length") == 2


def test_a_slider_follows_the_mouse(page: Page) -> None:
    page.load_pictures()
    page.run("document.querySelector('#pictures .slider').scrollIntoView()")
    slider = "document.querySelector('#pictures .slider')"
    x, y, width, height = page.run(
        f"(({{ x, y, width, height }}) => [x, y, width, height])({slider}.getBoundingClientRect())"
    )
    place = {"x": x + width / 4, "y": y + height / 2, "button": "left", "clickCount": 1}
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, **place)
    assert page.until(f"Math.abs(parseFloat({slider}.style.getPropertyValue('--at')) - 25) < 3")


def test_pictures_show_every_edit_of_an_item_side_by_side(page: Page) -> None:
    assert page.run("[...document.querySelectorAll('.pick')].map(p => [p.dataset.kind, p.hidden])") == [
        ["best", False],
        ["worst", False],
        ["disputed", False],
    ]
    first = ".pick[data-kind=best]"
    assert page.text(f"{first} h4") == "把天空换成日落"
    buttons = f"[...document.querySelectorAll('{first} .strip button')].map(b => [b.textContent, b.ariaPressed])"
    assert page.run(buttons) == [["a8.00", "true"], ["b5.00", "false"]]
    page.click(f"{first} .strip button:nth-child(2)")
    assert page.run(buttons) == [["a8.00", "false"], ["b5.00", "true"]]
    assert page.text(f"{first} .view figcaption").startswith("b")


def test_a_printed_slider_shows_both_pictures(page: Page) -> None:
    page.send("Emulation.setEmulatedMedia", media="print")
    try:
        boxes = "[...document.querySelectorAll('#pictures .slider')[0].querySelectorAll('img')]"
        (_, end), (start, _) = page.run(
            f"{boxes}.map(i => i.getBoundingClientRect()).map(({{ left, right }}) => [left, right])"
        )
        assert end <= start
        assert page.run(f"{boxes}.map(i => getComputedStyle(i).clipPath)") == ["none", "none"]
    finally:
        page.send("Emulation.setEmulatedMedia", media="")


def test_sorting_by_disagreement_between_judges_takes_the_editor_they_differ_most_on(page: Page) -> None:
    assert page.choose("sort", "judges") == ["树-1", "tree 2", "cat%3", "bold-5", "broken-4"]
    assert page.run("document.querySelector('[name=order]').value") == "-1"
    assert "disagreement between judges 4.00" in page.text(".item")
    assert page.choose("order", "1") == ["bold-5", "tree 2", "cat%3", "树-1", "broken-4"]
    # One judge has no score of the second item's edit by this editor, so there is nothing to differ.
    assert page.choose("editor", "0") == ["bold-5", "树-1", "cat%3", "tree 2", "broken-4"]


def test_sorting_by_disagreement_between_editors_needs_two_scores(page: Page) -> None:
    assert page.choose("sort", "editors") == ["tree 2", "树-1", "cat%3", "broken-4", "bold-5"]
    assert "disagreement between editors · j 5.00" in page.text(".item")
    assert page.choose("order", "1") == ["树-1", "tree 2", "cat%3", "broken-4", "bold-5"]


def test_sorting_by_uncertainty_takes_the_least_certain_answer(page: Page) -> None:
    assert page.choose("sort", "uncertainty") == ["cat%3", "树-1", "tree 2", "bold-5", "broken-4"]
    assert "uncertainty 0.90" in page.text(".item")
    assert page.choose("editor", "1") == ["树-1", "tree 2", "cat%3", "broken-4", "bold-5"]


def test_a_card_says_in_words_what_failed_and_what_is_unchanged(page: Page) -> None:
    page.load_pictures()
    tree, cat, broken = (page.text(f".item:nth-child({place})") for place in (2, 3, 4))
    assert "failed" in tree and "judge unreadable" in tree and tree.count("unchanged") == 2
    assert "edit failed" in cat and cat.count("oom: because of edit_failed") == 1
    assert "unchanged" not in cat and "category 10.00\nentropy 0.90" in cat
    assert broken.count("source unreadable") == 1 + 2 + 4
    assert "failed" not in page.text(".item").split("\n")


def test_every_picture_shows(page: Page) -> None:
    assert set(page.load_pictures()) == {48}
    assert page.run("document.querySelectorAll('#cards img').length") == 10


def test_a_click_enlarges_an_edit_beside_its_source_and_escape_gives_the_focus_back(page: Page) -> None:
    page.load_pictures()
    captions = "[...document.querySelectorAll('#large figcaption')].map(e => e.textContent.split(' · ')[0])"
    page.click('[id="item-cat%3"] figure:nth-child(2) .zoom')
    assert page.run("document.getElementById('large').open")
    assert page.run(captions) == ["Source of cat%3", "Edit of cat%3 by a"]
    assert page.text("#large-title") == "给猫戴上帽子"
    assert page.text("#large strong") == "9.00"
    link = page.run("document.querySelector('#large figure:nth-child(2) a').href")
    assert link.endswith("/%E6%BC%94%E7%A4%BA%201/a/images/%E7%8E%AF%E5%A2%83/cat%253.png")
    page.press("ArrowRight", 39)
    assert page.run(captions) == ["Source of bold-5"]
    page.press("ArrowLeft", 37)
    page.press("ArrowLeft", 37)
    assert page.run(captions) == ["Source of cat%3"]
    page.press("Escape", 27)
    assert not page.run("document.getElementById('large').open")
    assert page.until("document.activeElement.querySelector('img')?.alt === 'Source of cat%3'")


def test_a_full_size_link_leads_to_the_file(page: Page) -> None:
    page.click(".item:nth-child(3) figure:nth-child(2) .zoom")
    page.browser.open(page.run("document.querySelector('#large figure:nth-child(2) a').href"))
    assert page.run("[document.contentType, document.images[0].naturalWidth]") == ["image/png", 48]


@pytest.mark.parametrize("name", ["file", "folder"])
@pytest.mark.parametrize("item", ALL[:3])
def test_a_link_to_an_item_shows_it_also_where_a_filter_hides_it(
    browser: Browser, files: dict[str, Path], name: str, item: str
) -> None:
    page = Page(browser, files[name])
    page.open("#item-" + quote(item))
    assert page.until(f"document.activeElement.id === 'item-{item}'")
    page.choose("text", "bold")
    page.click("#link")
    assert page.until("document.activeElement.id === 'item-树-1'")
    assert page.shown() == ALL
    assert page.run("document.activeElement.getBoundingClientRect().top") < 200


def test_pages_are_turned_by_button_number_and_key(browser: Browser, many: Path) -> None:
    page = Page(browser, many)
    page.open()
    disabled = "['previous', 'next'].map(n => document.querySelector(`#pager [name=${n}]`).disabled)"
    page.change("[name=size]", "20")
    assert page.shown() == [f"item-{place}" for place in range(20)]
    assert page.run(disabled) == [True, False]
    page.click("#pager [name=next]")
    assert (page.shown()[0], page.text("#shown")) == ("item-20", "21–40 of 45 items")
    page.run("document.getElementById('cards').focus()")
    page.press("ArrowRight", 39)
    assert page.shown() == [f"item-{place}" for place in range(40, 45)]
    assert page.run(disabled) == [False, True]
    page.press("ArrowRight", 39)
    assert page.shown()[0] == "item-40"
    for wanted, is_shown, item in (("2", "2", "item-20"), ("99", "3", "item-40"), ("", "1", "item-0")):
        page.change("#pager input", wanted)
        assert (page.shown()[0], page.run("document.querySelector('#pager input').value")) == (item, is_shown)


def test_a_link_and_the_arrows_of_the_enlarged_pictures_cross_pages(browser: Browser, many: Path) -> None:
    page = Page(browser, many)
    page.open("#item-item-44")
    assert page.text("#shown") == "1–45 of 45 items"
    page.change("[name=size]", "20")
    page.click(".item:nth-child(20) figure:nth-child(2) .zoom")
    page.press("ArrowRight", 39)
    assert page.text("#large-title") == "第 20 条"
    page.press("ArrowLeft", 37)
    assert page.text("#large-title") == "第 19 条"
    page.press("Escape", 27)
    assert page.until("document.activeElement.className === 'zoom'")
    page.run("location.hash = '#item-item-43'")
    assert page.until("document.activeElement.id === 'item-item-43'")
    assert page.shown() == [f"item-{place}" for place in range(40, 45)]


def test_nothing_is_requested_from_elsewhere_and_nothing_is_complained_about(page: Page) -> None:
    page.choose("sort", "judges")
    folder = page.file.parent.parent.resolve().as_uri()
    requests = {url for url in page.requests() if not url.startswith("data:")}
    assert page.complaints() == []
    assert all(url.startswith(folder + "/") for url in requests)
    assert (len(requests) == 1) == (page.file.parent.name == "file")


def test_a_script_that_gets_into_the_page_is_not_run(page: Page) -> None:
    assert page.text(".item:nth-child(5) h3") == ITEMS[4][2]
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 1'}))")
    assert page.run("window.evil") is None


def test_a_page_without_its_folder_says_so(browser: Browser, files: dict[str, Path], tmp_path: Path) -> None:
    alone = tmp_path / "report.html"
    alone.write_bytes(files["folder"].read_bytes())
    page = Page(browser, alone)
    browser.open(alone)
    assert page.until("document.getElementById('shown').textContent.startsWith('The folder gallery cannot be read')")
    assert not page.run("document.getElementById('filters').checkVisibility()")


def test_the_chinese_page_speaks_chinese(browser: Browser, files: dict[str, Path]) -> None:
    page = Page(browser, files["chinese"])
    page.open()
    assert page.choose("text", "猫") == ["cat%3"]
    card = page.text(".item")
    assert "失败" in card and "编辑失败" in card and "原图" in card
    assert "符合条件" in page.text("#shown")
    assert page.run("document.querySelector('[name=state]').options[1].text").startswith("失败")


def test_the_printed_page_shows_the_cards_of_the_screen_without_the_controls(page: Page) -> None:
    page.choose("category", "0")
    page.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert page.shown() == ["树-1", "tree 2"]
        visible = "['#filters', '#pager nav', '#shown'].map(e => document.querySelector(e).checkVisibility())"
        assert page.run(visible) == [False, False, True]
    finally:
        page.send("Emulation.setEmulatedMedia", media="")


def test_a_phone_shows_the_page_without_scrolling_sideways(page: Page) -> None:
    page.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    try:
        page.open()
        assert page.run("document.documentElement.scrollWidth") == 360
        page.click(".zoom")
        assert page.run("document.getElementById('large').getBoundingClientRect().width") <= 360
    finally:
        page.send("Emulation.clearDeviceMetricsOverride")


def test_every_control_has_a_name(page: Page) -> None:
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    controls = [node for node in nodes if node["role"]["value"] in ("button", "combobox", "searchbox", "spinbutton")]
    assert len(controls) >= 9 + 10
    assert [node for node in controls if not node["name"]["value"].strip()] == []
    images = [node for node in nodes if node["role"]["value"] == "image"]
    assert {node["name"]["value"] for node in images} >= {"Source of 树-1", "Edit of 树-1 by b"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark(page: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.send("Emulation.setEmulatedMedia", features=features)
    colours = page.run(
        "['--paper', '--ink', '--soft', '--link', '--alarm'].map("
        "n => getComputedStyle(document.documentElement).getPropertyValue(n).trim())"
    )
    page.send("Emulation.setEmulatedMedia", features=[])
    paper, *texts = map(luminance, colours)
    assert all((max(paper, text) + 0.05) / (min(paper, text) + 0.05) >= 4.5 for text in texts)
    assert (paper > 0.5) == (scheme == "light")


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb as WCAG 2 defines it, 0..1."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_accents_on_accents_stay_in_their_card_and_nothing_turns_what_is_beside_it(
    browser: Browser, tmp_path: Path
) -> None:
    """The first card is painted alike, whatever tag the second one has."""
    items = [(name, "物理", "Turn day into night", "en", "sky") for name in "ab"]
    painted = []
    for tag in ("accents", "e" + "\u0300" * 500):
        run = tmp_path / str(len(tag))
        report = make_report(run, {("a", "j"): [5.0, 6.0]}, items)
        report.items["tags"] = [["光照"], [tag]]
        page = Page(browser, write_page(report, make_gallery(report, run, run / "report"), run / "report"))
        page.open()
        page.load_pictures()
        painted.append(page.photograph(".item"))
    assert painted[0] == painted[1]
    assert page.run("getComputedStyle(document.querySelector('.item header span')).unicodeBidi") == "isolate"
