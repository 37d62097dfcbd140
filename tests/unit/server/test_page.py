"""The page of a real reward server in a real browser: scoring, refusals, token, languages, a server that goes away."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import CHROMIUM, Browser
from reward_page import RewardPage, draw, name_png
from reward_server import FAKE_JUDGE, RewardServer

pytestmark = [  # each test starts servers and a browser
    pytest.mark.runs,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
]

TIDY = """name: tidy
version: "1"
description: Is it tidy?
system: "You judge photos. {rubric}"
rubrics: {rooms: "Is the room tidy?"}
images: [{show: edited, label: "Image:"}]
item: {instruction: "It was edited like this: {instruction}"}
criteria: {tidy: {question: "Is it tidy? Answer Yes or No."}}
answer: {kind: readout, answers: ["Yes", "No"], values: [1, 0], min_mass: 0.5}
score: {min: [tidy]}
"""
FREE = FAKE_JUDGE | {"protocol": "resources/protocols/viescore.yaml"}
HOSTILE = "\u202eevil\x07 <img src=x onerror=alert(1)> </td><script>alert(2)</script> " + "长" * 200
RECENT = (
    "[...document.querySelectorAll('#recent tbody tr')].map((row) => [...row.children].map((one) => one.innerText))"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardServer]:
    """A server with a judge of the usual categories and one of a category of its own."""
    folder = tmp_path_factory.mktemp("奖励")
    (folder / "tidy.yaml").write_text(TIDY)
    tidy = FAKE_JUDGE | {"protocol": str(folder / "tidy.yaml")}
    with RewardServer(folder, judges={"fake": FAKE_JUDGE, "tidy": tidy}) as started:
        yield started


@pytest.fixture
def page(browser: Browser, server: RewardServer) -> RewardPage:
    return RewardPage(browser, server).open()


def ask_server(server: RewardServer, number: int, **more: Any) -> dict[str, Any]:
    """What the server answers about an edit of the page."""
    images = {"source": draw(1), "edited": draw(number)}
    item = {name: base64.b64encode(content).decode() for name, content in images.items()}
    item |= {"instruction": "make it rain", "category": "物理"} | more
    answer: dict[str, Any] = server.post("/v1/score", json={"items": [item]}).json()["items"][0]
    return answer


def test_dropped_images_are_scored_and_what_is_known_comes_from_the_store(page: RewardPage) -> None:
    page.ask(2)
    answer = ask_server(page.server, 2)
    assert page.text("article .number") == f"{answer['score']:.2f} of 10"
    criteria = page.run(
        "[...document.querySelectorAll('.criteria tbody tr')].map((row) => row.innerText.split(/\\s+/))"
    )
    assert criteria == [[name, f"{value:.2f}"] for name, value in answer["scores"].items()]
    facts = page.facts("article")
    assert float(facts["Reward"]) == pytest.approx(answer["reward"], abs=1e-4)
    assert (facts["Answer"], facts["Judge's key"]) == ("judged now", answer["judge_key"])
    assert float(facts["Mass of the allowed answers"]) == answer["mass"]
    assert float(facts["Entropy (nats)"]) == pytest.approx(answer["entropy"], abs=1e-3)
    page.send()
    assert page.facts("article")["Answer"] == "known already, from the store"
    assert page.until(f"({RECENT})[0]?.[5] === 'store'")
    assert page.complaints() == []


def test_files_are_chosen_with_the_button(page: RewardPage, tmp_path: Path) -> None:
    for name, number in (("vorher.png", 1), ("后.png", 3)):
        (tmp_path / name).write_bytes(draw(number))
    page.pick("source", tmp_path / "vorher.png")
    page.pick("edited", tmp_path / "后.png")
    assert page.text("#edited-fact").startswith("后.png, ") and page.text("#edited-fact").endswith("48\u00a0×\u00a036")
    page.fill("#instruction", "make it rain")
    page.fill("#category-list", "物理")
    page.send()
    assert page.text("article .number") == f"{ask_server(page.server, 3)['score']:.2f} of 10"


def test_pasted_images_fill_what_is_empty_and_two_files_fill_both(page: RewardPage) -> None:
    names = "['source', 'edited'].map((side) => document.getElementById(`${side}-fact`).innerText.split(',')[0])"
    page.paste(name_png("a.png", draw(1)))
    page.paste(name_png("b.png", draw(2)))
    assert page.run(names) == ["a.png", "b.png"]
    page.click("#swap")
    assert page.run(names) == ["b.png", "a.png"]
    page.drop("edited", name_png("c.png", draw(3)), name_png("d.png", draw(4)))
    assert page.run(names) == ["c.png", "d.png"]
    page.drop("source", ("notes.txt", "text/plain", b"hello"))
    assert (page.text("#said"), page.run(names)) == ("notes.txt is no image.", ["c.png", "d.png"])


def test_a_form_that_is_not_complete_says_what_is_missing_and_sends_nothing(page: RewardPage) -> None:
    page.click("#send")
    assert page.text("#source-problem") == page.text("#edited-problem") == "Choose an image."
    assert page.text("#instruction-problem") == "Write what the edit was meant to do."
    assert page.text("#category-problem") == "Choose the category that the edit is judged by."
    assert page.run("document.activeElement.id") == "source-file"
    page.fill("#instruction", "x" * 8193)
    page.click("#send")
    assert page.text("#instruction-problem") == "The server takes up to 8,192 characters."
    assert page.count_requests("/v1/score") == 0
    page.ask(2)
    problems = "[...document.querySelectorAll('.problem')].map((one) => one.innerText).join('')"
    assert (page.run(problems), page.count_requests("/v1/score")) == ("", 1)


def test_a_broken_image_has_no_score_but_a_reason_and_a_remedy(page: RewardPage) -> None:
    page.drop("source", name_png("source.png", draw(1)))
    page.drop("edited", name_png("broken.png", b"no picture"))
    assert page.text('[data-side="edited"] .invite').startswith("This browser cannot show the file.")
    page.fill("#instruction", "make it rain")
    page.fill("#category-list", "环境")
    page.send()
    facts = page.facts("article")
    assert facts["State"] == "judge failed: decode"
    assert facts["Reason"].startswith("edited: no image; accepted here")
    assert facts["What to do"] == "Use a JPEG, PNG or WebP file that other programs can open."
    assert page.text("#said") == "fake: no score."
    assert page.until(f"({RECENT})[0]?.[4] === 'judge failed: decode'")


def test_the_panel_asks_all_judges_and_a_category_that_is_unknown_to_some_fails_there(page: RewardPage) -> None:
    page.ask(5, judge="panel", category="rooms")
    cards = page.run("[...document.querySelectorAll('article')].map((one) => one.innerText.split('\\n')[0])")
    assert cards == ["fake", "tidy"]
    assert page.text("#category-hint") == "These judges share no category, so one of them will refuse any."
    first = page.facts("article:nth-child(1)")
    assert first["State"] == "judge failed: category" and "物理" in first["Reason"]
    assert first["What to do"].startswith("Choose one of the categories")
    assert page.facts("article:nth-child(2)")["Answer"] == "judged now"
    assert page.text("article:nth-child(2) .number").endswith(" of 10")


def test_categories_are_those_of_the_judge(page: RewardPage) -> None:
    options = "[...document.querySelectorAll('#category-list option')].map((one) => one.textContent)"
    assert page.run(options)[:2] == ["Choose one", "物理 (physical)"]
    page.fill("#judge", "tidy")
    assert page.run(options) == ["Choose one", "rooms"]
    assert not page.shows("#category")


def test_a_judge_of_any_category_takes_any_text(browser: Browser, tmp_path: Path) -> None:
    with RewardServer(tmp_path, judges={"fake": FAKE_JUDGE, "评审": FREE}) as server:
        page = RewardPage(browser, server).open()
        page.fill("#category-list", "因果")
        page.fill("#judge", "评审")
        assert page.shows("#category") and not page.shows("#category-list")
        assert page.run("document.getElementById('category').value") == "因果"
        assert page.text("#category-hint") == "Any text, or nothing."
        page.ask(6, category="anything")
        assert page.text("article h3") == "评审" and page.text("article .number")
        assert page.until("document.querySelector('#categories option')?.value === 'anything'")


def test_a_result_says_so_when_the_form_has_changed_since(page: RewardPage) -> None:
    page.ask(2)
    assert not page.shows("#stale")
    page.fill("#instruction", "make it snow")
    assert page.shows("#stale")
    page.send()
    assert not page.shows("#stale")


def test_hostile_texts_are_shown_as_text(page: RewardPage) -> None:
    ask_server(page.server, 2, instruction=HOSTILE, category="<b>物理</b>\x00")
    assert page.until(f"({RECENT})[0]?.[3].includes('onerror')")
    _, _, category, instruction, *_ = page.run(RECENT)[0]
    assert category == "<b>物理</b>\\x00"
    assert instruction.startswith("\\u202eevil\\x07 <img src=x onerror=alert(1)> </td><script>")
    assert page.run("document.querySelectorAll('#recent :is(img, script, b)').length") == 0
    page.drop("source", name_png("\u202egnp.<b>\x07\n.png", draw(1)))
    assert page.text("#source-fact").startswith("\\u202egnp.<b>\\x07")
    page.run(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.evil = 1' }))"
    )
    assert page.run("window.evil") is None


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_width_needs_scrolling_sideways(browser: Browser, server: RewardServer, width: int, language: str) -> None:
    page = RewardPage(browser, server).open(width, language)
    ask_server(server, 2, instruction=HOSTILE, category="x" * 300)
    page.ask(5, judge="panel", category="rooms")
    assert page.until(f"({RECENT}).some((row) => row[3].includes('onerror'))")
    assert page.run("document.documentElement.scrollWidth") == page.run("document.documentElement.clientWidth")
    assert page.complaints() == []


def test_chinese_is_complete_and_the_switch_keeps_what_is_shown(browser: Browser, server: RewardServer) -> None:
    page = RewardPage(browser, server).open(language="zh-CN")
    shape = (
        "((text) => JSON.stringify(text, (key, value) => typeof value === 'function' ? value.length :"
        " typeof value === 'string' ? 0 : key === 'categories' ? 0 : value))"
    )
    assert page.run(f"{shape}(TEXTS.zh)") == page.run(f"{shape}(TEXTS.en)")
    assert (page.text("h1"), page.text("#server-state")) == ("Editlane 奖励服务器", "就绪")
    page.ask(2)
    score = page.text("article .number strong")
    assert page.text("article .number") == f"{score} / 10 分"
    assert page.text("#said") == f"fake：{score} 分，满分 10 分。"
    page.click("#language")
    assert page.run("document.documentElement.lang") == "en"
    assert page.text("#said") == f"fake: {score} of 10."
    missing = "[...document.querySelectorAll('[data-text]')].filter((one) => !one.textContent).length"
    assert page.run(missing) == 0
    assert page.run("document.querySelector('#category-list').value") == "物理"


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page: RewardPage) -> None:
    seen = []
    for _ in range(9):
        page.browser.press("Tab", 9)
        seen.append(page.run("document.activeElement.id"))
    assert seen == ["language", "source-file", "edited-file", "instruction", "judge", "category-list", "send", "", ""]
    page.run("document.getElementById('send').focus()")
    for _ in range(4):
        page.browser.send("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9, modifiers=8)
    assert page.run("getComputedStyle(document.querySelector('#edited-file + .drop')).outlineStyle") == "solid"
    unlabelled = "[...document.querySelectorAll('input, select, textarea')].filter((one) => !one.labels.length).length"
    assert page.run(unlabelled) <= 1  # of the two fields for the category, the label belongs to the one that is shown


def test_images_beyond_the_limits_are_refused_before_they_are_sent(browser: Browser, tmp_path: Path) -> None:
    limits = {"image_megabytes": 0.01, "image_pixels": 2500, "body_megabytes": 0.02}
    with RewardServer(tmp_path, limits=limits) as server:
        page = RewardPage(browser, server).open()
        page.drop("source", name_png("heavy.png", draw(1) + bytes(10_000)))
        assert page.text("#source-problem") == "The server takes images of up to 10 kB. Make this one smaller."
        page.drop("edited", name_png("wide.png", draw(2, (60, 50))))
        assert page.text("#edited-problem") == "The server takes images of up to 2,500 pixels. Make this one smaller."
        page.fill("#instruction", "make it rain")
        page.fill("#category-list", "物理")
        page.send()
        page.drop("source", name_png("a.png", draw(1) + bytes(9000)), name_png("b.png", draw(2) + bytes(9000)))
        page.send()
        assert page.text("#edited-problem").startswith("Both images together are more than a request may hold (20 kB)")
        assert page.count_requests("/v1/score") == 0


def test_a_token_is_asked_for_kept_in_the_tab_and_forgotten_on_demand(browser: Browser, tmp_path: Path) -> None:
    with RewardServer(tmp_path, token="right-token-0123456789") as server:
        page = RewardPage(browser, server).open()
        assert page.shows("#token-form") and not page.shows("#main")
        assert page.run("document.activeElement.id") == "token"
        for wrong in ("wrong", "错的"):
            page.fill("#token", wrong)
            page.click("#token-form button")
            assert page.until("document.getElementById('token-error').textContent.includes('does not accept')")
        assert page.run("sessionStorage.getItem('editlane-token')") is None
        page.fill("#token", server.token)
        page.click("#token-form button")
        assert page.until("known.judges")
        page.ask(2)
        assert page.text("article .number") and not page.shows("#token-form")
        assert page.run("[localStorage.length, document.cookie, sessionStorage.getItem('editlane-token')]") == [
            0,
            "",
            server.token,
        ]
        browser.open(server.url + "/")
        assert page.until("known.judges")
        page.click("#forget")
        assert page.until("known.needsToken") and not page.shows("#main")
        assert page.run("sessionStorage.getItem('editlane-token')") is None


def test_the_page_says_that_the_server_is_gone_and_goes_on_with_the_next_one(browser: Browser, tmp_path: Path) -> None:
    first = RewardServer(tmp_path / "1").start()
    page = RewardPage(browser, first).open()
    page.ask(2)
    assert page.text("#server-state") == "Ready"
    first.kill()
    assert page.until("document.getElementById('server').className === 'alarm'")
    assert page.text("#server-state").startswith("No answer since ")
    page.send()
    assert page.text("article h3") == page.text("#said") == "The server does not answer."
    assert page.facts("article")["What to do"] == "Look whether it still runs, and send the edit again."
    judges = {"other": FAKE_JUDGE}
    with RewardServer(tmp_path / "2", port=urlsplit(first.url).port, judges=judges):
        assert page.until("document.getElementById('server').className === 'good'")
        assert page.run("document.getElementById('judge').value") == "other"
        page.send()
        assert page.text("article h3") == "other" and page.text("article .number")


def test_work_can_be_cancelled_and_a_server_that_goes_down_says_so(browser: Browser, tmp_path: Path) -> None:
    slow = FAKE_JUDGE | {"params": {"seconds": 3.0}}  # longer than the page takes to look again
    with RewardServer(tmp_path, judges={"slow": slow}) as server:
        page = RewardPage(browser, server).open()
        page.drop("source", name_png("a.png", draw(1)), name_png("b.png", draw(2)))
        page.fill("#instruction", "make it rain")
        page.fill("#category-list", "物理")
        page.click("#send")
        assert page.shows("#cancel") and page.text("#said") == "The edit is being judged."
        page.click("#cancel")
        assert page.until("!running") and page.text("#said") == "Cancelled." and not page.shows("#answer")
        page.click("#send")
        assert page.until("known.pool.requests === 1")
        server.post("/v1/drain")
        assert page.until("document.getElementById('server-state').textContent.startsWith('Going down')")
        assert page.until("!running") and page.text("article .number")


def test_print_shows_content_and_no_controls(page: RewardPage) -> None:
    page.ask(2)
    page.browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert [page.shows(one) for one in ("#send", "#language", ".drop .button", "#swap")] == [False] * 4
        assert all(page.shows(one) for one in ("#instruction", "article .number", "#workers", "#recent", ".drop img"))
    finally:
        page.browser.send("Emulation.setEmulatedMedia", media="")


def test_the_page_is_served_with_a_policy_that_allows_its_own_files_only(server: RewardServer) -> None:
    answer = server.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not any(part in answer.text for part in ("<style", "style=", "onclick", "<script>"))
    assert server.get("/page.js").headers["Content-Type"] == "text/javascript; charset=utf-8"
