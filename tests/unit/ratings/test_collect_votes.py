"""Votes on pairs: which edit is A, what is saved, and the page in a real browser, in both languages."""

import csv
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser
from test_collect_ratings import EDITORS, ITEMS, Client, Serving, wait, write_run

import collect_ratings
from editlane.ratings.page.pairs import make_pairs
from editlane.ratings.page.saved_votes import SavedVotes
from editlane.ratings.page.server import RatingServer
from editlane.ratings.page.tasks import drop_unreadable, read_tasks
from editlane.ratings.votes import VOTES, join_votes, read_people

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def serve(run: Path, out: Path, language: str | None = None) -> RatingServer:
    pairs = make_pairs(drop_unreadable(read_tasks(run)), "anna", 0)
    return RatingServer(pairs, SavedVotes(out, "anna"), 0, answers=VOTES, language=language)


@pytest.fixture(params=[None])
def serving(run: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    server = serve(run, tmp_path / "votes.csv", request.param)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Serving(Client(server.url), server, tmp_path / "votes.csv")
    server.shutdown()
    server.server_close()
    thread.join()


def test_pairs_are_of_two_readable_edits_and_each_rater_sees_an_order_of_their_own(run: Path) -> None:
    tasks = drop_unreadable(read_tasks(run))
    pairs = make_pairs(tasks, "anna", 0)
    assert {pair.item_id for pair in pairs} == {"猫-1", "glass-3"}  # the others have one edit that can be read
    assert pairs == make_pairs(tasks[::-1], "anna", 0)
    first = [make_pairs(tasks, f"rater {n}", 0)[0].system_a == EDITORS[0] for n in range(60)]
    assert 15 < sum(first) < 45


def test_a_vote_is_saved_replaced_and_seen_from_either_side(run: Path, tmp_path: Path) -> None:
    pair, other = make_pairs(drop_unreadable(read_tasks(run)), "anna", 0)
    saved = SavedVotes(tmp_path / "votes.csv", "anna")
    saved.save(pair, "tie")
    saved.save(pair, "A")
    assert saved.find_scores([pair, other]) == ["A", None]
    (vote,) = read_people([saved.path])
    assert vote[:5] == (pair.item_id, pair.system_a, pair.system_b, "anna", "A") and vote.subject == pair.subject
    names = {"system_a": pair.system_b, "system_b": pair.system_a, "edit_a": pair.edit_b, "edit_b": pair.edit_a}
    subject = pair.subject._replace(a=pair.subject.b, b=pair.subject.a)
    turned = type(pair)(
        **{name: getattr(pair, name) for name in ("item_id", "instruction", "language", "source")},
        **names,
        subject=subject,
    )
    assert saved.find_scores([turned]) == ["B"]
    saved.save(turned, "both_bad")
    assert [row.vote for row in read_people([saved.path])] == ["both_bad"]


def test_a_vote_on_an_earlier_edit_stays_in_the_file_and_does_not_count(run: Path, tmp_path: Path) -> None:
    (pair, _) = make_pairs(drop_unreadable(read_tasks(run)), "anna", 0)
    saved = SavedVotes(tmp_path / "votes.csv", "anna")
    old = type(pair)(
        **{name: getattr(pair, name) for name in pair.__slots__ if name != "subject"},
        subject=pair.subject._replace(b="f" * 64),
    )
    saved.save(old, "B")
    assert saved.find_scores([pair]) == [None] and [vote.vote for vote in saved.find_outdated([pair])] == ["B"]
    saved.save(pair, "A")
    assert [vote.vote for vote in read_people([saved.path])] == ["B", "A"]


def test_the_file_can_be_compared_with_a_judge(run: Path, tmp_path: Path) -> None:
    (pair, _) = make_pairs(drop_unreadable(read_tasks(run)), "anna", 0)
    SavedVotes(tmp_path / "votes.csv", "anna").save(pair, "A")
    people = read_people([tmp_path / "votes.csv"])
    judged = [people[0]._replace(system_a=pair.system_b, system_b=pair.system_a, rater="j", vote="B")]
    assert join_votes(people, judged)[["vote", "judge"]].to_numpy().tolist() == [["A", "A"]]


@pytest.mark.parametrize("score", ["C", 0, None, True, ["A"], ""], ids=str)
def test_what_is_no_vote_is_refused(serving: Serving, score: Any) -> None:
    assert serving.client.ask("POST", "rating", {"task": 0, "score": score}).status == 400
    assert not serving.out.exists()


def test_no_answer_tells_the_editor_or_the_item(serving: Serving) -> None:
    shown = serving.client.tasks()
    assert [set(task) for task in shown] == [{"source", "a", "b", "references", "instruction", "language", "score"}] * 2
    answers = [serving.client.ask("GET", place) for place in ("tasks", *(shown[0][side] for side in "ab"))]
    for answer in answers:
        assert answer.status == 200
        assert not any(word.encode() in answer.body for word in (*EDITORS, *ITEMS, str(serving.out.parent)))


def test_a_run_with_one_editor_has_no_pairs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--run-dir", str(run), "--rater", "anna", "--out", str(tmp_path / "v.csv"), "--pairs"]
    monkeypatch.setattr("sys.argv", ["collect_ratings.py", *flags, "--editors", EDITORS[0]])
    with pytest.raises(collect_ratings.UserError, match="no item with two edits"):
        collect_ratings.main()


def press(browser: Browser, key: str) -> None:
    wait(browser, "ready")
    before = browser.run("place")
    browser.press(key, ord(key.upper()))
    wait(browser, f"place !== {before}")


@needs_browser
def test_a_person_votes_goes_back_and_changes_a_vote(serving: Serving, browser: Browser) -> None:
    browser.open(serving.server.url)
    wait(browser, "ready")
    assert browser.run("[...document.querySelectorAll('#pair figcaption')].map((each) => each.textContent)") == [
        *("Before", "A", "B")
    ]
    press(browser, "a")
    press(browser, "x")
    wait(browser, "!document.getElementById('done').hidden")
    assert browser.run("document.getElementById('done-title').textContent") == "All pairs done. Thank you."
    browser.press("ArrowLeft", 37)
    wait(browser, "ready && place === 1")
    assert browser.run("document.querySelector('#scores [aria-pressed=true]').textContent") == "Both bad"
    press(browser, "t")
    with serving.out.open(encoding="utf-8", newline="") as file:
        assert [row["vote"] for row in csv.DictReader(file)] == ["A", "tie"]
    assert {event["method"] for event in browser.events} & {"Log.entryAdded", "Runtime.exceptionThrown"} == set()


@needs_browser
@pytest.mark.parametrize("serving", ["zh", "en"], indirect=True)
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
def test_the_flag_chooses_the_language_and_nothing_needs_scrolling(
    serving: Serving, browser: Browser, width: int, height: int
) -> None:
    browser.send(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
    )
    try:
        browser.open(serving.server.url)
        wait(browser, "ready")
        chinese = serving.server.language == "zh"
        assert browser.run("document.documentElement.lang") == ("zh-CN" if chinese else "en")
        buttons = browser.run("[...document.querySelectorAll('#scores button')].map((each) => each.textContent)")
        english = ["A is better", "B is better", "Both good", "Both bad"]
        assert buttons == (["A 更好", "B 更好", "都好", "都不好"] if chinese else english)
        assert browser.run("document.documentElement.scrollWidth") == width
        assert browser.run("document.documentElement.scrollHeight") == height
        left, right = (browser.run(f"document.getElementById('{side}').getBoundingClientRect().left") for side in "ab")
        assert left < right
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


@needs_browser
def test_every_text_is_there_in_both_languages(serving: Serving, browser: Browser) -> None:
    browser.open(serving.server.url)
    wait(browser, "ready")
    deep = (
        "const flat = (o, p) => Object.entries(o).flatMap(([k, v]) => typeof v === 'object' ? flat(v, p + k) : p + k)"
    )
    assert browser.run(f"(() => {{ {deep}; return flat(TEXTS.en, '').join() === flat(TEXTS.zh, '').join() }})()")
    assert browser.run("Object.keys(TEXTS.en.votes).join() === answers.join()")
