import json
import subprocess
import sys
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from editlane.journal import JournalWriter, content_key, opened, read_journal

ROWS = {f"key{n}": {"state": "edited", "说明": "把猫变成狗\n第二行", "n": n} for n in range(4)}


def write(folder: Path, rows: dict[str, dict], writer: str = "lane0") -> bytes:
    with JournalWriter(folder, writer) as journal:
        for key, row in rows.items():
            journal.append({key: row})
    return (folder / f"{writer}.jsonl").read_bytes()


def test_what_was_appended_is_read_back_over_all_writers(tmp_path: Path) -> None:
    write(tmp_path, {"a": {"n": 1}}, "lane0")
    write(tmp_path, {"b": {"n": 2}}, "lane1")
    write(tmp_path, {"c": {"n": 3}}, "lane0")
    assert read_journal(tmp_path) == {"a": {"n": 1}, "b": {"n": 2}, "c": {"n": 3}}


def test_an_empty_or_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "none") == {}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_journal_cut_anywhere_reads_as_a_prefix_and_takes_new_records(tmp_path_factory, data) -> None:
    folder = tmp_path_factory.mktemp("journal")
    whole = write(folder, ROWS)
    cut = data.draw(st.integers(0, len(whole)))
    (folder / "lane0.jsonl").write_bytes(whole[:cut])
    kept = list(ROWS)[: whole[:cut].count(b"\n")]
    assert list(read_journal(folder)) == kept
    write(folder, {"new": {"n": 9}})
    assert read_journal(folder) == {key: ROWS[key] for key in kept} | {"new": {"n": 9}}


def test_a_damaged_line_is_left_out_and_the_others_stay(tmp_path: Path, caplog) -> None:
    lines = write(tmp_path, ROWS).splitlines(keepends=True)
    lines[1] = b"\x00" * (len(lines[1]) - 1) + b"\n"
    lines[2] = b'{"key": 3, "row": {}}\n'
    (tmp_path / "lane0.jsonl").write_bytes(b"".join(lines))
    assert list(read_journal(tmp_path)) == ["key0", "key3"]
    assert "line 2 is damaged" in caplog.text
    assert "line 3 is damaged" in caplog.text


def test_the_tail_of_another_lane_that_is_still_writing_is_not_cut(tmp_path: Path) -> None:
    (tmp_path / "lane1.jsonl").write_bytes(b'{"key": "x", "row"')
    with opened(tmp_path, "lane0") as (done, _):
        assert done == {}
    assert (tmp_path / "lane1.jsonl").read_bytes() == b'{"key": "x", "row"'


def test_a_second_writer_waits_for_the_first_and_sees_its_records(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(Path("scripts").resolve())!r})
from pathlib import Path
from editlane.journal import JournalWriter
journal = JournalWriter(Path({str(tmp_path)!r}), "lane0")
print("open", flush=True)
time.sleep(0.8)
journal.append({{"late": {{"n": 1}}}})
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        started = time.monotonic()
        with opened(tmp_path, "lane0") as (done, _):
            assert time.monotonic() - started > 0.3
            assert done == {"late": {"n": 1}}


def test_a_batch_is_one_write(tmp_path: Path) -> None:
    with JournalWriter(tmp_path, "lane0") as journal:
        journal.append(ROWS)
    records = [json.loads(line) for line in (tmp_path / "lane0.jsonl").read_text().splitlines()]
    assert [record["key"] for record in records] == list(ROWS)


def test_a_key_depends_on_every_part_and_not_on_their_order() -> None:
    key = content_key(source="a", instruction="下雨", params={"x": 1, "y": 2})
    assert key == content_key(params={"y": 2, "x": 1}, instruction="下雨", source="a")
    assert len({key, content_key(source="a", instruction="下雪", params={"x": 1, "y": 2})}) == 2
    assert len(key) == 64
