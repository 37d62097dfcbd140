"""The page of a real server of roll-outs in a real browser: rates, episodes, videos, hostile texts, token."""

import json
import shlex
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import CHROMIUM, Browser
from policy_servers import PolicyServers
from reward_server import RewardServer
from server_page import ServerPage

pytestmark = [  # each test starts servers and a browser
    pytest.mark.runs,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
]

WRONG = "reach 0.900 0.900 0.900"
HOSTILE = "\u202eevil\x07 <img src=x onerror=alert(1)> </td><script>alert(2)</script> " + "长" * 1900
ROWS = "[...document.querySelectorAll('{} tbody tr')].map((row) => [...row.children].map((one) => one.innerText))"
RATES, RECENT = ROWS.format(".group:first-child"), ROWS.format("#recent")
FILM = """(async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: 'video/webm' });
  const parts = [];
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.start();
  for (let turn = 0; turn < 20; turn++) {
    canvas.getContext('2d').fillRect(turn, turn, 4, 4);
    await new Promise((next) => setTimeout(next, 20));
  }
  await new Promise((ended) => { recorder.onstop = ended; recorder.stop(); });
  window.sample = new Blob(parts, { type: 'video/webm' });
})()"""
"""Leaves a video that this browser can play as `window.sample`."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def policies() -> Iterator[PolicyServers]:
    with PolicyServers(1) as servers:
        yield servers


@pytest.fixture(scope="module")
def server(policies: PolicyServers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RewardServer]:
    """A server that has played: some tasks solved, some not, one unknown, one too late, one with a hostile prompt."""
    with make_server(tmp_path_factory.mktemp("推演"), policies.addresses) as started:
        late = {"responses": [""], "metas": [{"task_id": 3}], "deadline_s": 1e-6}
        assert started.post("/score", json=late).json()["errors"][0]["kind"] == "deadline"
        play(started, ["", "", WRONG, HOSTILE, ""], [0, 0, 1, 2, 99])
        yield started


@pytest.fixture
def page(browser: Browser, server: RewardServer) -> ServerPage:
    return open_page(browser, server)


def make_server(
    folder: Path, addresses: list[str], policy: dict[str, Any] | None = None, **config: Any
) -> RewardServer:
    settings = {"addresses": addresses, "name": "pi0-step-1000", "infer_seconds": 5} | (policy or {})
    return RewardServer(folder, simulator={"name": "reach", "count": 1}, policy=settings, **config)


def open_page(browser: Browser, server: RewardServer, **options: Any) -> ServerPage:
    return ServerPage(browser, server, "known.episodes").open(**options)


def play(server: RewardServer, texts: list[str], tasks: list[int], first: int = 0) -> None:
    metas = [{"task_id": task, "init_state_id": first + place} for place, task in enumerate(tasks)]
    assert server.post("/score", json={"responses": texts, "metas": metas}).status_code == 200


def show_film(page: ServerPage, answer: str) -> None:
    """Give the last episode a video that the server answers like this, and click on it."""
    page.run(
        f"ask = async (address) => {{ window.asked = address; return {answer}; }};"
        " known.episodes.recent[0].video = '/videos/abc.mp4'; showPool()"
    )
    page.click("#recent .video a")


def test_rates_are_the_servers_with_a_total_for_the_suite(page: ServerPage) -> None:
    answer = page.server.get("/v1/episodes").json()
    (total,) = [one for one in answer["totals"] if one["played"]]
    low, high = total["interval"]
    first, *tasks = page.run(RATES)
    name, rate, _, interval, counts, failed = first
    assert (name, rate, counts, failed) == ("reach, all 3 tasks", "75 %", "3 of 4", "1 deadline")
    assert interval == f"{100 * low:.0f} to {100 * high:.0f} %"
    assert [(row[0], row[1] or row[3], row[4]) for row in tasks] == [
        ("task 0", "100 %", "2 of 2"),
        ("task 1", "0 %", "0 of 1"),
        ("task 2", "100 %", "1 of 1"),
        ("task 3", "none played", "0 of 0"),
    ]
    drawn = page.run("[...document.querySelector('.total svg').children].map((one) => one.getAttribute('width'))")
    assert drawn[1] == "75%" and float(drawn[2].strip("%")) == pytest.approx(100 * (high - low))
    assert page.run(ROWS.format("#kinds"))[0][:2] == ["deadline", "1"]
    assert page.complaints() == []


def test_what_is_up_is_shown(page: ServerPage) -> None:
    facts = page.facts("#state")
    assert page.text("#server-state") == "Ready"
    assert facts["Policy"] == "pi0-step-1000" and "policy reach" in facts["It announces"]
    assert facts["Simulator"].startswith("reach\nreach 1\nnumpy ")
    assert facts["Queue"] == "0 of 1,024 episodes" and facts["Known episodes"] == "4"
    ((address, state, answers, failures),) = page.run(ROWS.format("#servers"))
    pool = page.server.get("/pool_status").json()["servers"][0]
    assert (address, state, failures) == (f"127.0.0.1:{pool['port']}", "ready", "0")
    assert answers == f"{pool['served']:,}"


def test_the_last_episodes_tell_what_the_policy_was_told_and_what_came_of_it(page: ServerPage) -> None:
    rows = {row[1]: row for row in page.run(RECENT)}
    assert rows["reach task 1"][2:7] == ["7", "2", WRONG, "not solved", "60"]
    assert rows["reach task 0"][5] == "solved"
    assert rows["reach task 99"][4] == "the task's own words"
    assert rows["reach task 99"][5].startswith("no result: unknown_task\nreach has the tasks 0 to 9")


def test_hostile_texts_are_shown_as_text(page: ServerPage) -> None:
    prompt = next(row[4] for row in page.run(RECENT) if row[1] == "reach task 2")
    assert prompt.startswith("\\u202eevil\\x07 <img src=x onerror=alert(1)> </td><script>")
    assert prompt.endswith("…") and len(prompt) < 200
    page.run("document.querySelector('#recent details').open = true")
    assert page.text("#recent details").endswith("长" * 1900)
    assert page.run("document.querySelectorAll('#recent :is(img, script)').length") == 0
    page.run(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.evil = 1' }))"
    )
    assert page.run("window.evil") is None


@pytest.mark.parametrize("language", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_width_needs_scrolling_sideways(browser: Browser, server: RewardServer, width: int, language: str) -> None:
    page = open_page(browser, server, width=width, language=language)
    page.run(
        "(() => { const odd = 'x'.repeat(300); const total = known.episodes.totals.find((one) => one.played);"
        " known.episodes.totals.push({ ...total, policy: odd, suite: odd, simulator: odd, failed: { [odd]: 3 } });"
        " Object.assign(known.episodes.recent[0], { suite: odd, error: odd, solved: null, error_kind: odd });"
        " known.pool.policy = { [odd]: odd }; known.pool.servers[0].last_error = odd; showPool(); })()"
    )
    assert page.run("document.documentElement.scrollWidth") == page.run("document.documentElement.clientWidth")
    assert page.complaints() == []


def test_chinese_is_complete_and_the_switch_keeps_what_is_shown(browser: Browser, server: RewardServer) -> None:
    page = open_page(browser, server, language="zh-CN")
    shape = (
        "((text) => JSON.stringify(text, (key, value) => typeof value === 'function' ? value.length :"
        " typeof value === 'string' ? 0 : value))"
    )
    assert page.run(f"{shape}(TEXTS.zh)") == page.run(f"{shape}(TEXTS.en)")
    assert (page.text("h1"), page.text("#server-state")) == ("Editlane 机器人推演", "就绪")
    assert page.run(RATES)[0][0] == "reach，共 3 个任务"
    page.click(".toggle")
    page.click("#language")
    assert page.run("document.documentElement.lang") == "en"
    assert [row[0] for row in page.run(RATES)] == ["reach, all 3 tasks"]
    assert page.run("[...document.querySelectorAll('[data-text]')].filter((one) => !one.textContent).length") == 0


def test_an_empty_server_says_how_to_play_the_first_episode(
    browser: Browser, policies: PolicyServers, tmp_path: Path
) -> None:
    with make_server(tmp_path, policies.addresses) as server:
        page = open_page(browser, server)
        assert page.shows("#results-none") and page.shows("#last-none")
        curl, url, _, header, _, body = shlex.split(page.text("#curl"))
        assert (curl, url) == ("curl", server.url + "/score")
        assert server.post("/score", data=body, headers=dict([header.split(": ")])).json()["done_result"] == [1.0]
        assert page.until("document.querySelector('.total .rate')?.innerText === '100 %'")
        assert not page.shows("#results-none") and not page.shows("#last-none")


def test_news_leave_what_is_there_in_its_place(browser: Browser, policies: PolicyServers, tmp_path: Path) -> None:
    with make_server(tmp_path, policies.addresses) as server:
        play(server, [""], [0])
        page = open_page(browser, server)
        page.run("window.kept = ['#recent tbody tr', '.group', '.toggle'].map((one) => document.querySelector(one))")
        page.run("document.querySelector('.toggle').focus()")
        play(server, [WRONG], [1], first=1)
        assert page.until("document.querySelectorAll('#recent tbody tr').length === 2")
        assert page.run("kept.every((one) => one.isConnected) && document.activeElement === kept[2]")
        assert page.run(RECENT)[0][1] == "reach task 1"
        asked = page.count_requests("/v1/episodes")
        before = page.count_requests("/pool_status")
        assert page.until("false", turns=450) is False  # two looks at the state, and nothing new
        assert page.count_requests("/pool_status") > before and page.count_requests("/v1/episodes") == asked


def test_policies_have_tables_of_their_own_the_present_one_first(
    browser: Browser, policies: PolicyServers, tmp_path: Path
) -> None:
    for name, text in (("pi0-step-2000", ""), ("pi0-step-300", WRONG)):
        with make_server(tmp_path, policies.addresses, {"name": name}) as server:
            play(server, [text], [0])
    with make_server(tmp_path, policies.addresses, {"name": "pi0-step-2000"}) as server:
        page = open_page(browser, server)
        groups = page.run("[...document.querySelectorAll('.group')].map((one) => one.innerText.split('\\n')[0].trim())")
        assert groups == ["pi0-step-2000 at play now", "pi0-step-300"]
        rows = ROWS.format(".group:last-child")
        assert [row[:2] for row in page.run(rows)] == [["reach, 1 task", "0 %"]]
        page.click(".group:last-child .toggle")
        assert [row[0] for row in page.run(rows)] == ["reach, 1 task", "task 0"]
        assert page.shows("#last-none")


def test_a_policy_server_that_is_away_is_told_with_its_error_and_a_remedy(browser: Browser, tmp_path: Path) -> None:
    with PolicyServers(1) as own, make_server(tmp_path, own.addresses) as server:
        page = open_page(browser, server)
        own.all[0].signal(signal.SIGKILL)
        assert page.until("document.getElementById('server').className === 'alarm'")
        assert page.text("#server-state") == "No policy server is up"
        assert page.text("#notices").startswith("Episodes have no result until one is.")
        assert page.until("document.querySelector('#servers .is-away')")
        assert page.until("document.getElementById('servers').innerText.includes('Last error: ')")


def test_a_policy_that_nothing_tells_from_others_is_noticed(page: ServerPage) -> None:
    page.run("known.pool.policy_name = null; showPool()")
    assert page.text("#notices").startswith("Nothing tells this policy from another one")


def test_a_video_is_fetched_and_played_in_the_page(page: ServerPage) -> None:
    page.run(FILM)
    show_film(page, "new Response(sample)")
    assert page.until("document.getElementById('video').readyState >= 2")
    assert page.run("document.getElementById('video').src").startswith("blob:")
    assert page.run("window.asked") == page.server.url + "/videos/abc.mp4"
    assert page.run("document.getElementById('player-save').download") == "abc.mp4"
    assert page.text("#player-title").startswith("reach task ")
    page.browser.press("Escape", 27)
    assert page.until("!document.getElementById('player').open && !document.getElementById('video').src")
    assert page.complaints() == []


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_the_servers_own_videos_are_played(browser: Browser, policies: PolicyServers, tmp_path: Path) -> None:
    with make_server(tmp_path, policies.addresses, token="right-token-0123456789") as server:
        settings = {"reward_function_kwargs": {"video": True}}
        assert server.post("/score", json={"responses": [""]} | settings).status_code == 200
        page = open_page(browser, server)
        page.fill("#token", server.token)
        page.click("#token-form button")
        assert page.until("document.querySelector('#recent .video a')")
        page.click("#recent .video a")
        assert page.until("document.getElementById('video').readyState >= 2")
        assert page.text("#player-title") == "reach task 0: solved"
        assert len(page.complaints()) == 1  # that the server asked for the token


def test_a_video_that_cannot_be_shown_says_why(page: ServerPage) -> None:
    show_film(page, "new Response('', { status: 404 })")
    assert page.until("document.getElementById('player-said').innerText.includes('no such video any more')")
    page.click("#player-close")
    show_film(page, "new Response('no video')")
    assert page.until("document.getElementById('player-said').innerText.includes('cannot play')")
    assert page.shows("#player-save") and not page.shows("#video")


@pytest.mark.parametrize("video", ["javascript:alert(1)", "data:text/html,x", "http://[", None, ""])
def test_what_is_no_address_is_no_link(page: ServerPage, video: str | None) -> None:
    assert page.run(f"makeVideoLink({{ video: {json.dumps(video)} }})") == ""


def test_a_token_is_asked_for_and_goes_along_to_the_videos(
    browser: Browser, policies: PolicyServers, tmp_path: Path
) -> None:
    with make_server(tmp_path, policies.addresses, token="right-token-0123456789") as server:
        play(server, [""], [0])
        page = open_page(browser, server)
        assert page.shows("#token-form") and not page.shows("#main")
        page.fill("#token", server.token)
        page.click("#token-form button")
        assert page.until("known.episodes") and page.shows("#groups")
        assert "-H 'Authorization: Bearer TOKEN'" in page.run("document.getElementById('curl').textContent")
        page.run(f"known.episodes.recent[0].video = '/videos/{'0' * 64}.mp4'; showPool()")
        page.click("#recent .video a")
        assert page.until("document.getElementById('player-said').innerText.includes('no such video any more')")
        sent = [one["params"]["request"] for one in browser.events if one["method"] == "Network.requestWillBeSent"]
        (film,) = [request for request in sent if "/videos/" in request["url"]]
        assert film["headers"]["Authorization"] == f"Bearer {server.token}"
        page.click("#forget")
        assert page.until("known.needsToken") and not page.shows("#main")


def test_the_page_says_that_the_server_is_gone_and_goes_on_with_the_next_one(
    browser: Browser, policies: PolicyServers, tmp_path: Path
) -> None:
    first = make_server(tmp_path, policies.addresses).start()
    play(first, [""], [0])
    page = open_page(browser, first)
    first.kill()
    assert page.until("document.getElementById('server').className === 'alarm'")
    assert page.text("#server-state").startswith("No answer since ") and page.text(".total .rate") == "100 %"
    with make_server(tmp_path / "next", policies.addresses, port=urlsplit(first.url).port):
        assert page.until("document.getElementById('server').className === 'good'")
        assert page.until("document.querySelectorAll('.group').length === 0") and page.shows("#results-none")


def test_without_any_policy_server_the_page_names_the_keys_to_set(browser: Browser, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"127.0.0.1:{taken.getsockname()[1]}"
    server = make_server(tmp_path, [closed]).start(ready=False)
    try:
        page = open_page(browser, server)
        assert page.until("document.getElementById('notices').innerText.includes('`policy.addresses`')")
        page.run("known.pool.servers = []; showPool()")
        assert page.text("#notices").startswith("The config names no policy server.")
    finally:
        server.stop()


def test_print_shows_content_and_no_controls(page: ServerPage) -> None:
    page.browser.send("Emulation.setEmulatedMedia", media="print")
    try:
        assert [page.shows(one) for one in ("#language", ".toggle")] == [False] * 2
        assert all(page.shows(one) for one in (".total .rate", ".total svg", "#servers", "#recent"))
    finally:
        page.browser.send("Emulation.setEmulatedMedia", media="")


def test_the_page_may_load_its_own_files_and_play_what_it_fetched(server: RewardServer) -> None:
    answer = server.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and policy.endswith("media-src blob:")
    assert not any(part in answer.text for part in ("<style", "style=", "onclick", "<script>"))
    assert server.get("/page.js").headers["Content-Type"] == "text/javascript; charset=utf-8"
