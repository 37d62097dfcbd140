"""The lane loop around an editor on a server: several edits at once, each with an end of its own."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from editlane.core.errors import EditFailed, Stopped, UserError
from editlane.core.paths import RunPaths
from editlane.core.types import Edit, EditRequest, Item, RunsOn
from editlane.images.files import file_sha256
from editlane.lanes.editing import EditWork
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.journal import Journal, read_journal
from editlane.lanes.lane_status import read_heartbeats
from editlane.lanes.requests_sent import sum_up
from editlane.lanes.runner import run_lane
from editlane.lanes.stopping import StopRequest


class Served:
    """Inverts; `act` is called with the number of an item before its answer comes."""

    RUNS_ON = RunsOn.SERVER

    def __init__(self, act: Callable[[int], None] = lambda number: None, **params: Any) -> None:
        defaults = {"concurrency": 4, "max_requests": None, "requests_per_minute": None}
        self.params = SimpleNamespace(**defaults | params)
        self.words = {"root": "a"}
        self.act = act
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0
        self.asked: list[int] = []

    def try_server(self, on_request: Callable[[], None], on_image: Callable[[], None]) -> None:
        on_request()
        on_image()

    def edit(self, request: EditRequest) -> Edit:
        request.on_request()
        with self.lock:
            self.asked.append(int(request.item.instruction))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.act(int(request.item.instruction))
        finally:
            with self.lock:
                self.at_once -= 1
        request.on_image()
        return Edit(image=Image.eval(request.source, lambda value: 255 - value), seed_used=True, fields_ignored=False)


def make_items(run_dir: Path, count: int) -> list[Item]:
    found = []
    for number in range(count):
        path = run_dir / f"sources/{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 10), (number, 0, 0)).save(path)
        item = Item(
            item_id=f"项-{number}",
            category="物理",
            instruction=str(number),
            language="zh",
            source_path=f"sources/{number}.png",
            source_sha256=file_sha256(path),
            width=20,
            height=10,
            cost=1.0,
        )
        found.append(item)
    return found


def run(
    run_dir: Path, editor: Served, items: list[Item], stop: StopRequest | None = None, key: str = "k"
) -> dict[int, dict[str, Any]]:
    """The rows of a lane by number, run as edit_lane.py does."""
    stop = stop or StopRequest()
    spec = EditorSpec(editor="e", identity={"model": key}, editor_key=key, run_dir=run_dir, seed=42)
    work = EditWork(spec, 0, items, lambda: editor, stop.check)  # type: ignore[arg-type, return-value]
    with Journal(work.paths.journal("e"), work.lane.writer, work.wanted.keys()) as journal:
        rows = run_lane(work, journal, stop)
    return {int(item.instruction): rows[spec.key(item)] for item in items}


def count_kept(run_dir: Path) -> int:
    return len(read_journal(run_dir / "journal/edit/e").rows)


def test_as_many_edits_are_asked_for_at_once_as_the_params_say(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=30)
    editor = Served(lambda number: (together.wait(), None)[1])
    rows = run(tmp_path, editor, make_items(tmp_path, 12))
    assert editor.most_at_once == 4
    assert {row["state"] for row in rows.values()} == {"edited"}
    assert {(row["seed_used"], row["fields_ignored"]) for row in rows.values()} == {(True, False)}
    for number, row in rows.items():
        with Image.open(tmp_path / row["edited_path"]) as image:
            assert image.getpixel((0, 0)) == (255 - number, 255, 255)
    again = Served()
    assert run(tmp_path, again, make_items(tmp_path, 12)) == rows
    assert again.asked == []


def test_one_edit_at_a_time_is_possible(tmp_path: Path) -> None:
    editor = Served(concurrency=1)
    run(tmp_path, editor, make_items(tmp_path, 3))
    assert (editor.most_at_once, editor.asked) == (1, [0, 1, 2])


def test_a_slow_edit_keeps_no_other_from_being_recorded(tmp_path: Path) -> None:
    slow, seen = threading.Event(), []

    def act(number: int) -> None:
        if number == 0:
            assert slow.wait(30)
            seen.append(count_kept(tmp_path))
        elif number == 9:
            slow.set()

    run(tmp_path, Served(act), make_items(tmp_path, 10))
    assert seen[0] >= 6, "those that came back while one was slow are in the journal"


@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_time_of_a_server_at_work_counts_as_loading_or_waiting(tmp_path: Path, concurrency: int) -> None:
    editor = Served(lambda number: time.sleep(0.1 if number else 0.2), concurrency=concurrency)
    run(tmp_path, editor, make_items(tmp_path, 12))
    (beat,) = read_heartbeats(RunPaths(tmp_path))
    assert beat.warmup_seconds == 0.0
    assert beat.busy_seconds >= 1.3 / concurrency
    assert (beat.output_seconds or 0.0) <= beat.held_seconds - beat.load_seconds - beat.busy_seconds + 0.01


def test_a_failure_is_the_items_own(tmp_path: Path) -> None:
    def act(number: int) -> None:
        if number % 3 == 0:
            raise EditFailed("no image", kind="too_large")

    rows = run(tmp_path, Served(act), make_items(tmp_path, 9))
    assert {number for number, row in rows.items() if row["state"] == "edit_failed"} == {0, 3, 6}


def test_what_ends_the_lane_loses_nothing_that_comes_back(tmp_path: Path) -> None:
    together = threading.Barrier(4, timeout=30)

    def act(number: int) -> None:
        if number < 4:
            together.wait()
        if number == 2:
            raise UserError("401")

    editor = Served(act)
    with pytest.raises(UserError, match="401"):
        run(tmp_path, editor, make_items(tmp_path, 30))
    assert count_kept(tmp_path) == len(editor.asked) - 1
    assert not read_journal(tmp_path / "journal/edit/e").deaths
    rows = run(tmp_path, Served(), make_items(tmp_path, 30))
    assert {row["state"] for row in rows.values()} == {"edited"}


def test_a_budget_that_is_spent_fails_no_item(tmp_path: Path) -> None:
    editor = Served(max_requests=8)
    with pytest.raises(UserError, match="`max_requests: 8`"):
        run(tmp_path, editor, make_items(tmp_path, 20))
    assert len(editor.asked) == 7 == count_kept(tmp_path)
    with pytest.raises(UserError, match="`max_requests: 8`"):
        run(tmp_path, Served(max_requests=8), make_items(tmp_path, 20))
    rows = run(tmp_path, Served(max_requests=22), make_items(tmp_path, 20))
    assert {row["state"] for row in rows.values()} == {"edited"}
    assert sum_up(tmp_path / "journal/edit/e/requests/k") == (22, 22), "each process that has work tries the server"


def test_another_model_begins_its_own_budget(tmp_path: Path) -> None:
    items = make_items(tmp_path, 5)
    run(tmp_path, Served(max_requests=6), items, key="old")
    rows = run(tmp_path, Served(max_requests=6), items, key="new")
    assert {row["state"] for row in rows.values()} == {"edited"}
    paths = RunPaths(tmp_path)
    assert [sum_up(paths.requests("e", key)) for key in ("old", "new")] == [(6, 6)] * 2


def test_a_stop_waits_for_what_is_under_way_and_begins_nothing_else(tmp_path: Path) -> None:
    stop, together = StopRequest(), threading.Barrier(4, timeout=30)

    def act(number: int) -> None:
        if together.wait() == 0:
            stop.ask("told to")
        together.wait()

    editor = Served(act)
    with pytest.raises(Stopped):
        run(tmp_path, editor, make_items(tmp_path, 20), stop)
    assert len(editor.asked) == 4 == count_kept(tmp_path)
    assert not read_journal(tmp_path / "journal/edit/e").deaths


def test_an_item_that_breaks_the_process_is_blamed_alone(tmp_path: Path) -> None:
    def act(number: int) -> None:
        if number == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(tmp_path, Served(act), make_items(tmp_path, 8))
    assert sum(read_journal(tmp_path / "journal/edit/e").deaths.values()) == 1


def test_another_model_behind_the_same_name_ends_the_lane_before_its_first_edit(tmp_path: Path) -> None:
    run(tmp_path, Served(), make_items(tmp_path, 2))
    other = Served()
    other.words = {"root": "b"}
    with pytest.raises(UserError, match="now says root: 'b'"):
        run(tmp_path, other, make_items(tmp_path, 4))
    assert other.asked == []
