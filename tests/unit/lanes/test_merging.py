from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.lanes.merging import Cell, check_controls, merge, provenance_of, read_criteria, read_lanes

ITEMS = [f"项-{number}" for number in range(4)]


def score_row(item: str, editor: str = "e", judge: str = "j", **columns: Any) -> dict[str, Any]:
    row = {"item_id": item, "category": "物理", "editor": editor, "judge": judge, "state": "scored", "score": 5.0}
    row |= {"instruction": "x", "language": "zh", "source_path": "s", "source_sha256": "s", "seed": 1}
    return row | {"editor_key": "k", "judge_key": "k", "protocol_version": "1"} | columns


def write(path: Path, items: list[str], criteria: tuple[str, ...] = ("category",), **columns: Any) -> Path:
    editor, judge = columns.get("editor", "e"), columns.get("judge", "j")
    source = {"editor": {editor: {"model": "m"}}, "judge": {judge: {"model": "n"}}}
    rows = [score_row(item, **columns) for item in items]
    tables.write_table(path, rows, schemas.scores_schema(criteria), provenance=source)
    return path


def cell(paths: list[Path], editor: str = "e", judge: str = "j") -> Cell:
    return Cell(names={"editor": editor, "judge": judge}, paths=paths)


def items_table(**columns: Any) -> pa.Table:
    """What items.parquet says of the items."""
    shared = {"category": "物理", "instruction": "x", "language": "zh", "source_sha256": "s"} | columns
    return pa.table({"item_id": ITEMS} | {name: [value] * len(ITEMS) for name, value in shared.items()})


def merged(cells: list[Cell], items: pa.Table | None = None) -> list[dict[str, Any]]:
    """The rows of the table that the cells make."""
    schema = schemas.scores_schema(read_criteria([path for one in cells for path in one.paths]))
    return [row for table in merge(cells, items or items_table(), schema) for row in table.to_pylist()]


def test_the_rows_of_all_lanes_come_in_the_order_of_the_report(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "1.parquet", ["项-2", "项-0"], editor="b"),
        write(tmp_path / "2.parquet", ["项-3", "项-1"], editor="a"),
        write(tmp_path / "3.parquet", ["项-3", "项-1"], editor="b"),
        write(tmp_path / "4.parquet", ["项-2", "项-0"], editor="a"),
    ]
    cells = [cell(paths[::2], editor="b"), cell(paths[1::2], editor="a")]
    rows = merged(cells)
    assert [(row["editor"], row["item_id"]) for row in rows] == [(editor, item) for editor in "ba" for item in ITEMS]
    assert provenance_of(paths)["editors"] == {"a": {"model": "m"}, "b": {"model": "m"}}


@pytest.mark.parametrize("order", [(91002, None), (None, 91002)])
def test_a_lane_without_work_does_not_hide_the_cudnn_of_another(tmp_path: Path, order: tuple[int | None, ...]) -> None:
    schema = schemas.scores_schema(["x"])
    for number, cudnn in enumerate(order):
        made = {"editor": {"e": {"cudnn": cudnn}}, "judge": {"j": {"model": "m"}}}
        tables.write_table(tmp_path / f"{number}.parquet", [], schema, provenance=made)
    found = provenance_of(sorted(tmp_path.glob("*.parquet")))
    assert found == {"editors": {"e": {"cudnn": 91002}}, "judges": {"j": {"model": "m"}}}


def test_lost_rows_are_refused_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", ["项-0", "项-2", "项-3"])
    with pytest.raises(UserError, match=r"1 row is lost \(item 项-1, editor e, judge j\)"):
        merged([cell([path])])


def test_doubled_rows_are_refused_and_named(tmp_path: Path) -> None:
    paths = [write(tmp_path / "1.parquet", ["项-0", "项-1"]), write(tmp_path / "2.parquet", ["项-1"])]
    with pytest.raises(UserError, match=r"1 row is doubled \(item 项-1"):
        merged([cell(paths)])


def test_rows_of_another_dataset_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", [*ITEMS, "项-9"])
    with pytest.raises(UserError, match="not of this run"):
        merged([cell([path])])


@pytest.mark.parametrize(
    "column", [("instruction", "turn it red"), ("source_sha256", "t"), ("category", "环境"), ("language", "en")]
)
def test_rows_about_an_item_that_has_changed_are_refused_with_the_lane_that_has_them(tmp_path: Path, column) -> None:
    name, value = column
    paths = [
        write(tmp_path / "lane0.parquet", ["项-0", "项-3"]),
        write(tmp_path / "lane1.parquet", ["项-2", "项-1"], **{name: value}),
    ]
    with pytest.raises(
        UserError,
        match=rf"2 rows have another `{name}` than the items of this run \(item 项-1, editor e, judge j, in \S*lane1\.",
    ):
        merged([cell(paths)])
    with pytest.raises(UserError, match=rf"another `{name}`"):
        merged([cell([write(tmp_path / "all.parquet", ITEMS)])], items_table(**{name: value}))


def plan_and_controls(folder: Path, **changes: Any) -> tuple[pa.Table, pa.Table, list[Path]]:
    """A plan of three controls, and what two lanes asked; `changes`: columns of the second lane's."""
    planned = [("项-0", "swapped", "s"), ("项-1", "swapped", "s"), ("项-2", "source_as_edit", "s")]
    plan = pa.table(
        {name: [one[place] for one in planned] for place, name in enumerate(("item_id", "control", "source_sha256"))}
        | {"editor": ["e"] * 3, "category": ["物理"] * 3, "instruction": ["x"] * 3, "language": ["zh"] * 3}
    )
    asked = [
        score_row("项-0", control="swapped", repeat=0, source_sha256="edit", edited_sha256="s"),
        score_row("项-1", control="swapped", repeat=0, state="edit_failed", score=None),
        score_row("项-2", control="source_as_edit", repeat=0, edited_sha256="s", **changes),
    ]
    paths = [folder / "lane0.parquet", folder / "lane1.parquet"]
    schema = schemas.controls_schema(())
    tables.write_table(paths[0], asked[:2], schema)
    tables.write_table(paths[1], asked[2:], schema)
    return read_lanes(paths, schema), plan, paths


def test_controls_about_what_was_planned_are_taken_swapped_or_not(tmp_path: Path) -> None:
    check_controls(*plan_and_controls(tmp_path))


@pytest.mark.parametrize("column", ["instruction", "source_sha256"])
def test_controls_of_another_run_are_refused_with_the_lane_that_has_them(tmp_path: Path, column: str) -> None:
    asked = plan_and_controls(tmp_path, **{column: "old"})
    with pytest.raises(
        UserError, match=rf"1 row has another `{column}` .*\(control source_as_edit, item_id 项-2, .*lane1\.parquet"
    ):
        check_controls(*asked)


def test_rows_of_another_editor_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.parquet", ITEMS, editor="other")
    with pytest.raises(UserError, match=r"4 rows are not of this run \(item 项-0, editor e, judge j"):
        merged([cell([path])])


def test_judges_with_other_criteria_share_one_table(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "1.parquet", ITEMS, ("category", "instruction"), judge="a", score_instruction=3.0),
        write(tmp_path / "2.parquet", ITEMS, ("correct",), judge="b", score_correct=7.0),
    ]
    assert read_criteria(paths) == ("category", "instruction", "correct")
    rows = merged([cell(paths[:1], judge="a"), cell(paths[1:], judge="b")])
    assert [(row["score_instruction"], row["score_correct"]) for row in rows] == [(3.0, None)] * 4 + [(None, 7.0)] * 4


def test_a_damaged_table_is_said(tmp_path: Path) -> None:
    (tmp_path / "1.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(UserError, match=r"Cannot read the table .*1\.parquet"):
        merged([cell([tmp_path / "1.parquet"])])


def test_half_a_table_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "1.parquet", ["项-0"])
    before = path.read_bytes()

    def tear(file: Any, schema: Any) -> None:
        file.write(b"PAR1 half")
        raise OSError("No space left on device")

    monkeypatch.setattr(tables.pq, "ParquetWriter", tear)
    with pytest.raises(OSError, match="No space left"):
        tables.write_table(path, [], schemas.scores_schema([]))
    assert path.read_bytes() == before


def test_rows_that_are_written_a_part_at_a_time_are_those_of_one_piece(tmp_path: Path) -> None:
    schema = schemas.scores_schema([])
    rows = [score_row(f"项-{number}", score=number / 7) for number in range(20_001)]
    tables.write_table(tmp_path / "parts.parquet", iter(rows), schema)
    tables.write_parts(tmp_path / "whole.parquet", [pa.Table.from_pylist(rows, schema=schema)], schema)
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
