"""The rating page: what is shown, in which order, what is saved, what is refused; and the page in a real browser."""

import csv
import dataclasses
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from browser import CHROMIUM, Browser
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import collect_ratings
from editlane.core import schemas, tables
from editlane.core.errors import UnknownName, UserError
from editlane.images.files import file_sha256
from editlane.ratings.page.saved import SavedRatings
from editlane.ratings.page.server import MAX_SIDE, RatingServer
from editlane.ratings.page.tasks import Task, choose_items, drop_unreadable, read_tasks, shuffle
from editlane.ratings.tables import Rating, Subject, read_ratings, write_ratings

EDITORS = ("flux-secret", "qwen-secret")
ITEMS = {
    "猫-1": ("指代", "给<b>左边</b>的猫戴上帽子", "zh"),
    "lake-2": ("环境", "Freeze the lake.", "en"),
    "glass-3": ("因果", "让玻璃杯掉到地上", "zh"),
    "fire-4": ("因果", "It has been burning for an hour.", "en"),
}
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (60, 40)) -> None:
    """An image that names its editor in its metadata, as some programs do."""
    about = PngInfo()
    about.add_text("Software", f"made by {path.parts[-4]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, pnginfo=about)


def write_run(run: Path) -> Path:
    """Four items and two editors; one edit failed, one is no image, and an old table is still there."""
    items = []
    for number, (item_id, (category, instruction, language)) in enumerate(ITEMS.items()):
        source = run / f"sources/aa/{number}.png"
        picture(source, (number * 60, 200, 90), (90, 60))
        items.append(
            dict.fromkeys(schemas.ITEMS.names)
            | {"item_id": item_id, "category": category, "instruction": instruction, "language": language}
            | {"source_path": f"sources/aa/{number}.png", "source_sha256": file_sha256(source), "cost": 1.0, "tags": []}
        )
    tables.write_table(run / "items.parquet", items, schemas.ITEMS)
    for place, editor in enumerate(EDITORS):
        for number, item in enumerate(items):
            path = run / editor / "images" / item["category"] / f"{item['item_id']}.png"
            picture(path, (250 - place * 150, 40, number * 60))
            row = item | dict.fromkeys(name for name in schemas.EDITS.names if name not in schemas.ITEMS.names)
            row |= {"editor": editor, "editor_key": "k", "state": "edited", "seed": 1}
            row |= {"edited_path": str(path.relative_to(run)), "edited_sha256": file_sha256(path)}
            if (editor, item["item_id"]) == ("qwen-secret", "lake-2"):
                row |= {"state": "edit_failed", "edited_path": None}
            if (editor, item["item_id"]) == ("flux-secret", "fire-4"):
                path.write_bytes(b"no image")
            lane = run / editor / "edits" / item["category"] / f"lane{number}.parquet"
            tables.write_table(lane, [row], schemas.EDITS)
            old = lane.with_name("lane9.parquet")
            tables.write_table(old, [row | {"instruction": "An instruction of last week."}], schemas.EDITS)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "demo")


def cells(tasks: list[Task]) -> list[tuple[str, str]]:
    return [(task.item_id, task.editor) for task in tasks]


def test_only_edits_with_a_readable_image_are_shown(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    tasks = read_tasks(run)
    assert len(tasks) == 7 and ("lake-2", "qwen-secret") not in cells(tasks)
    assert {task.instruction for task in tasks} == {instruction for _, instruction, _ in ITEMS.values()}
    kept = drop_unreadable(tasks)
    assert set(cells(tasks)) - set(cells(kept)) == {("fire-4", "flux-secret")}
    assert "skipped: fire-4.png" in caplog.text and "skipped 1 of 7 edits" in caplog.text


def test_editors_are_those_asked_for(run: Path, tmp_path: Path) -> None:
    assert {task.editor for task in read_tasks(run, ["flux-secret"])} == {"flux-secret"}
    with pytest.raises(UnknownName, match=r"'flux'.*Available: flux-secret, qwen-secret"):
        read_tasks(run, ["flux"])
    (tmp_path / "items.parquet").write_bytes((run / "items.parquet").read_bytes())
    with pytest.raises(UserError, match="has no edits to rate"):
        read_tasks(tmp_path)


SUBJECT = Subject("1" * 64, "2" * 64, "3" * 64)


def some_tasks(count: int) -> list[Task]:
    parts = {"instruction": "", "language": "en", "source": Path("s"), "edit": Path("e"), "subject": SUBJECT}
    return [
        Task(item_id=f"{category}{n:02}", editor=editor, category=category, **parts)  # type: ignore[arg-type]
        for category in "xyz"
        for n in range(count)
        for editor in EDITORS
    ]


def test_the_chosen_items_are_the_same_for_all_raters_and_from_all_categories() -> None:
    chosen = choose_items(some_tasks(20), 7, seed=0)
    items = sorted({task.item_id for task in chosen})
    assert [item[0] for item in items] == ["x", "x", "x", "y", "y", "z", "z"]
    assert len(chosen) == 14
    assert choose_items(some_tasks(20)[::-1], 7, seed=0)[::-1] == chosen
    assert choose_items(some_tasks(20), 7, seed=1) != chosen
    assert len(choose_items(some_tasks(20), None, seed=0)) == 120


def test_each_rater_has_an_order_that_stays() -> None:
    tasks = some_tasks(20)
    anna = shuffle(tasks, "anna", 0)
    assert anna == shuffle(tasks[::-1], "anna", 0) and sorted(cells(anna)) == sorted(cells(tasks))
    assert [task for task in anna if task in tasks[:50]] == shuffle(tasks[:50], "anna", 0)
    assert anna != tasks and anna != shuffle(tasks, "陈", 0) and anna != shuffle(tasks, "anna", 1)
    assert 15 < sum(task.editor == EDITORS[0] for task in anna[:60]) < 45


def test_a_rating_is_added_replaced_in_place_and_read_again(tmp_path: Path) -> None:
    tasks = some_tasks(2)
    path = tmp_path / "new" / "r.csv"
    other = Rating("树", "e", "陈", 4.5)
    write_ratings(path, [other])
    saved = SavedRatings(path, "anna")
    for task, score in ((tasks[0], 7), (tasks[1], 0), (tasks[0], 2)):
        saved.save(task, score)
    subject = ",".join(SUBJECT)
    assert path.read_text("utf-8").splitlines() == [
        "item,system,rater,score,source_sha256,edited_sha256,instruction_sha256",
        "树,e,陈,4.5,,,",
        f"x00,flux-secret,anna,2,{subject}",
        f"x00,qwen-secret,anna,0,{subject}",
    ]
    assert SavedRatings(path, "anna").find_scores(tasks) == [2.0, 0.0] + [None] * (len(tasks) - 2)
    assert set(SavedRatings(path, "陈").find_scores(tasks)) == {None}


@pytest.mark.parametrize("field", Subject._fields)
def test_a_rating_of_an_earlier_edit_stays_in_the_file_and_does_not_count(tmp_path: Path, field: str) -> None:
    task = some_tasks(1)[0]
    saved = SavedRatings(tmp_path / "r.csv", "anna")
    saved.save(task, 7)
    anew = dataclasses.replace(task, subject=SUBJECT._replace(**{field: "a" * 64}))
    assert saved.find_scores([task, anew]) == [7.0, None]
    assert [row.score for row in saved.find_outdated([anew])] == [7.0] and saved.find_outdated([task]) == []
    for score in (4, 3):
        saved.save(anew, score)
    assert [(row.score, row.subject) for row in read_ratings([saved.path])] == [
        (7.0, task.subject),
        (3.0, anew.subject),
    ]


def test_a_file_of_an_older_version_is_read_by_name_and_told_more_with_every_rating(tmp_path: Path) -> None:
    one, two = some_tasks(1)[:2]
    path = tmp_path / "r.csv"
    path.write_text(f"item,system,rater,score\n{one.item_id},{one.editor},anna,7\n{two.item_id},{two.editor},anna,1\n")
    saved = SavedRatings(path, "anna")
    assert saved.find_scores([one, two]) == [7.0, 1.0] and saved.count_unmarked() == 2
    saved.save(two, 2)
    assert saved.find_scores([one, two]) == [7.0, 2.0] and saved.count_unmarked() == 1
    assert [row.subject for row in read_ratings([path])] == [None, SUBJECT]


def test_the_program_says_which_ratings_do_not_count(run: Path, tmp_path: Path, monkeypatch, caplog) -> None:
    tasks = drop_unreadable(read_tasks(run))
    old = dataclasses.replace(tasks[0], subject=SUBJECT)
    SavedRatings(tmp_path / "r.csv", "anna").save(old, 3)
    monkeypatch.setattr("sys.argv", ["x", "--run-dir", str(run), "--rater", "anna", "--out", str(tmp_path / "r.csv")])
    monkeypatch.setattr(RatingServer, "serve_forever", lambda self: None)
    caplog.set_level("INFO")
    collect_ratings.main()
    assert "0 of them rated" in caplog.text
    named = f"{tasks[0].item_id} by {tasks[0].editor}"
    assert f"1 rating of earlier edits, sources or instructions in {tmp_path / 'r.csv'}" in caplog.text
    assert f"do not count here: {named}" in caplog.text


def test_people_who_rate_into_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    tasks = some_tasks(5)
    path = tmp_path / "r.csv"

    def rate(rater: str) -> None:
        saved = SavedRatings(path, rater)
        for task in tasks:
            saved.save(task, 3)

    threads = [threading.Thread(target=rate, args=(rater,)) for rater in ("anna", "陈", "x")]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert path.exists() is False or read_ratings([path]) is not None  # whole, and without doubles, at any time
    assert len(read_ratings([path])) == 3 * len(tasks)


def test_a_file_that_is_not_ours_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ratings are written as CSV"):
        SavedRatings(tmp_path / "r.tsv", "anna")
    (tmp_path / "r.csv").write_text("item,system,rater,score,note\n")
    with pytest.raises(UserError, match="does not start with the columns item,system,rater,score"):
        SavedRatings(tmp_path / "r.csv", "anna")


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


class Client:
    """Requests as a browser, or somebody else, may send them."""

    def __init__(self, url: str) -> None:
        self.parts = urlsplit(url)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`path`: below the page's address, or whole where it starts with a slash."""
        connection = http.client.HTTPConnection("127.0.0.1", self.parts.port or 0, timeout=10)
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path if path.startswith("/") else self.parts.path + path, content, headers)
        answer = connection.getresponse()
        found = Answer(answer.status, answer.read(), dict(answer.getheaders()))
        connection.close()
        return found

    def tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ask("GET", "tasks").body)["tasks"]
        return found


class Serving(NamedTuple):
    client: Client
    server: RatingServer
    out: Path


@pytest.fixture
def serving(run: Path, tmp_path: Path) -> Iterator[Serving]:
    tasks = shuffle(drop_unreadable(read_tasks(run)), "anna", 0)
    server = RatingServer(tasks, SavedRatings(tmp_path / "ratings.csv", "anna"), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Serving(Client(server.url), server, tmp_path / "ratings.csv")
    server.shutdown()
    server.server_close()
    thread.join()


def test_no_answer_tells_the_editor_or_the_item(serving: Serving) -> None:
    client = serving.client
    shown = client.tasks()
    assert [set(task) for task in shown] == [{"source", "edit", "references", "instruction", "language", "score"}] * 6
    addresses = [task[side] for task in shown for side in ("source", "edit")]
    assert len(set(addresses)) == 12 and all(re.fullmatch(r"image/[\w-]{16}", address) for address in addresses)
    answers = [client.ask("GET", place) for place in ("", "page.css", "page.js", "tasks", *addresses)]
    answers += [client.ask("POST", "rating", {"task": 0, "score": 5}), client.ask("GET", "tasks")]
    assert {answer.status for answer in answers} == {200}
    for body, headers in ((answer.body, str(answer.headers).encode()) for answer in answers):
        for word in (*EDITORS, "secret", "made by", *ITEMS, str(serving.out.parent)):
            assert word.encode() not in body + headers
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_controls_in_an_instruction_are_shown_escaped(run: Path, tmp_path: Path) -> None:
    told = ["\u202eTurn\u2066 day\x1b\ninto night", "把天空换成日落 👩‍🚀"]
    tasks = [dataclasses.replace(task, instruction=text) for task, text in zip(read_tasks(run), told, strict=False)]
    server = RatingServer(tasks, SavedRatings(tmp_path / "\u202egnp.csv", "anna"), 0)
    server.server_close()
    state = server.get_state()
    assert [task["instruction"] for task in state["tasks"]] == ["\\u202eTurn\\u2066 day\\x1b\ninto night", told[1]]
    assert state["file"] == "\\u202egnp.csv"


def test_the_images_are_those_of_the_task(serving: Serving) -> None:
    for task, shown in zip(serving.server.tasks, serving.client.tasks(), strict=True):
        assert (shown["instruction"], shown["language"]) == (task.instruction, task.language)
        for side, path in (("source", task.source), ("edit", task.edit)):
            answer = serving.client.ask("GET", shown[side])
            assert answer.headers["Content-Type"] == "image/png"
            with Image.open(io.BytesIO(answer.body)) as served, Image.open(path) as own:
                assert served.size == own.size and served.getpixel((5, 5)) == own.getpixel((5, 5))
                assert served.info == {}


def test_a_rating_is_on_the_disk_when_the_answer_comes(serving: Serving) -> None:
    for score in (4, 9):
        assert serving.client.ask("POST", "rating", {"task": 2, "score": score}).status == 200
        task = serving.server.tasks[2]
        assert read_ratings([serving.out]) == [Rating(task.item_id, task.editor, "anna", score, task.subject)]
        assert [shown["score"] for shown in serving.client.tasks()] == [None, None, score, None, None, None]


@pytest.mark.parametrize(
    "body",
    [
        {"task": 6, "score": 5},
        {"task": -1, "score": 5},
        {"task": 0, "score": 10},
        {"task": 0, "score": -1},
        {"task": 0, "score": 5.5},
        {"task": 0, "score": True},
        {"task": 0, "score": "5"},
        {"task": 0},
        [0, 5],
        b"no json",
        b"\xff\xfe",
        b"",
        b"[" * 900,
        b" " * 2000,
    ],
    ids=str,
)
def test_what_is_no_rating_is_refused(serving: Serving, body: Any) -> None:
    assert serving.client.ask("POST", "rating", body).status == 400
    assert not serving.out.exists()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/tasks", 404),
        ("GET", "/wrong-secret/tasks", 404),
        ("POST", "/wrong-secret/rating", 404),
        ("GET", "page.html", 404),
        ("GET", "server.py", 404),
        ("GET", "../server.py", 404),
        ("GET", "image/", 404),
        ("GET", "image/../../../../etc/passwd", 404),
        ("GET", "image/%2e%2e%2f%2e%2e%2fitems.parquet", 404),
        ("GET", "//etc/passwd", 404),
        ("POST", "nothing", 404),
        ("GET", "rating", 405),
        ("POST", "tasks", 405),
        ("POST", "", 405),
        ("PUT", "rating", 405),
        ("DELETE", "tasks", 405),
        ("HEAD", "", 405),
        ("OPTIONS", "rating", 405),
    ],
)
def test_other_addresses_and_methods_are_refused(serving: Serving, method: str, path: str, status: int) -> None:
    assert serving.client.ask(method, path, {"task": 0, "score": 5} if method == "POST" else None).status == status
    assert not serving.out.exists()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "10.0.0.1"])
def test_a_foreign_host_name_is_refused(serving: Serving, host: str) -> None:
    assert serving.client.ask("GET", "tasks", Host=host).status == 421
    assert serving.client.ask("POST", "rating", {"task": 0, "score": 5}, Host=host).status == 421
    assert serving.client.ask("GET", "tasks", Host="localhost:8000").status == 200  # an ssh tunnel
    assert not serving.out.exists()


REQUESTS = [
    "POST /{secret}/rating HTTP/1.1\r\nHost: localhost\r\nContent-Length: {digits}\r\n\r\n",
    "POST /{secret}/rating HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
    "POST /{secret}/rating HTTP/1.1\r\nHost: localhost\r\nContent-Length: ٣\r\n\r\n",
    "POST /{secret}/rating HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "POST /{secret}/rating HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /{secret}/rating HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{brackets}",
    "POST /{secret}/rating HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{",
    "GET /{secret}/ HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET /{secret}/ HTTP/1.1\r\nHost: [v1.x]:99999999\r\n\r\n",
    "GET /{secret}/ HTTP/1.1\r\nHost: \xff\r\n\r\n",
    "GET /{secret}/ HTTP/1.1\r\n\r\n",
    "GET /{secret}/%zz%00%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /%FF/\xe9/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET http://[::1/{secret}/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /{long} ",
    "GET / HTTP/1.1\r\nX: {long}\r\n\r\n",
    "GET / HTTP/{digits}.{digits}\r\n\r\n",
    "GET / HTTP/9.9\r\n\r\n",
    "GET /{secret}/\r\n\r\n",
    "GET\r\n\r\n",
    "\x16\x03\x01\x02\r\n\r\n",
    "\x1b[2J / HTTP/1.1\r\n\r\n",
    "",
]


def test_a_malformed_request_is_refused_or_dropped_without_a_word(serving: Serving, capfd) -> None:
    place = urlsplit(serving.server.url)
    words = {"secret": serving.server.secret, "digits": "9" * 5000, "long": "9" * 70_000, "brackets": "[" * 900}
    for request in REQUESTS:
        with socket.create_connection((place.hostname, place.port)) as connection, suppress(OSError):
            connection.sendall(request.format(**words).encode("utf-8" if "٣" in request else "latin-1"))
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
            assert not re.match(rb"HTTP/1.1 [25]00|.*Traceback", reply) or "/%zz" in request, request[:200]
    assert serving.client.ask("GET", "tasks").status == 200
    assert capfd.readouterr().err == ""


def test_trouble_with_the_file_or_an_image_is_told(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    serving.out.write_text("item,system,rater,score\na,b,c,what\n")
    answer = serving.client.ask("POST", "rating", {"task": 0, "score": 5})
    assert (answer.status, "score is 'what'" in answer.body.decode()) == (500, True)
    assert serving.out.read_text().endswith("what\n")
    serving.server.images["gone"] = serving.out.with_name("gone.png")
    assert serving.client.ask("GET", "image/gone").status == 410
    serving.server.images["large"] = serving.out.with_name("large.png")
    Image.new("RGB", (2 * MAX_SIDE, 8)).save(serving.out.with_name("large.png"))
    monkeypatch.setattr(Image.Image, "resize", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
    assert serving.client.ask("GET", "image/large").status == 410


@contextmanager
def started(*flags: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program, and the address that it prints."""
    command = [sys.executable, "scripts/collect_ratings.py", *map(str, flags)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().removeprefix("Open ").strip()
        finally:
            process.kill()


def test_a_port_that_is_taken_is_a_user_error(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        flags = ["--run-dir", str(run), "--rater", "anna", "--out", str(tmp_path / "r.csv"), "--port", port]
        monkeypatch.setattr("sys.argv", ["collect_ratings.py", *flags])
        with pytest.raises(UserError, match=f"^Cannot serve on port {port}"):
            collect_ratings.main()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


def wait(browser: Browser, condition: str) -> None:
    """Until a JavaScript condition holds."""
    for _ in range(400):
        if browser.run(f"Boolean({condition})"):
            return
        time.sleep(0.025)
    raise AssertionError(f"{condition} does not come true: {browser.run('document.body.innerText')}")


def rate(browser: Browser, score: int) -> None:
    """Press a digit once both pictures are seen, and wait until the page has gone on."""
    wait(browser, "ready")
    before = browser.run("place")
    browser.press(str(score), 48 + score)
    wait(browser, f"place !== {before}")


def file_rows(path: Path) -> dict[tuple[str, str], str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["item"], row["system"]) for row in rows}) == len(rows)
    return {(row["item"], row["system"]): row["score"] for row in rows}


@needs_browser
def test_a_person_rates_is_interrupted_goes_on_and_changes_a_rating(
    run: Path, tmp_path: Path, browser: Browser
) -> None:
    out = tmp_path / "ratings.csv"
    order = cells(shuffle(drop_unreadable(read_tasks(run)), "anna", 0))
    flags = ("--run-dir", run, "--rater", "anna", "--out", out)
    with started(*flags) as (process, url):
        browser.open(url)
        rate(browser, 7)
        assert file_rows(out) == {order[0]: "7"}
        rate(browser, 0)
        process.kill()
        process.wait()
        wait(browser, "ready")
        browser.press("5", 53)
        wait(browser, "document.querySelector('#status.alarm')")
        assert "Not saved" in browser.run("document.getElementById('status').textContent")
        assert browser.run("place") == 2 and len(file_rows(out)) == 2

    with started(*flags) as (process, url):
        browser.open(url)
        wait(browser, "ready")
        assert browser.run("place") == 2
        assert browser.run("document.getElementById('count').textContent") == "2 of 6 rated"
        assert browser.run("document.getElementById('instruction').textContent") == ITEMS[order[2][0]][1]
        assert browser.run("document.getElementById('instruction').lang") == ITEMS[order[2][0]][2]
        browser.press("Backspace", 8)
        wait(browser, "ready && place === 1")
        assert browser.run("document.querySelector('#scores [aria-pressed=true]').textContent") == "0"
        browser.press("ArrowLeft", 37)
        wait(browser, "ready && place === 0")
        rate(browser, 1)
        assert browser.run("place") == 2
        assert file_rows(out) == {order[0]: "1", order[1]: "0"}
        browser.press("ArrowRight", 39)
        wait(browser, "place === 3")
        for score in (3, 4, 5):
            rate(browser, score)
        assert browser.run("place") == 2  # the one that was skipped
        wait(browser, "ready")
        browser.run("document.querySelectorAll('#scores button')[9].click()")
        wait(browser, "!document.getElementById('done').hidden")
        assert "ratings.csv" in browser.run("document.getElementById('done-text').textContent")
        assert file_rows(out) == dict(zip(order, "109345", strict=True))
        process.send_signal(signal.SIGINT)
        assert "6 edits of 4 items, 2 of them rated" in process.communicate(timeout=20)[1]
        assert process.returncode == 130
    assert {rating.rater for rating in read_ratings([out])} == {"anna"}


@needs_browser
def test_the_page_asks_only_its_server_and_complains_about_nothing(serving: Serving, browser: Browser) -> None:
    browser.open("about:blank")  # the page before may still ask its own server
    browser.open(serving.server.url)
    rate(browser, 2)
    wait(browser, "ready")
    methods = {event["method"] for event in browser.events}
    assert not methods & {"Log.entryAdded", "Runtime.exceptionThrown"}
    requested = {event["params"]["request"]["url"] for event in browser.events if "request" in event.get("params", {})}
    own = serving.server.url.removesuffix(f"{serving.server.secret}/")
    assert {url for url in requested if not url.removeprefix("blob:").startswith((own, "data:,"))} == set()
    assert not any(word in url for url in requested for word in (*EDITORS, *ITEMS))
    assert browser.run("document.querySelector('#instruction b')") is None  # an instruction is text, not markup


@needs_browser
def test_a_key_counts_only_once_and_only_when_both_pictures_are_seen(serving: Serving, browser: Browser) -> None:
    browser.open(serving.server.url)
    wait(browser, "ready")
    browser.run("ready = false")
    browser.press("5", 53)
    browser.run("ready = true")
    browser.run("dispatchEvent(new KeyboardEvent('keydown', { key: '6', repeat: true }))")
    browser.run("dispatchEvent(new KeyboardEvent('keydown', { key: '6', ctrlKey: true }))")
    assert browser.run("tasks.every((task) => task.score === null)") and not serving.out.exists()
    browser.run("for (const key of '789') dispatchEvent(new KeyboardEvent('keydown', { key }))")
    wait(browser, "place === 1 && ready")
    assert list(file_rows(serving.out).values()) == ["7"]


@needs_browser
def test_an_image_that_is_lost_meanwhile_can_be_skipped(serving: Serving, browser: Browser) -> None:
    serving.server.images[serving.client.tasks()[0]["edit"].removeprefix("image/")] = Path("gone.png")
    browser.open(serving.server.url)
    wait(browser, "document.querySelector('#edit .lost')")
    browser.press("5", 53)
    assert browser.run("place") == 0 and not serving.out.exists()
    browser.press("ArrowRight", 39)
    wait(browser, "place === 1 && ready")
    for score in range(5):
        rate(browser, score)
    assert browser.run("place") == 0 and len(file_rows(serving.out)) == 5
    browser.run("show(tasks.length)")
    assert browser.run("document.getElementById('done-title').textContent") == "1 not rated yet"


@needs_browser
def test_z_shows_the_edit_then_the_source_at_full_size(serving: Serving, browser: Browser) -> None:
    browser.open(serving.server.url)
    wait(browser, "ready")
    wide = "document.querySelector('#{} img').getBoundingClientRect().width > innerWidth * 0.9"
    for shown in ("edit", "source", None):
        browser.press("z", 90)
        assert [browser.run(wide.format(side)) for side in ("edit", "source")] == [shown == "edit", shown == "source"]
    browser.press("z", 90)
    rate(browser, 3)
    assert not browser.run("document.body.dataset.zoom")


@needs_browser
def test_every_control_has_a_name_and_a_phone_needs_no_scrolling(serving: Serving, browser: Browser) -> None:
    browser.send("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    try:
        browser.open(serving.server.url)
        wait(browser, "ready")
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.run("document.documentElement.scrollHeight") == 844
        tree = browser.send("Accessibility.getFullAXTree")["nodes"]
        seen = [node for node in tree if node.get("role", {}).get("value") in ("button", "image", "progressbar")]
        names = [node["name"]["value"] for node in seen]
        assert all(names) and "Rate 7 of 9" in names and "Enlarge the picture after the edit" in names
        sizes = browser.run(
            "[...document.querySelectorAll('#scores button')].map(b => b.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 44
    finally:
        browser.send("Emulation.clearDeviceMetricsOverride")


@needs_browser
def test_the_page_speaks_chinese_to_a_chinese_browser(serving: Serving, browser: Browser) -> None:
    agent = browser.run("navigator.userAgent")
    browser.send("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="zh-CN")
    try:
        browser.open(serving.server.url)
        wait(browser, "ready")
        assert browser.run("document.documentElement.lang") == "zh-CN"
        assert browser.run("document.getElementById('count').textContent") == "已评 0 / 6"
        keys = browser.run("[Object.keys(TEXTS.en), Object.keys(TEXTS.zh)]")
        assert keys[0] == keys[1]
    finally:
        browser.send("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage="en")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark(serving: Serving, browser: Browser, scheme: str) -> None:
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(serving.server.url)
    names = ("paper", "sheet", "ink", "soft", "alarm", "link", "on-link")
    style = "getComputedStyle(document.documentElement)"
    found = {name: luminance(browser.run(f"{style}.getPropertyValue('--{name}').trim()")) for name in names}
    browser.send("Emulation.setEmulatedMedia", features=[])
    pairs = [("paper", "ink"), ("paper", "soft"), ("sheet", "ink"), ("sheet", "soft"), ("paper", "alarm")]
    for one, other in [*pairs, ("link", "on-link")]:
        high, low = sorted((found[one], found[other]), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (one, other)
    assert (found["paper"] > 0.5) == (scheme == "light")


def luminance(colour: str) -> float:
    """The relative luminance of #rgb or #rrggbb as WCAG 2 defines it, 0..1."""
    digits = "".join(digit * 2 for digit in colour[1:]) if len(colour) == 4 else colour[1:]
    values = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_rater_sees_the_references_of_an_item_before_a_key_counts(
    run: Path, tmp_path: Path, browser: Browser
) -> None:
    hats = [tmp_path / f"帽子 {number}.png" for number in (1, 2)]
    for hat in hats:
        Image.new("RGB", (30, 20), "navy").save(hat)
    one, other = drop_unreadable(read_tasks(run))[:2]
    tasks = [dataclasses.replace(one, references=tuple(hats)), other]
    server = RatingServer(tasks, SavedRatings(tmp_path / "r.csv", "anna"), 0, language="zh")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        browser.open(server.url)
        wait(browser, "ready")
        figures = "[...document.querySelectorAll('#references figure')]"
        assert browser.run(f"{figures}.map(f => f.querySelector('figcaption').textContent)") == [
            "参考图（图 2）",
            "参考图（图 3）",
        ]
        assert browser.run(f"{figures}.map(f => f.querySelector('img').naturalWidth)") == [30, 30]
        browser.run(f"{figures}[1].querySelector('.zoom').click()")
        assert browser.run(f"{figures}.map(f => f.classList.contains('large'))") == [False, True]
        rate(browser, 7)
        wait(browser, "ready")
        assert browser.run("document.getElementById('references').hidden") is True
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
