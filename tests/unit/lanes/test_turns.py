"""Chains of turns in a lane: each turn is an item that edits the edit of the turn before."""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from adapters import built
from images_double import MODEL, serving_images
from PIL import Image

from editlane.core.errors import EditFailed, OutOfMemory, Stopped, UserError
from editlane.core.types import Edit, EditRequest, Item, Reference, RunsOn
from editlane.datasets.turns import join_turns, list_beginnings
from editlane.editors.given import GivenEditor, GivenParams
from editlane.editors.served.openai_engine import ServedEditor
from editlane.images.files import file_sha256
from editlane.lanes import editor_spec
from editlane.lanes.busy_time import BusyTime, Spent
from editlane.lanes.editing import EditWork
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.journal import Journal, read_journal
from editlane.lanes.runner import record_crashes, run_lane
from editlane.lanes.stopping import StopRequest

TURNS = ("戴上帽子", "换成绿色", "撤销上一步")


def make_chain(run_dir: Path, name: str = "甲", turns: Sequence[str] = TURNS, red: int = 1) -> list[Item]:
    path = run_dir / f"sources/{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (20, 10), (red, 0, 0)).save(path)
    return [
        Item(
            item_id=f"{name}-turn{number}",
            category="指代",
            instruction=text,
            language="zh",
            source_path=f"sources/{name}.png",
            source_sha256=file_sha256(path),
            width=20,
            height=10,
            cost=1.0,
            turns=tuple(turns[:number]) if number > 1 else (),
            after=f"{name}-turn{number - 1}" if number > 1 else None,
        )
        for number, text in enumerate(list_beginnings(turns, "zh"), 1)
    ]


class Adder:
    """Adds 40 to the red of what it is given; `plan` maps an item to what its attempts do first."""

    RUNS_ON = RunsOn.NOTHING

    def __init__(self, plan: dict[str, list[Any]] | None = None, mode: str = "RGB") -> None:
        self.plan, self.mode = plan or {}, mode
        self.requests: list[EditRequest] = []

    @property
    def asked(self) -> list[str]:
        return [request.item.item_id for request in self.requests]

    def edit(self, request: EditRequest) -> Edit:
        self.requests.append(request)
        acts = self.plan.get(request.item.item_id, [])
        act = acts.pop(0) if acts else None
        if isinstance(act, BaseException):
            raise act
        if isinstance(act, Image.Image):
            return Edit(image=act)
        if act:
            act()
        red = request.source.getpixel((0, 0))[0]
        return Edit(image=Image.new("RGB", request.source.size, ((red + 40) % 256, 0, 0)).convert(self.mode))


class Served(Adder):
    """The same behind a server."""

    RUNS_ON = RunsOn.SERVER

    def __init__(self, plan: dict[str, list[Any]] | None = None, **params: Any) -> None:
        super().__init__(plan)
        self.params = SimpleNamespace(**{"concurrency": 4, "max_requests": None, "requests_per_minute": None} | params)
        self.words: dict[str, str] = {}

    def try_server(self, on_request: Callable[[], None], on_image: Callable[[], None]) -> None:
        on_request()

    def edit(self, request: EditRequest) -> Edit:
        request.on_request()
        return super().edit(request)


def make_spec(run_dir: Path, **changed: Any) -> EditorSpec:
    settings = {"editor": "e", "identity": {"adapter": "x"}, "editor_key": "k", "run_dir": run_dir, "seed": 42}
    return EditorSpec(**settings | changed)


Rows = dict[str, dict[str, Any]]


def run(run_dir: Path, editor: Any, items: Sequence[Item], stop: StopRequest | None = None, **changed: Any) -> Rows:
    """The rows of a lane by item, run as edit_lane.py does."""
    spec, stop = make_spec(run_dir, **changed), stop or StopRequest()
    work = EditWork(spec, 0, items, lambda: editor, stop.check)
    with Journal(work.paths.journal("e"), work.lane.writer, work.wanted.keys()) as journal:
        rows = run_lane(work, journal, stop)
        record_crashes(journal, rows)
    return {item.item_id: rows[spec.key(item)] for item in items}


def get_red(run_dir: Path, row: dict[str, Any]) -> int:
    with Image.open(run_dir / row["edited_path"]) as image:
        return image.convert("RGB").getpixel((0, 0))[0]


def without_times(rows: Rows) -> Rows:
    return {name: row | {"edit_seconds": None} for name, row in rows.items()}


def list_deaths(run_dir: Path, items: Sequence[Item]) -> list[str]:
    deaths = read_journal(run_dir / "journal/edit/e").deaths
    return [item.item_id for item in items if deaths[make_spec(run_dir).key(item)]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_turn_edits_the_edit_before_and_is_told_its_own_text(tmp_path: Path, mode: str) -> None:
    items, editor = make_chain(tmp_path), Adder(mode=mode)
    rows = run(tmp_path, editor, items)
    seen = [(one.item.instruction, one.source.getpixel((0, 0))[0]) for one in editor.requests]
    assert seen == list(zip(TURNS, (1, 41, 81), strict=True))
    assert [get_red(tmp_path, row) for row in rows.values()] == [41, 81, 121]
    seeds = [request.seed for request in editor.requests]
    assert seeds == [row["seed"] for row in rows.values()] and len(set(seeds)) == 3
    shas = [row["edited_sha256"] for row in rows.values()]
    assert [row["former_sha256"] for row in rows.values()] == [None, *shas[:2]]


def test_a_turn_gets_the_further_images_of_its_item(tmp_path: Path) -> None:
    (other,) = make_chain(tmp_path, "帽子", ["转"], red=9)
    hat = Reference(path=other.source_path, sha256=other.source_sha256, width=20, height=10)
    editor = Adder()
    run(tmp_path, editor, [replace(item, references=(hat,)) for item in make_chain(tmp_path)])
    assert [one.references[0].getpixel((0, 0))[0] for one in editor.requests] == [9, 9, 9]


def test_a_key_holds_all_turns_so_far_and_that_of_a_first_turn_is_as_without_any(tmp_path: Path) -> None:
    spec, (first, second, _) = make_spec(tmp_path), make_chain(tmp_path)
    assert spec.key(first) == spec.key(replace(first, after="x")), "which turn it follows is no part of it"
    assert spec.key(second) != spec.key(replace(second, turns=("别的", TURNS[1])))


def test_after_a_turn_that_failed_the_later_ones_fail_and_are_not_asked(tmp_path: Path) -> None:
    items, others = make_chain(tmp_path), make_chain(tmp_path, "乙")
    editor = Adder({"甲-turn2": [EditFailed("no luck", kind="nonfinite")]})
    rows = run(tmp_path, editor, [*items, *others])
    ended = [(rows[item.item_id]["state"], rows[item.item_id]["error_kind"]) for item in items]
    assert ended == [("edited", None), ("edit_failed", "nonfinite"), ("edit_failed", "former_turn")]
    assert rows["甲-turn3"]["error"] == "turn 2 has no edit: no luck"
    assert (rows["甲-turn3"]["former_sha256"], rows["甲-turn3"]["edited_path"]) == (None, None)
    assert "甲-turn3" not in editor.asked
    assert [get_red(tmp_path, rows[item.item_id]) for item in others] == [41, 81, 121]
    again = Adder()
    assert run(tmp_path, again, [*items, *others]) == rows
    assert again.asked == []


def test_a_failure_is_told_through_the_whole_chain(tmp_path: Path) -> None:
    rows = run(tmp_path, Adder({"甲-turn1": [EditFailed("no luck", kind="nonfinite")]}), make_chain(tmp_path))
    assert rows["甲-turn3"]["error"] == "turn 1 has no edit: no luck"


def test_a_photo_that_cannot_be_read_is_unreadable_for_every_turn(tmp_path: Path) -> None:
    items = make_chain(tmp_path)
    (tmp_path / "sources/甲.png").write_bytes(b"broken")
    items = [replace(item, source_sha256=file_sha256(tmp_path / "sources/甲.png")) for item in items]
    rows = run(tmp_path, Adder(), items)
    assert {(row["state"], row["error_kind"]) for row in rows.values()} == {("source_unreadable", "decode")}
    assert run(tmp_path, Adder(), items) == rows


def test_a_failure_that_may_pass_is_tried_again_with_the_turns_after_it(tmp_path: Path) -> None:
    items = make_chain(tmp_path)
    run(tmp_path, Adder({"甲-turn2": [OutOfMemory("full"), OutOfMemory("full")]}), items)
    editor = Adder()
    rows = run(tmp_path, editor, items)
    assert editor.asked == ["甲-turn2", "甲-turn3"]
    assert [get_red(tmp_path, row) for row in rows.values()] == [41, 81, 121]


def test_out_of_memory_tries_the_turn_once_more(tmp_path: Path) -> None:
    editor = Adder({"甲-turn2": [OutOfMemory("full")]})
    rows = run(tmp_path, editor, make_chain(tmp_path))
    assert editor.asked == ["甲-turn1", "甲-turn2", "甲-turn2", "甲-turn3"]
    assert [row["tiled_vae"] for row in rows.values()] == [False, True, False]
    assert get_red(tmp_path, rows["甲-turn3"]) == 121


def test_all_first_turns_come_before_the_second_ones(tmp_path: Path) -> None:
    editor = Adder()
    run(tmp_path, editor, [*make_chain(tmp_path), *make_chain(tmp_path, "乙")])
    assert editor.asked == [f"{name}-turn{turn}" for turn in (1, 2, 3) for name in "甲乙"]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_lane_that_is_stopped_within_a_chain_goes_on_with_the_rest(tmp_path: Path, turn: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = run(tmp_path / "whole", Adder(), make_chain(tmp_path / "whole"))
    stop = StopRequest()
    editor = Adder({f"甲-turn{turn}": [lambda: stop.ask("told to")]})
    (tmp_path / "run").mkdir()
    items = make_chain(tmp_path / "run")
    if turn < 3:
        with pytest.raises(Stopped):
            run(tmp_path / "run", editor, items, stop)
    else:
        run(tmp_path / "run", editor, items, stop)
    assert not list_deaths(tmp_path / "run", items)
    again = Adder()
    assert without_times(run(tmp_path / "run", again, items)) == without_times(whole)
    assert editor.asked + again.asked == [item.item_id for item in items]
    for row in whole.values():
        paths = [tmp_path / name / row["edited_path"] for name in ("whole", "run")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"other")], ids=["gone", "changed"])
def test_without_the_file_of_an_edit_it_and_the_turns_after_it_are_made_anew(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    items = [*make_chain(tmp_path), *make_chain(tmp_path, "乙")]
    rows = run(tmp_path, Adder(), items)
    change(tmp_path / rows["甲-turn2"]["edited_path"])
    editor = Adder()
    assert without_times(run(tmp_path, editor, items)) == without_times(rows)
    assert editor.asked == ["甲-turn2", "甲-turn3"]


def test_a_file_that_goes_while_the_lane_runs_is_no_source_and_is_made_anew(tmp_path: Path) -> None:
    items, path = make_chain(tmp_path), tmp_path / "e/images/指代/甲-turn2.png"
    others = make_chain(tmp_path, "乙")
    editor = Adder({"乙-turn2": [lambda: wait_for(path).unlink()]})
    rows = run(tmp_path, editor, [*items, *others])
    assert (rows["甲-turn3"]["state"], rows["甲-turn3"]["error_kind"]) == ("edit_failed", "missing")
    assert rows["甲-turn3"]["error"].startswith("the edit of turn 2 cannot be used: ")
    again = Adder()
    rows = run(tmp_path, again, [*items, *others])
    assert again.asked == ["甲-turn2", "甲-turn3"]
    assert get_red(tmp_path, rows["甲-turn3"]) == 121


def wait_for(path: Path) -> Path:
    pause = threading.Event()
    while not path.exists():
        pause.wait(0.01)
    return path


def test_a_former_edit_that_is_another_now_makes_the_later_turns_anew(tmp_path: Path) -> None:
    items = make_chain(tmp_path)
    rows = run(tmp_path, Adder(), items)
    spec, other = make_spec(tmp_path), Image.new("RGB", (20, 10), (200, 0, 0))
    other.save(tmp_path / rows["甲-turn1"]["edited_path"])
    changed = rows["甲-turn1"] | {"edited_sha256": file_sha256(tmp_path / rows["甲-turn1"]["edited_path"])}
    with Journal(tmp_path / "journal/edit/e", "lane0") as journal:
        journal.finish({spec.key(items[0]): changed})
    editor = Adder()
    rows = run(tmp_path, editor, items)
    assert editor.asked == ["甲-turn2", "甲-turn3"]
    assert [get_red(tmp_path, row) for row in rows.values()] == [200, 240, 24]


# --- Deaths, and errors that end the lane ----------------------------------------------------------------------------


def test_a_turn_on_which_three_processes_died_is_a_row_and_so_are_the_later_ones(tmp_path: Path) -> None:
    items = make_chain(tmp_path)
    with Journal(tmp_path / "journal/edit/e", "lane0") as journal:
        for _ in range(3):
            journal.begin([make_spec(tmp_path).key(items[1])])
    editor = Adder()
    rows = run(tmp_path, editor, items)
    assert [row["error_kind"] for row in rows.values()] == [None, "crash", "former_turn"]
    assert editor.asked == ["甲-turn1"]
    again = Adder()
    rows = run(tmp_path, again, items)
    assert again.asked == ["甲-turn2", "甲-turn3"], "the next run tries what crashed"
    assert get_red(tmp_path, rows["甲-turn3"]) == 121


def test_deaths_count_on_a_turn_that_was_not_tried_before(tmp_path: Path) -> None:
    """And on one whose row no longer counts, because it is about another edit than the turn before has now."""
    items = make_chain(tmp_path)
    run(tmp_path, Adder({"甲-turn1": [EditFailed("busy", kind="transport")]}), items)
    for _ in range(2):
        with Journal(tmp_path / "journal/edit/e", "lane0") as journal:
            for _ in range(3):
                journal.begin([make_spec(tmp_path).key(items[1])])
        editor = Adder()
        rows = run(tmp_path, editor, items)
        assert [row["error_kind"] for row in rows.values()] == [None, "crash", "former_turn"]
        assert "甲-turn2" not in editor.asked
        run(tmp_path, Adder(), items)
        (tmp_path / rows["甲-turn1"]["edited_path"]).unlink()
        other = Adder({"甲-turn1": [Image.new("RGB", (20, 10), (9, 9, 9))], "甲-turn2": [Stopped("now")]})
        with pytest.raises(Stopped):
            run(tmp_path, other, items)


def test_a_lane_whose_turns_need_no_try_loads_no_model(tmp_path: Path) -> None:
    items = make_chain(tmp_path)
    rows = run(tmp_path, Adder({"甲-turn1": [EditFailed("no luck", kind="nonfinite")]}), items)

    class Heavy(EditWork):
        def load_model(self) -> str:
            raise AssertionError("the model is loaded")

    work = Heavy(make_spec(tmp_path), 0, items, Adder)
    with Journal(work.paths.journal("e"), work.lane.writer, work.wanted.keys()) as journal:
        found = run_lane(work, journal, StopRequest())
    assert [row | {"edit_seconds": None} for row in found.values()] == list(without_times(rows).values())


def test_another_lane_finds_what_is_done_of_a_chain_that_failed_in_this_one(tmp_path: Path) -> None:
    items = make_chain(tmp_path)
    spec = make_spec(tmp_path)
    for lane, editor in ((1, Adder({"甲-turn1": [EditFailed("busy", kind="transport")]})), (0, Adder())):
        work = EditWork(spec, lane, items, lambda editor=editor: editor)
        with Journal(work.paths.journal("e"), work.lane.writer, work.wanted.keys()) as journal:
            run_lane(work, journal, StopRequest())
    found = spec.find_all_kept(items, read_journal(work.paths.journal("e")).rows)
    assert [get_red(tmp_path, found[item.item_id]) for item in items] == [41, 81, 121]


@pytest.mark.parametrize("served", [False, True])
def test_a_turn_on_which_a_process_died_comes_last_and_the_later_ones_after_it(tmp_path: Path, served: bool) -> None:
    items = [*make_chain(tmp_path), *make_chain(tmp_path, "乙")]
    with Journal(tmp_path / "journal/edit/e", "lane0") as journal:
        journal.begin([make_spec(tmp_path).key(items[0])])
    editor = Served() if served else Adder()
    rows = run(tmp_path, editor, items)
    assert editor.asked[3:] == ["甲-turn1", "甲-turn2", "甲-turn3"]
    assert {row["state"] for row in rows.values()} == {"edited"}


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("where", ["edit", "save", "read"])
@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), UserError("401")], ids=["bug", "user"])
def test_what_ends_a_turn_ends_those_that_wait_for_it_and_blames_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: bool, where: str, error: Exception
) -> None:
    items = make_chain(tmp_path, turns=TURNS * 3)

    def fail(*_: object) -> None:
        raise error

    editor = (Served if served else Adder)({"甲-turn2": [error]} if where == "edit" else {})
    if where != "edit":
        name = {"save": "save_png", "read": "open_recorded"}[where]
        monkeypatch.setattr(f"editlane.lanes.editing.{name}", fail)
    with pytest.raises(type(error), match=str(error)):
        run(tmp_path, editor, items)
    guilty = "甲-turn2" if where == "edit" else "甲-turn1"
    blamed = list_deaths(tmp_path, items)
    if isinstance(error, UserError):
        assert blamed == []
    elif where == "read" and served:
        assert guilty in blamed, "every turn reads its photo"
    else:
        assert blamed == [guilty]
    assert len(editor.asked) == {"edit": 2, "save": 1, "read": 0}[where]


# --- Several edits at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chains", "turns"), [(1, 9), (3, 9), (6, 3), (9, 1)])
def test_a_server_that_edits_several_at_once_finishes_chains_of_any_length(
    tmp_path: Path, chains: int, turns: int
) -> None:
    texts = [f"第 {number} 步" for number in range(turns)]
    items = [item for name in "甲乙丙丁戊己庚辛壬"[:chains] for item in make_chain(tmp_path, name, texts, red=0)]
    rows = run(tmp_path, Served(), items)
    for item in items:
        assert get_red(tmp_path, rows[item.item_id]) == 40 * item.turn % 256
    again = Served()
    assert run(tmp_path, again, items) == rows
    assert again.asked == []


def test_turns_of_different_chains_are_edited_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=30)
    names = "甲乙丙"
    plan: dict[str, list[Any]] = {f"{name}-turn{turn}": [together.wait] for name in names for turn in (1, 2, 3)}
    items = [item for name in names for item in make_chain(tmp_path, name)]
    rows = run(tmp_path, Served(plan), items)
    assert {row["state"] for row in rows.values()} == {"edited"}


def test_waiting_for_the_turn_before_is_not_part_of_a_turns_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, spending = [], BusyTime.spending

    def count_edits(busy: BusyTime) -> AbstractContextManager[Spent]:
        begun.append(len(list((tmp_path / "e/images").rglob("*.png"))))
        return spending(busy)

    monkeypatch.setattr(BusyTime, "spending", count_edits)
    pause = threading.Event()
    run(tmp_path, Served({"甲-turn1": [lambda: pause.wait(0.2)]}), make_chain(tmp_path))
    assert begun == [0, 1, 2], "the time of a turn begins when the turn before is there"


def test_a_budget_that_ends_within_a_chain_loses_no_turn_that_is_done(tmp_path: Path) -> None:
    items = make_chain(tmp_path)
    with pytest.raises(UserError, match="`max_requests: 3`"):
        run(tmp_path, Served(max_requests=3), items)  # one of them tries the server
    editor = Served(max_requests=5)
    rows = run(tmp_path, editor, items)
    assert editor.asked == ["甲-turn3"]
    assert [get_red(tmp_path, row) for row in rows.values()] == [41, 81, 121]


@pytest.mark.parametrize(("chains", "turns"), [(1, 7), (6, 3)])
def test_the_served_adapter_edits_chains(tmp_path: Path, chains: int, turns: int) -> None:
    texts = [f"第 {number} 步" for number in range(1, turns + 1)]
    names = "甲乙丙丁戊己"[:chains]
    items = [item for red, name in enumerate(names) for item in make_chain(tmp_path, name, texts, red)]
    with serving_images() as double:
        params = {"base_url": double.url, "dialect": "vllm-omni", "concurrency": 4, "size": "64x32"}
        editor = built(ServedEditor, model=MODEL, params=params)
        rows = run(tmp_path, editor, items)
        assert sorted(one["prompt"] for one in double.edits) == sorted(texts * chains)
        sent = {files[0][1] for files in double.images}
    assert {row["state"] for row in rows.values()} == {"edited"}
    assert len(sent) >= len(items), "every turn sends the picture of its own"


# --- Failures that all share, unchanged edits, edits made elsewhere --------------------------------------------------


def test_turns_that_were_not_tried_are_no_sign_of_a_shared_cause_and_hide_none(tmp_path: Path) -> None:
    def broken(count: int) -> tuple[list[Item], Adder]:
        run_dir = tmp_path / str(count)
        run_dir.mkdir()
        names = [f"链{number}" for number in range(count)]
        plan = {f"{name}-turn1": [EditFailed("no kernel", kind="model")] for name in names}
        return [item for name in names for item in make_chain(run_dir, name)], Adder(plan)

    items, editor = broken(7)
    rows = run(tmp_path / "7", editor, items)
    assert {row["error_kind"] for row in rows.values()} == {"model", "former_turn"}
    items, editor = broken(8)
    with pytest.raises(UserError, match="the first 8 items that were tried all failed"):
        run(tmp_path / "8", editor, items)


def test_unchanged_compares_a_turn_with_what_it_edited(tmp_path: Path) -> None:
    """An undo is a change; a turn that does nothing is none, whatever came before."""
    items, photo = make_chain(tmp_path, turns=[*TURNS, "再亮一点"]), Image.new("RGB", (20, 10), (1, 0, 0))
    rows = run(tmp_path, Adder({"甲-turn3": [photo], "甲-turn4": [photo]}), items)
    assert [row["unchanged"] for row in rows.values()] == [False, False, False, True]


def test_the_comparison_of_an_older_rule_is_renewed_with_the_edit_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = make_chain(tmp_path)
    rows = run(tmp_path, Adder(), items)
    with Journal(tmp_path / "journal/edit/e", "lane0") as journal:
        for item in items:
            old = rows[item.item_id] | {"unchanged": True, "unchanged_rule": None}
            journal.finish({make_spec(tmp_path).key(item): old})
    compared = []
    monkeypatch.setattr(editor_spec, "is_unchanged", lambda *images: compared.append(images) or False)
    assert run(tmp_path, Adder(), items) == rows
    assert [[image.getpixel((0, 0))[0] for image in pair] for pair in compared] == [[1, 41], [41, 81], [81, 121]]


def give(run_dir: Path, items: list[Item], reds: list[int | None]) -> list[Item]:
    """The items with a given edit of this red each; None: none is given."""
    given = []
    for item, red in zip(items, reds, strict=True):
        path = f"sources/{item.item_id}.png"
        Image.new("RGB", (20, 10), (red or 0, 0, 0)).save(run_dir / path)
        there = {"given_path": path, "given_sha256": file_sha256(run_dir / path)} if red is not None else {}
        given.append(replace(item, **there))
    return given


def test_an_edit_made_elsewhere_is_that_of_its_turn_whatever_the_turn_before_has(tmp_path: Path) -> None:
    items = give(tmp_path, make_chain(tmp_path, turns=[*TURNS, "再亮一点"]), [None, 90, 90, 1])
    editor = GivenEditor(model=None, revision=None, params=GivenParams())
    rows = run(tmp_path, editor, items, made_elsewhere=True)
    assert [row["error_kind"] for row in rows.values()] == ["missing", None, None, None]
    assert [get_red(tmp_path, row) for row in list(rows.values())[1:]] == [90, 90, 1]
    assert [row["unchanged"] for row in rows.values()] == [None, None, True, False]
    assert run(tmp_path, editor, items, made_elsewhere=True) | {"甲-turn1": rows["甲-turn1"]} == rows
    spec, finished = make_spec(tmp_path, made_elsewhere=True), read_journal(tmp_path / "journal/edit/e").rows
    assert list(spec.find_all_kept(items, finished)) == [item.item_id for item in items[1:]]
    items = [*give(tmp_path, items[:1], [60]), *items[1:]]
    rows = run(tmp_path, editor, items, made_elsewhere=True)
    assert [row["unchanged"] for row in rows.values()] == [False, False, True, False]


def test_a_chain_of_which_only_the_last_edit_is_given_is_one_item_that_only_that_edit_has(tmp_path: Path) -> None:
    (item,) = give(tmp_path, make_chain(tmp_path)[:1], [90])
    item = replace(item, turns=TURNS, instruction=join_turns(TURNS, "zh"))
    elsewhere = GivenEditor(model=None, revision=None, params=GivenParams())
    (row,) = run(tmp_path, elsewhere, [item], made_elsewhere=True).values()
    assert (row["state"], row["unchanged"], row["former_sha256"]) == ("edited", False, None)
    editor = Adder()
    (row,) = run(tmp_path, editor, [item], identity={"adapter": "y"}).values()
    assert (row["state"], row["error_kind"], editor.asked) == ("edit_failed", "former_turn", [])
    assert row["error"] == "turn 2 has no edit: the dataset has that of the last turn only"
