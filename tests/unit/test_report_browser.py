"""The report's page in a browser: filter, search, sort, enlarged pictures, print, phone, no request to anywhere."""

import itertools
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_report import load, write_run

from editlane.report.write import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe"
)
PATIENCE = 60
"""Seconds without an answer after which the browser is taken for dead."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


class Browser:
    """One tab of a headless Chromium; the DevTools protocol is NUL-separated JSON on its descriptors 3 and 4."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        start = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = subprocess.Popen(
            ["bash", "-c", start, "bash", str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._numbers = itertools.count(1)
        self._received = b""
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command; events that come before it are kept."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params} | self._session
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            while b"\0" not in self._received:
                ready, _, _ = select.select([self._in], [], [], PATIENCE)
                part = os.read(self._in, 1 << 20) if ready else b""
                assert part, f"the browser gave no answer to {method}"
                self._received += part
            text, _, self._received = self._received.partition(b"\0")
            message = json.loads(text)
            if message.get("id") == number:
                assert "error" not in message, message
                answer: dict[str, Any] = message["result"]
                return answer
            self.events.append(message)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, page: Path) -> None:
        self.events.clear()
        self.send("Page.navigate", url=page.resolve().as_uri())
        self.run("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def choose(self, control: str, value: str) -> list[str]:
        """Set a control of the gallery as a user does; the ids of the items that are then shown, in order."""
        self.run(
            f"(() => {{ const control = document.querySelector('#filters [name={control}]'); "
            f"control.value = {json.dumps(value)}; "
            "control.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
        return self.shown()

    def shown(self) -> list[str]:
        script = "[...document.querySelectorAll('.item')].filter(e => e.checkVisibility()).map(e => e.id.slice(5))"
        found: list[str] = self.run(script)
        return found

    def close(self) -> None:
        self.send("Browser.close")
        self._process.wait(PATIENCE)
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("runs") / "demo")
    write_report(load(run), [], run_dir=run, out_dir=run / "report")
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


ALL = ["树-1", "tree-2", "cat-3", "broken-4", "bold-5"]


def test_a_category_hides_the_items_of_the_others(browser: Browser) -> None:
    assert browser.shown() == ALL
    assert browser.choose("category", "物理") == ["树-1", "tree-2"]
    assert browser.run("document.getElementById('shown').textContent") == "2 of 5 items"
    assert browser.choose("category", "") == ALL


def test_a_state_shows_the_items_that_have_a_row_in_it(browser: Browser) -> None:
    assert browser.choose("state", "edit_refused") == ["bold-5"]
    assert browser.choose("state", "unchanged") == ["tree-2"]
    assert browser.choose("category", "环境") == []
    assert browser.choose("state", "source_unreadable") == ["broken-4"]


def test_the_search_finds_every_word_in_any_script(browser: Browser) -> None:
    assert browser.choose("text", "帽子") == ["cat-3"]
    assert browser.choose("text", "NIGHT day") == ["tree-2"]
    assert browser.choose("text", "<script>") == ["bold-5"]
    assert browser.choose("text", "day 帽子") == []


def test_sorting_by_a_score_puts_items_without_one_last_both_ways(browser: Browser) -> None:
    assert browser.choose("sort", "0") == ["bold-5", "tree-2", "树-1", "cat-3", "broken-4"]
    assert browser.choose("order", "-1") == ["cat-3", "树-1", "tree-2", "bold-5", "broken-4"]
    assert browser.choose("sort", "") == ALL


def test_a_click_enlarges_an_edit_beside_its_source_and_escape_gives_the_focus_back(browser: Browser) -> None:
    captions = "[...document.querySelectorAll('#large figcaption')].map(e => e.textContent.split(' · ')[0])"
    browser.run("document.querySelector('[id=\"item-cat-3\"] figure:nth-child(2) .zoom').click()")
    assert browser.run("document.getElementById('large').open")
    assert browser.run(captions) == ["Source of cat-3", "Edit of cat-3 by a"]
    assert browser.run("document.getElementById('large-title').textContent") == "给猫戴上帽子"
    assert browser.run("document.querySelector('#large strong').textContent") == "9.00"
    browser.press("ArrowRight", 39)
    assert browser.run(captions) == ["Source of bold-5"]
    browser.press("Escape", 27)
    assert not browser.run("document.getElementById('large').open")
    assert browser.run("document.activeElement.querySelector('img').alt") == "Source of bold-5"


def test_every_picture_shows_also_those_that_are_embedded_elsewhere(browser: Browser) -> None:
    sizes = browser.run(
        "Promise.all([...document.images].map("
        "async image => { image.loading = 'eager'; await image.decode(); return image.naturalWidth; }))"
    )
    assert sizes == [48] * 10


def test_nothing_is_requested_and_nothing_is_complained_about(browser: Browser) -> None:
    methods = {event["method"] for event in browser.events}
    assert not methods & {"Log.entryAdded", "Runtime.exceptionThrown"}
    requested = [event["params"]["request"]["url"] for event in browser.events if "request" in event.get("params", {})]
    assert {url.split(":")[0] for url in requested} == {"file", "data"}
    assert sum(url.startswith("file") for url in requested) == 1


def test_a_script_that_gets_into_the_page_is_not_run(browser: Browser) -> None:
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 1'}))"
    )
    assert browser.run("window.evil") is None


def test_the_printed_page_shows_everything_but_the_controls(browser: Browser) -> None:
    browser.choose("category", "物理")
    browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.shown() == ALL
        assert not browser.run("document.getElementById('filters').checkVisibility()")
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")


def test_a_phone_shows_the_page_without_scrolling_sideways(browser: Browser, page: Path) -> None:
    browser.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    try:
        browser.open(page)
        assert browser.run("document.documentElement.scrollWidth") == 390
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark(browser: Browser, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.send("Emulation.setEmulatedMedia", features=features)
    colours = browser.run(
        "['--paper', '--ink', '--soft', '--link', '--alarm'].map("
        "n => getComputedStyle(document.documentElement).getPropertyValue(n).trim())"
    )
    browser.send("Emulation.setEmulatedMedia", features=[])
    paper, *texts = map(luminance, colours)
    assert all((max(paper, text) + 0.05) / (min(paper, text) + 0.05) >= 4.5 for text in texts)
    assert (paper > 0.5) == (scheme == "light")


def luminance(colour: str) -> float:
    """The relative luminance of #rrggbb as WCAG 2 defines it, 0..1."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
