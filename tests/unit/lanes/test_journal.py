import errno
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from editlane.core.errors import TRANSIENT_KINDS
from editlane.lanes.journal import Journal, content_key, read_journal

ROWS = {f"key{n}": {"state": "edited", "error_kind": None, "说明": "把猫变成狗\n第二行", "n": n} for n in range(4)}


def row(number: int, kind: str | None = None) -> dict:
    return {"n": number, "error_kind": kind}


def write(folder: Path, rows: dict[str, dict], writer: str = "lane0") -> bytes:
    with Journal(folder, writer) as journal:
        for key, row in rows.items():
            journal.finish({key: row})
    return (folder / f"{writer}.jsonl").read_bytes()


def test_what_was_appended_is_read_back_over_all_writers(tmp_path: Path) -> None:
    write(tmp_path, {"a": row(1)}, "lane0")
    write(tmp_path, {"b": row(2)}, "lane1")
    write(tmp_path, {"c": row(3)}, "lane0")
    assert read_journal(tmp_path).rows == {"a": row(1), "b": row(2), "c": row(3)}


def test_an_empty_or_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none").rows == {}


TEXTS = st.text(max_size=20)
FINISHED_ROWS = st.dictionaries(
    TEXTS,
    st.fixed_dictionaries(
        {"error_kind": st.sampled_from([None, "crash", "oom"]), "error": st.none() | TEXTS, "n": st.integers()}
    ),
    min_size=1,
    max_size=4,
)
STEPS = st.lists(
    st.tuples(st.just("begin"), st.lists(TEXTS, min_size=1, max_size=3)) | st.tuples(st.just("finish"), FINISHED_ROWS),
    min_size=1,
    max_size=8,
)
"""What lanes do to a journal."""


def do(journal: Journal, step: tuple[str, Any]) -> dict[str, Any]:
    """One step; the rows that it writes down."""
    kind, what = step
    if kind == "begin":
        journal.begin(what)
        return {}
    journal.finish(what)
    return {key: row for key, row in what.items() if row["error_kind"] not in TRANSIENT_KINDS}


@settings(max_examples=200)
@given(steps=STEPS, data=st.data())
def test_a_journal_cut_anywhere_reads_as_a_prefix_and_takes_new_records(tmp_path_factory, steps, data) -> None:
    folder = tmp_path_factory.mktemp("journal")
    written = []
    with Journal(folder, "lane0") as journal:
        for step in steps:
            written += do(journal, step).items()
    whole = (folder / "lane0.jsonl").read_bytes()
    cut = data.draw(st.integers(0, len(whole)), label="cut")
    (folder / "lane0.jsonl").write_bytes(whole[:cut])
    kept = dict(written[: sum(line.startswith(b'{"key"') for line in whole[:cut].split(b"\n")[:-1])])
    assert read_journal(folder).rows == kept
    write(folder, {"new": row(9)})
    assert read_journal(folder).rows == kept | {"new": row(9)}


BLOCK = 32
"""Bytes that a disk writes as one, in the model of a power cut; small, so that records span many."""


@settings(max_examples=300)
@given(steps=STEPS, data=st.data())
def test_after_a_power_cut_all_that_was_finished_is_there_and_nothing_else(tmp_path_factory, steps, data) -> None:
    """The model: what was fsynced is there. Of what was written since, any block may be there, zeros or garbage, and
    the file may end anywhere in it."""
    folder = tmp_path_factory.mktemp("journal")
    path = folder / "lane0.jsonl"
    synced, real_fsync = 0, os.fsync

    def fsync(handle: int) -> None:
        nonlocal synced
        real_fsync(handle)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            synced = os.fstat(handle).st_size

    last = data.draw(st.integers(0, len(steps) - 1), label="the step during which the power goes")
    promised: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patched, Journal(folder, "lane0") as journal:
        patched.setattr("editlane.lanes.journal.os.fsync", fsync)
        for step in steps[:last]:
            promised |= do(journal, step)
        safe = synced
        possible = promised | do(journal, steps[last])
    whole = path.read_bytes()
    size = data.draw(st.integers(safe, len(whole)), label="size")
    left = bytearray(whole[:size])
    for start in range(safe, size, BLOCK):
        end = min(start + BLOCK, size)
        fill = data.draw(st.sampled_from(["written", "zeros", "garbage"]))
        if fill != "written":
            left[start:end] = bytes(end - start) if fill == "zeros" else data.draw(st.binary(min_size=end - start))
    path.write_bytes(left)

    found = read_journal(folder).rows
    assert found.items() >= {key: row for key, row in promised.items() if row == possible[key]}.items()
    assert all(row in (promised.get(key), possible.get(key)) for key, row in found.items())
    write(folder, {"new": row(9)})
    assert read_journal(folder).rows == found | {"new": row(9)}


def test_a_damaged_line_is_left_out_and_the_others_stay(tmp_path: Path, caplog) -> None:
    lines = write(tmp_path, ROWS).splitlines(keepends=True)
    lines[1] = b"\x00" * (len(lines[1]) - 1) + b"\n"
    lines[2] = b'{"key": 3, "row": {}}\n'
    (tmp_path / "lane0.jsonl").write_bytes(b"".join(lines))
    assert list(read_journal(tmp_path).rows) == ["key0", "key3"]
    assert "line 2 is damaged" in caplog.text
    assert "line 3 is damaged" in caplog.text


def test_a_row_with_a_flipped_digit_is_no_row(tmp_path: Path) -> None:
    text = write(tmp_path, {"a": row(1), "b": row(2)})
    (tmp_path / "lane0.jsonl").write_bytes(text.replace(b'"n": 2', b'"n": 3'))
    assert read_journal(tmp_path).rows == {"a": row(1)}


def test_only_what_is_wanted_is_kept(tmp_path: Path) -> None:
    with Journal(tmp_path, "lane0") as journal:
        journal.begin(["a", "b", "c"])
        journal.finish({"a": row(1), "b": row(2)})
    found = read_journal(tmp_path, {"b", "c"})
    assert (found.rows, found.deaths) == ({"b": row(2)}, {"c": 1})


keys = st.sampled_from([content_key(n=n) for n in range(6)])
records = st.lists(st.tuples(st.sampled_from(["begin", "row", "passing"]), st.sets(keys, min_size=1, max_size=3)))


@settings(max_examples=60)
@given(records, st.sets(keys))
def test_reading_only_what_is_wanted_finds_what_reading_everything_finds(tmp_path_factory, records, wanted) -> None:
    folder = tmp_path_factory.mktemp("journal")
    for number, (what, some) in enumerate(records):
        with Journal(folder, f"lane{number % 3}") as journal:
            if what == "begin":
                journal.begin(sorted(some))
            else:
                journal.finish({key: row(number, "oom" if what == "passing" else None) for key in sorted(some)})
    everything, some = read_journal(folder), read_journal(folder, wanted)
    assert some.rows == {key: row for key, row in everything.rows.items() if key in wanted}
    assert some.deaths == {key: count for key, count in everything.deaths.items() if key in wanted}


@pytest.mark.parametrize("later", ["lane0", "lane9"])
def test_deaths_in_another_lanes_file_do_not_outlive_what_came_of_the_item(tmp_path: Path, later: str) -> None:
    """The item moved from one lane to another, whose files are read in the order of their names."""
    earlier = {"lane0": "lane9", "lane9": "lane0"}[later]
    for _ in range(3):
        with Journal(tmp_path, later, {"a"}) as journal:
            journal.begin(["a"])
    with Journal(tmp_path, earlier, {"a"}) as journal:
        assert journal.finished.deaths == {"a": 3}
        journal.finish({"a": row(1, "crash")})
    assert read_journal(tmp_path).deaths == {}
    with Journal(tmp_path, later, {"a"}) as journal:
        assert journal.finished.deaths == {}
        journal.begin(["a"])
    assert read_journal(tmp_path).deaths == {"a": 1}, "a death after that counts again"


def test_the_end_in_a_journal_of_an_older_version_still_ends_the_deaths_before_it(tmp_path: Path) -> None:
    with Journal(tmp_path, "lane0") as journal:
        journal.begin(["a", "b"])
        journal._append([{"end": ["a", "b"]}], wait=False)
        journal.begin(["b"])
    assert read_journal(tmp_path).deaths == {"b": 1}


def test_what_is_taken_back_is_as_if_it_had_not_begun(tmp_path: Path) -> None:
    with Journal(tmp_path, "lane0") as journal:
        journal.begin(["猫", "b"])
        journal.begin(["c"])
        journal.finish({"c": row(1)})
        before = (tmp_path / "lane0.jsonl").stat().st_size
        journal.take_back(["b", "猫", "c", "never begun"])
        assert (tmp_path / "lane0.jsonl").stat().st_size == before
        journal.begin(["d"])
    found = read_journal(tmp_path)
    assert (found.rows, found.deaths) == ({"c": row(1)}, {"d": 1})
    assert read_journal(tmp_path, {"b", "d"}).deaths == {"d": 1}


def test_an_item_that_is_recorded_at_this_moment_is_not_taken_back(tmp_path: Path, monkeypatch) -> None:
    """The writer's thread records it while the thread of the stop takes back what is at work."""
    with Journal(tmp_path, "lane0") as journal:
        journal.begin(["a"])
        stopping = threading.Thread(target=journal.take_back, args=(["a"],))

        def fsync(handle: int) -> None:
            stopping.start()
            stopping.join(0.2)

        with monkeypatch.context() as slow:
            slow.setattr(os, "fsync", fsync)
            journal.finish({"a": row(1, "oom")})
        stopping.join()
        journal.begin(["a"])
    assert read_journal(tmp_path).deaths == {"a": 1}


def test_a_journal_that_cannot_be_written_any_more_says_what_that_means(tmp_path: Path, caplog) -> None:
    with Journal(tmp_path, "lane0") as journal:
        journal.begin(["a"])
        (tmp_path / "lane0.jsonl").rename(tmp_path / "moved")
        (tmp_path / "lane0.jsonl").mkdir()
        journal.take_back(["a"])
    assert "cannot take back what began (Is a directory); it counts as a death" in caplog.text


def test_a_lane_parses_no_record_of_other_lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for lane in range(3):
        with Journal(tmp_path, f"lane{lane}") as journal:
            journal.begin([f"{lane}-a", f"{lane}-b"])
            journal.finish({f"{lane}-a": row(lane), f"{lane}-b": row(lane, "oom")})
    parsed: list[str] = []
    loads = json.loads
    monkeypatch.setattr("editlane.lanes.journal.json.loads", lambda text: (parsed.append(text), loads(text))[1])
    with Journal(tmp_path, "lane1", {"1-a", "1-b"}) as journal:
        assert journal.finished.rows == {"1-a": row(1)}
    assert parsed
    assert all(b"1-" in text for text in parsed)


def test_a_lane_that_has_all_that_is_wanted_does_not_open_the_files_of_others(tmp_path: Path) -> None:
    write(tmp_path, {"a": row(1)}, "lane0")
    write(tmp_path, {"b": row(2)}, "lane1")
    with Journal(tmp_path, "lane0", {"a", "b"}) as journal:
        assert journal.finished.rows == {"a": row(1), "b": row(2)}
    (tmp_path / "lane1.jsonl").unlink()
    (tmp_path / "lane1.jsonl").mkdir()  # to open it would raise
    with Journal(tmp_path, "lane0", {"a"}) as journal:
        assert journal.finished.rows == {"a": row(1)}


def test_the_writers_own_record_of_a_key_counts_as_the_latest(tmp_path: Path) -> None:
    write(tmp_path, {"a": row(1), "b": row(1)}, "lane9")
    write(tmp_path, {"a": row(2)}, "lane1")
    for wanted in (None, {"a"}, {"a", "b"}):
        with Journal(tmp_path, "lane1", wanted) as journal:
            assert journal.finished.rows["a"] == row(2)


def test_a_write_that_fails_halfway_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(handle: int, data: memoryview) -> None:
        os.write(handle, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path, "lane0") as journal:
        journal.finish({"a": row(1)})
        with monkeypatch.context() as full:
            full.setattr("editlane.lanes.journal._write_all", half)
            with pytest.raises(OSError, match=r"No space left on device.*lane0\.jsonl"):
                journal.finish({"b": row(2)})
        journal.finish({"c": row(3)})
    assert (tmp_path / "lane0.jsonl").read_bytes().count(b"\n") == 2
    assert read_journal(tmp_path).rows == {"a": row(1), "c": row(3)}


def test_the_tail_of_another_lane_that_is_still_writing_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "lane1.jsonl").write_bytes(b'{"key": "x", "row"')
    with Journal(tmp_path, "lane0") as journal:
        assert journal.finished.rows == {}
    assert (tmp_path / "lane1.jsonl").read_bytes() == b'{"key": "x", "row"'


def test_a_second_writer_waits_for_the_first_and_sees_its_records(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path("scripts").resolve())!r})
from pathlib import Path
from editlane.lanes.journal import Journal
journal = Journal(Path({str(tmp_path)!r}), "lane0")
print("open", flush=True)
time.sleep(0.8)
journal.finish({{"late": {{"n": 1, "error_kind": None}}}})
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with Journal(tmp_path, "lane0") as journal:
            assert journal.finished.rows == {"late": row(1)}


def test_a_batch_is_one_write(tmp_path: Path) -> None:
    with Journal(tmp_path, "lane0") as journal:
        journal.finish(ROWS)
    records = [json.loads(line.split("\t")[0]) for line in (tmp_path / "lane0.jsonl").read_text().splitlines()]
    assert [record["key"] for record in records] == list(ROWS)


def test_a_key_depends_on_every_part_and_not_on_their_order() -> None:
    key = content_key(source="a", instruction="下雨", params={"x": 1, "y": 2})
    assert key == content_key(params={"y": 2, "x": 1}, instruction="下雨", source="a")
    assert len({key, content_key(source="a", instruction="下雪", params={"x": 1, "y": 2})}) == 2
    assert len(key) == 64


def test_a_death_is_work_that_was_begun_and_neither_finished_nor_given_up(tmp_path: Path) -> None:
    with Journal(tmp_path, "lane0") as journal:
        journal.begin(["a", "b", "c"])
        journal.finish({"a": row(1), "b": row(2, "oom")})
    with Journal(tmp_path, "lane1") as journal:
        assert journal.finished.deaths == {"c": 1}
        journal.begin(["c"])
        journal.begin(["b"])
    found = read_journal(tmp_path)
    assert found.rows == {"a": row(1)}
    assert found.deaths == {"c": 2, "b": 1}


def test_a_failure_that_another_attempt_may_mend_is_not_kept_and_one_of_the_item_is(tmp_path: Path) -> None:
    with Journal(tmp_path, "lane0") as journal:
        kinds = ("oom", "model", "missing", "refused", "decode")
        journal.finish({kind: row(n, kind) for n, kind in enumerate(kinds)})
    assert list(read_journal(tmp_path).rows) == ["refused", "decode"]
