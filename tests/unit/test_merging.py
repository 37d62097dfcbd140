from pathlib import Path
from typing import Any

import pytest

from editlane import tables
from editlane.errors import UserError
from editlane.merging import merge
from editlane.types import Item

ITEMS = [
    Item(
        item_id=f"项-{number}", category="物理", instruction="x", language="zh", source_path="s", source_sha256="s",
        width=1, height=1, cost=1.0,
    )
    for number in range(4)
]  # fmt: skip


def score_row(item: str, editor: str = "e", judge: str = "j", **columns: Any) -> dict[str, Any]:
    row = {"item_id": item, "category": "物理", "editor": editor, "judge": judge, "state": "scored", "score": 5.0}
    row |= {"instruction": "x", "language": "zh", "source_path": "s", "source_sha256": "s", "seed": 1}
    return row | {"editor_key": "k", "judge_key": "k", "protocol_version": "1"} | columns


def write(path: Path, items: list[str], criteria: tuple[str, ...] = ("category",), **columns: Any) -> Path:
    editor, judge = columns.get("editor", "e"), columns.get("judge", "j")
    source = {"editor": {editor: {"model": "m"}}, "judge": {judge: {"model": "n"}}}
    rows = [score_row(item, **columns) for item in items]
    tables.write_table(path, rows, tables.scores_schema(criteria), provenance=source)
    return path


def test_the_rows_of_all_lanes_come_in_the_order_of_the_report(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "1.parquet", ["项-2", "项-0"], editor="b"),
        write(tmp_path / "2.parquet", ["项-3", "项-1"], editor="a"),
        write(tmp_path / "3.parquet", ["项-3", "项-1"], editor="b"),
        write(tmp_path / "4.parquet", ["项-2", "项-0"], editor="a"),
    ]
    merged = merge(paths, ITEMS, ["b", "a"], ["j"])
    cells = [(row["editor"], row["item_id"]) for row in merged.rows]
    assert cells == [(editor, f"项-{number}") for editor in ("b", "a") for number in range(4)]
    assert merged.provenance["editors"] == {"a": {"model": "m"}, "b": {"model": "m"}}


def test_lost_rows_are_refused_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", ["项-0", "项-2", "项-3"])
    with pytest.raises(UserError, match=r"1 rows are lost \(item 项-1, editor e, judge j\)"):
        merge([path], ITEMS, ["e"], ["j"])


def test_doubled_rows_are_refused_and_named(tmp_path: Path) -> None:
    paths = [write(tmp_path / "1.parquet", ["项-0", "项-1"]), write(tmp_path / "2.parquet", ["项-1"])]
    with pytest.raises(UserError, match=r"1 rows are doubled \(item 项-1"):
        merge(paths, ITEMS, ["e"], ["j"])


def test_rows_of_another_dataset_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", [item.item_id for item in ITEMS] + ["项-9"])
    with pytest.raises(UserError, match="not of this run"):
        merge([path], ITEMS, ["e"], ["j"])


def test_judges_with_other_criteria_share_one_table(tmp_path: Path) -> None:
    items = [item.item_id for item in ITEMS]
    paths = [
        write(tmp_path / "1.parquet", items, ("category", "instruction"), judge="a", score_instruction=3.0),
        write(tmp_path / "2.parquet", items, ("correct",), judge="b", score_correct=7.0),
    ]
    merged = merge(paths, ITEMS, ["e"], ["a", "b"])
    assert merged.criteria == ("category", "instruction", "correct")
    tables.write_table(tmp_path / "all.parquet", merged.rows, tables.scores_schema(merged.criteria))
    rows = tables.read_rows(tmp_path / "all.parquet")
    assert [(row["score_instruction"], row["score_correct"]) for row in rows] == [(3.0, None)] * 4 + [(None, 7.0)] * 4


def test_a_damaged_table_is_said(tmp_path: Path) -> None:
    (tmp_path / "1.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match=r"Cannot read the table .*1\.parquet"):
        merge([tmp_path / "1.parquet"], ITEMS, ["e"], ["j"])


def test_half_a_table_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "1.parquet", ["项-0"])
    before = path.read_bytes()

    def tear(table: Any, file: Any) -> None:
        file.write(b"PAR1 half")
        raise OSError("No space left on device")

    monkeypatch.setattr(tables.pq, "write_table", tear)
    with pytest.raises(OSError, match="No space left"):
        tables.write_table(path, [], tables.scores_schema([]))
    assert path.read_bytes() == before
