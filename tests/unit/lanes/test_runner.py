"""The loop of every lane, around a toy: order, what is recorded when, and what ends it."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from editlane.core.errors import Stopped, UserError
from editlane.core.paths import EDIT, LaneId, RunPaths
from editlane.lanes.journal import Journal, read_journal
from editlane.lanes.lane_status import read_heartbeats
from editlane.lanes.runner import record_crashes, run_lane
from editlane.lanes.stopping import StopRequest


class Toy:
    """Doubles numbers; `errors` maps one to what its computation raises. A unit is a list of keys."""

    ahead = 1
    at_once = 1
    warms_up = True
    judge_key = None

    def __init__(self, run_dir: Path, numbers: Collection[int], errors: Mapping[int, BaseException] = {}) -> None:
        self.paths, self.lane = RunPaths(run_dir), LaneId(EDIT, "e", None, 0)
        self.wanted = {f"k{number}": number for number in numbers}
        self.errors = errors
        self.events: list[str] = []

    @property
    def folder(self) -> Path:
        return self.paths.journal("e")

    def find_kept(self, finished: Mapping[str, Any]) -> dict[str, Any]:
        return {key: finished[key] for key in self.wanted if key in finished}

    def get_editor_key(self, missing: Collection[str]) -> str:
        return "e1"

    def count_items(self, key: str) -> int:
        return 1

    def make_crash_row(self, key: str) -> dict[str, Any]:
        return {"state": "edit_failed", "error_kind": "crash", "doubled": None}

    def load_model(self) -> str:
        self.events.append("load")
        return "cpu"

    def cut_units(self, missing: Collection[str], deaths: Mapping[str, int]) -> list[list[str]]:
        return [[key] for key in missing]

    def get_keys(self, unit: list[str]) -> list[str]:
        return unit

    def list_needed(self, unit: list[str]) -> list[str]:
        return []

    def get_name(self, unit: list[str]) -> tuple[str, str]:
        return unit[0], "物理"

    def read(self, unit: list[str]) -> list[int]:
        return [self.wanted[key] for key in unit]

    def compute(self, unit: list[str], inputs: list[int], on_step: Callable[[int, int], None]) -> list[int]:
        recorded = len(read_journal(self.folder).rows)
        self.events.append(f"{unit[0]} after {recorded} records")
        on_step(1, 1)
        for number in inputs:
            if number in self.errors:
                raise self.errors[number]
        return [2 * number for number in inputs]

    def save(self, unit: list[str], outcome: list[int], seconds: float) -> dict[str, Any]:
        return {
            key: {"state": "edited", "error_kind": None, "doubled": value}
            for key, value in zip(unit, outcome, strict=True)
        }


def run(toy: Toy, stop: StopRequest | None = None) -> dict[str, Any]:
    with Journal(toy.folder, "lane0", toy.wanted.keys()) as journal:
        return run_lane(toy, journal, stop or StopRequest())


class StopAfter(StopRequest):
    """Asked for at the check after so many events of the lane."""

    def __init__(self, toy: Toy, events: int) -> None:
        super().__init__()
        self._toy, self._events = toy, events

    def check(self) -> None:
        if len(self._toy.events) == self._events:
            self.ask("told to")
        super().check()


def die_on(toy: Toy, *keys: str) -> None:
    """Record that a process of this lane died on each of these."""
    with Journal(toy.folder, "lane0") as journal:
        for key in keys:
            journal.begin([key])


def test_every_wanted_key_gets_its_row_and_a_second_run_loads_nothing(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(5))
    rows = run(toy)
    assert {key: row["doubled"] for key, row in rows.items()} == {f"k{number}": 2 * number for number in range(5)}
    again = Toy(tmp_path, range(5))
    assert run(again) == rows
    assert again.events == []
    assert len(read_heartbeats(toy.paths)) == 1, "a process without work leaves no heartbeat"


def test_only_what_the_journal_lacks_is_computed(tmp_path: Path) -> None:
    run(Toy(tmp_path, range(3)))
    more = Toy(tmp_path, range(5))
    assert sorted(run(more)) == ["k0", "k1", "k2", "k3", "k4"]
    assert [event.split()[0] for event in more.events] == ["load", "k3", "k4"]
    (_, status) = read_heartbeats(more.paths)
    assert (status.total, status.kept, status.done, status.phase) == (5, 3, 2, "done")


def test_units_on_which_a_process_died_come_last_with_all_others_recorded(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(4))
    die_on(toy, "k0", "k0", "k2")
    run(toy)
    assert toy.events[-2:] == ["k2 after 2 records", "k0 after 3 records"]


def test_after_three_deaths_an_item_is_a_row_that_the_next_run_tries_again(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(2))
    die_on(toy, "k1", "k1", "k1")
    with Journal(toy.folder, "lane0", toy.wanted.keys()) as journal:
        rows = run_lane(toy, journal, StopRequest())
        assert rows["k1"]["error_kind"] == "crash"
        assert read_journal(toy.folder).deaths["k1"] == 3, "until the tables are written it is not tried again"
        record_crashes(journal, rows)
    assert read_journal(toy.folder).deaths["k1"] == 0
    again = Toy(tmp_path, range(2))
    assert run(again)["k1"]["doubled"] == 2


def test_an_error_of_the_lane_keeps_what_was_finished_and_counts_as_a_death(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(4), errors={2: RuntimeError("illegal memory access")})
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(toy)
    found = read_journal(toy.folder)
    assert sorted(found.rows) == ["k0", "k1"]
    assert found.deaths == {"k2": 1}
    (status,) = read_heartbeats(toy.paths)
    assert status.phase == "failed"


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        PermissionError(13, "Permission denied", "an image"),
        UserError("no server"),
        Stopped("told to"),
        KeyboardInterrupt(),
    ],
)
@pytest.mark.parametrize("place", ["read", "compute", "save"])
def test_an_end_in_good_order_is_no_death_however_often_it_comes(
    tmp_path: Path, place: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **named: object) -> None:
        raise error

    toy = Toy(tmp_path, range(1))
    with monkeypatch.context() as broken:
        broken.setattr(toy, place, fail)
        for _ in range(4):
            with pytest.raises(type(error)):
                run(toy)
    assert read_journal(toy.folder).deaths == {}
    assert run(toy)["k0"]["doubled"] == 0


@pytest.mark.parametrize(
    "error", [OSError("encoder error -2"), BrokenPipeError(32, "Broken pipe"), ConnectionResetError()]
)
@pytest.mark.parametrize("place", ["read", "compute", "save"])
def test_an_os_error_that_no_user_can_fix_is_a_death_so_that_its_item_is_given_up(
    tmp_path: Path, place: str, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an image that no encoder takes, or a worker that always dies, would end the lane at every start."""
    toy = Toy(tmp_path, range(3))
    work = getattr(toy, place)
    monkeypatch.setattr(
        toy, place, lambda unit, *rest, **named: raise_it(error) if unit == ["k1"] else work(unit, *rest, **named)
    )
    for _ in range(3):
        with pytest.raises(type(error)):
            run(toy)
    rows = run(toy)
    assert [rows[key]["error_kind"] for key in ("k0", "k1", "k2")] == [None, "crash", None]


def raise_it(error: BaseException) -> None:
    raise error


def test_an_end_in_good_order_leaves_the_deaths_before_it(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(1), errors={0: OSError(28, "No space left on device")})
    die_on(toy, "k0", "k0")
    with pytest.raises(OSError, match="No space left"):
        run(toy)
    assert read_journal(toy.folder).deaths == {"k0": 2}


def test_a_full_disk_has_room_for_the_note_that_nothing_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full to the last byte, so nothing can be appended to the journal, either."""
    toy = Toy(tmp_path, range(3))

    def fill(*args: object, **named: object) -> None:
        monkeypatch.setattr("editlane.lanes.journal._write_all", raise_full)
        raise_full()

    def raise_full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(toy, "save", fill)
    with pytest.raises(OSError, match="No space left"):
        run(toy)
    found = read_journal(toy.folder)
    assert (found.rows, found.deaths) == ({}, {})


def test_what_could_not_be_saved_is_not_blamed_for_the_item_that_broke_the_device(tmp_path: Path) -> None:
    class Full(Toy):
        def save(self, unit: list[str], outcome: list[int], seconds: float) -> dict[str, Any]:
            raise OSError(28, "No space left on device")

    toy = Full(tmp_path, range(2), errors={1: RuntimeError("illegal memory access")})
    with pytest.raises(RuntimeError, match="illegal memory access"):
        run(toy)
    assert read_journal(toy.folder).deaths == {"k1": 1}


def test_an_item_that_is_killed_after_a_request_to_stop_did_not_die_of_itself(tmp_path: Path) -> None:
    """A cluster sends SIGTERM, and SIGKILL some seconds later, while the item is still at work and reports no step."""
    stop = StopRequest()

    class Slow(Toy):
        def compute(self, unit: list[str], inputs: list[int], on_step: Callable[[int, int], None]) -> list[int]:
            asking = Thread(target=stop.ask, args=("told to",))
            asking.start()
            asking.join()
            raise SystemExit("as if killed")

    with pytest.raises(SystemExit):
        run(Slow(tmp_path, range(1)), stop)
    assert read_journal(RunPaths(tmp_path).journal("e")).deaths == {}


def test_a_stop_just_before_an_item_begins_takes_that_one_back_too(tmp_path: Path) -> None:
    """Between the check and the beginning of the item there is no moment at which a stop is missed."""
    stop = StopRequest()

    class Late(Journal):
        def begin(self, keys: Any) -> None:
            stop.ask("told to")
            super().begin(keys)

    toy = Toy(tmp_path, range(1))
    with Late(toy.folder, "lane0", toy.wanted.keys()) as journal, pytest.raises(Stopped):
        run_lane(toy, journal, stop)
    assert toy.events == ["load"]
    assert read_journal(toy.folder).deaths == {}


def test_a_full_disk_in_the_writer_ends_the_lane(tmp_path: Path) -> None:
    class Full(Toy):
        def save(self, unit: list[str], outcome: list[int], seconds: float) -> dict[str, Any]:
            if unit == ["k1"]:
                raise OSError(28, "No space left on device")
            return super().save(unit, outcome, seconds)

    toy = Full(tmp_path, range(6))
    with pytest.raises(OSError, match="No space left"):
        run(toy)
    assert "k1" not in read_journal(toy.folder).rows
    assert "k5" not in " ".join(toy.events), "it does not go on with units that cannot be saved"


def test_a_lane_stops_between_two_units_and_records_the_one_at_work(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(6))
    with pytest.raises(Stopped):
        run(toy, StopAfter(toy, events=3))  # loaded, and two units computed
    assert sorted(read_journal(toy.folder).rows) == ["k0", "k1"]
    assert read_journal(toy.folder).deaths == {}
    (status,) = read_heartbeats(toy.paths)
    assert status.phase == "stopped"


def test_a_lane_without_items_does_nothing(tmp_path: Path) -> None:
    toy = Toy(tmp_path, [])
    assert run(toy) == {}
    assert toy.events == []


def failing(kind: str, *words: str) -> type[Toy]:
    """A lane whose items fail, each with the next of these words; `{}` in them is its number."""

    class Failing(Toy):
        def save(self, unit: list[str], outcome: list[int], seconds: float) -> dict[str, Any]:
            number = self.wanted[unit[0]]
            error = words[number % len(words)].format(number) if words else None
            state = "edit_failed" if error else "edited"
            return {unit[0]: {"state": state, "error_kind": kind if error else None, "error": error, "doubled": None}}

    return Failing


def test_a_cause_that_hits_the_first_eight_items_ends_the_lane_with_the_reason(tmp_path: Path) -> None:
    toy = failing("model", "RuntimeError: two devices, at 0x7f{}a")(tmp_path, range(40))
    with pytest.raises(UserError, match=r"the first 8 items that were tried .* RuntimeError: two devices, at 0x7f7a\."):
        run(toy)
    assert len(toy.events) < 12
    found = read_journal(toy.folder)
    assert (found.rows, found.deaths) == ({}, {})


def test_replies_that_are_all_cut_end_a_lane(tmp_path: Path) -> None:
    toy = failing("cut", "the reply ended at its longest length")(tmp_path, range(40))
    with pytest.raises(UserError, match=r"the first 8 items .*: the reply ended at its longest length"):
        run(toy)
    assert len(read_journal(toy.folder).rows) < 12, "they are answers, and are not asked for again"


def test_the_workflow_that_saw_this_tries_the_lane_no_more_and_the_next_one_does(tmp_path: Path, monkeypatch) -> None:
    """Each try would load the model for nothing."""

    def start(workflow: str | None, kind: str = "model") -> list[str]:
        monkeypatch.setattr("editlane.lanes.permanent_errors.identify_workflow", lambda: workflow)
        toy = failing(kind, "two devices")(tmp_path, range(8))
        with pytest.raises(UserError, match=r"the first 8 items that were tried .*: two devices\. Remove the cause"):
            run(toy)
        return toy.events

    assert len(start(None)) == 9
    assert len(start(None)) == 9, "by hand, it is tried whenever it is told to"
    assert len(start("one", kind="transport")) == 9
    assert len(start("one")) == 9, "a server may be back"
    assert start("one") == []
    assert len(start(None)) == 9
    assert len(start("another")) == 9
    note = RunPaths(tmp_path).permanent_error(LaneId(EDIT, "e", None, 0))
    for broken in ("[" * 10_000, "{", '{"workflow": 3}'):
        note.write_text(broken)
        assert len(start("another")) == 9


@pytest.mark.parametrize(
    ("kind", "words", "count"),
    [
        ("model", ("one", "another"), 40),
        ("refused", ("not this one",), 40),
        ("missing", ("no edit is given",), 40),
        ("model", ("the same",), 7),
        ("oom", ("CUDA out of memory",), 40),
        ("timeout", ("no answer within 60 s",), 40),
        ("model", ("the photo of 9{:03}x7000 is too large",), 40),
    ],
)
def test_failures_of_the_items_themselves_end_no_lane(
    tmp_path: Path, kind: str, words: tuple[str, ...], count: int
) -> None:
    assert len(run(failing(kind, *words)(tmp_path, range(count)))) == count


def test_a_lane_in_which_something_succeeded_goes_on_whatever_fails(tmp_path: Path) -> None:
    run(Toy(tmp_path, range(1)))
    assert len(run(failing("model", "the same")(tmp_path, range(20)))) == 20


def test_a_lane_with_nothing_to_do_needs_no_disk_that_can_be_written(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(1))
    expected = run(toy)
    heartbeat = toy.paths.heartbeat(toy.lane, 3)
    heartbeat.with_name(f"{heartbeat.name}.partial").mkdir()  # not removed, as everything on a read-only disk
    assert run(toy) == expected


def test_half_written_heartbeats_of_killed_processes_are_removed(tmp_path: Path) -> None:
    toy = Toy(tmp_path, range(1))
    mine = toy.paths.heartbeat(toy.lane, 3)
    others = toy.paths.heartbeat(toy.lane._replace(number=1), 1)
    mine.parent.mkdir(parents=True)
    for path in (mine, others):
        path.with_name(f"{path.name}.partial").write_text("{")
    for _ in range(2):  # also when there is nothing to do
        run(toy)
        assert [path.name for path in mine.parent.glob("*.partial")] == ["lane1.1.json.partial"]
        mine.with_name(f"{mine.name}.partial").write_text("{")
