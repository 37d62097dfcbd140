"""Several editors' journals as one: each is complete without the others, and nothing is begun twice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from editlane.lanes.journal import read_journal
from editlane.lanes.journal_set import JournalSet

WANTED = {"甲": {"a", "both"}, "乙": {"b", "both"}}


def row(score: float, kind: str | None = None) -> dict[str, Any]:
    return {"score": score, "error_kind": kind}


def folders(folder: Path, wanted: Mapping[str, set[str]] = WANTED) -> dict[Path, set[str]]:
    return {folder / editor: keys for editor, keys in wanted.items()}


def read(folder: Path) -> dict[str, dict[str, Any]]:
    return {editor: read_journal(folder / editor).rows for editor in WANTED}


def test_a_row_is_recorded_in_every_journal_that_wants_it(tmp_path: Path) -> None:
    with JournalSet(folders(tmp_path), "lane0") as journals:
        journals.begin(["a", "b", "both"])
        journals.finish({"a": row(1), "b": row(2), "both": row(3)})
    assert read(tmp_path) == {"甲": {"a": row(1), "both": row(3)}, "乙": {"b": row(2), "both": row(3)}}


def test_what_one_journal_has_is_known_to_all_and_copied(tmp_path: Path) -> None:
    with JournalSet({tmp_path / "甲": {"a", "both"}}, "lane0") as journals:
        journals.finish({"both": row(3)})
    for _ in range(2):
        with JournalSet(folders(tmp_path), "lane1") as journals:
            assert journals.finished.rows == {"both": row(3)}
    assert read(tmp_path) == {"甲": {"both": row(3)}, "乙": {"both": row(3)}}
    assert (tmp_path / "甲/lane1.jsonl").read_bytes() == b"", "nothing is copied to where it is"
    assert len((tmp_path / "乙/lane1.jsonl").read_bytes().splitlines()) == 1, "nor twice"


def test_each_journal_keeps_its_own_answer(tmp_path: Path) -> None:
    for editor, score in (("甲", 3), ("乙", 4)):
        with JournalSet({tmp_path / editor: {"both"}}, "lane0") as journals:
            journals.finish({"both": row(score)})
    with JournalSet(folders(tmp_path), "lane0") as journals:
        assert journals.kept == {tmp_path / "甲": {"both": row(3)}, tmp_path / "乙": {"both": row(4)}}


def test_a_death_is_counted_once_and_is_over_when_the_item_is_finished_or_given_up(tmp_path: Path) -> None:
    for _ in range(2):
        with JournalSet(folders(tmp_path), "lane0") as journals:
            journals.begin(["both", "b"])
    with JournalSet(folders(tmp_path), "lane0") as journals:
        assert journals.finished.deaths == {"both": 2, "b": 2}
        journals.finish({"both": row(3), "b": row(0, "oom")})
    with JournalSet(folders(tmp_path), "lane0") as journals:
        assert (journals.finished.rows, journals.finished.deaths) == ({"both": row(3)}, {})


def test_a_death_in_one_journal_does_not_outlive_the_row_in_another(tmp_path: Path) -> None:
    with JournalSet(folders(tmp_path), "lane0") as journals:
        journals.begin(["both"])
    with JournalSet({tmp_path / "乙": {"both"}}, "lane0") as journals:
        journals.finish({"both": row(3)})
    with JournalSet(folders(tmp_path), "lane0") as journals:
        assert (journals.finished.rows, journals.finished.deaths) == ({"both": row(3)}, {})


def test_what_is_taken_back_is_so_in_every_journal(tmp_path: Path) -> None:
    with JournalSet(folders(tmp_path), "lane0") as journals:
        journals.begin(["a", "b", "both"])
        journals.take_back(["a", "b", "both"])
    with JournalSet(folders(tmp_path), "lane0") as journals:
        assert journals.finished.deaths == {}
