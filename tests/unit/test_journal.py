import json
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from editlane.journal import Journal, content_key, read_journal

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


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_journal_cut_anywhere_reads_as_a_prefix_and_takes_new_records(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("journal")
    whole = write(folder, ROWS)
    cut = data.draw(st.integers(0, len(whole)))
    (folder / "lane0.jsonl").write_bytes(whole[:cut])
    kept = list(ROWS)[: whole[:cut].count(b"\n")]
    assert list(read_journal(folder).rows) == kept
    write(folder, {"new": row(9)})
    assert read_journal(folder).rows == {key: ROWS[key] for key in kept} | {"new": row(9)}


def test_a_damaged_line_is_left_out_and_the_others_stay(tmp_path: Path, caplog) -> None:
    lines = write(tmp_path, ROWS).splitlines(keepends=True)
    lines[1] = b"\x00" * (len(lines[1]) - 1) + b"\n"
    lines[2] = b'{"key": 3, "row": {}}\n'
    (tmp_path / "lane0.jsonl").write_bytes(b"".join(lines))
    assert list(read_journal(tmp_path).rows) == ["key0", "key3"]
    assert "line 2 is damaged" in caplog.text
    assert "line 3 is damaged" in caplog.text


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
from editlane.journal import Journal
journal = Journal(Path({str(tmp_path)!r}), "lane0")
print("open", flush=True)
time.sleep(0.8)
journal.finish({{"late": {{"n": 1, "error_kind": None}}}})
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        started = time.monotonic()
        with Journal(tmp_path, "lane0") as journal:
            assert time.monotonic() - started > 0.3
            assert journal.finished.rows == {"late": row(1)}


def test_a_batch_is_one_write(tmp_path: Path) -> None:
    with Journal(tmp_path, "lane0") as journal:
        journal.finish(ROWS)
    records = [json.loads(line) for line in (tmp_path / "lane0.jsonl").read_text().splitlines()]
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
