"""Preservation: numbers that are known beforehand, a row for every edit whatever happened to it, nothing lost."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skimage.data
from PIL import Image

from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.images.files import save_png
from editlane.images.preservation import make_preservation_row, measure_preservation
from editlane.lanes.merging import Cell, merge

PHOTO = Image.fromarray(skimage.data.coffee())


def test_an_edit_that_does_nothing_preserves_everything() -> None:
    assert measure_preservation(PHOTO, PHOTO) == {"ssim": 1.0, "psnr": None, "mae": 0.0, "changed_share": 0.0}


def test_a_lighter_picture_differs_by_what_was_added() -> None:
    grey = Image.new("RGB", (400, 300), (100, 100, 100))
    found = measure_preservation(grey, Image.new("RGB", (400, 300), (110, 110, 110)))
    assert found["mae"] == 10.0
    assert found["psnr"] == pytest.approx(20 * np.log10(25.5), abs=1e-4)
    assert found["changed_share"] == 0.0  # less than CHANGED_LEVELS
    assert found["ssim"] == pytest.approx((2 * 100 * 110 + 6.5025) / (100**2 + 110**2 + 6.5025), abs=1e-5)


def test_the_share_of_changed_pixels_is_that_of_the_painted_area() -> None:
    edited = PHOTO.copy()
    edited.paste((0, 255, 0), (150, 100, 450, 300))  # a quarter of 600 x 400
    assert measure_preservation(PHOTO, edited)["changed_share"] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    "resized",
    [
        lambda image: image.resize((1216, 832)),
        lambda image: image.resize((1024, 1024)),
        lambda image: image.crop((4, 8, 596, 392)),
    ],
    ids=["enlarged", "squashed", "cropped"],
)
def test_the_editors_own_resize_does_not_count(resized: Any) -> None:
    found = measure_preservation(PHOTO, resized(PHOTO))
    assert found["ssim"] > 0.98
    assert found["mae"] < 1.0
    assert found["changed_share"] < 0.001


def test_a_bigger_edit_preserves_less() -> None:
    found = []
    for side in (40, 120, 300):
        edited = PHOTO.copy()
        edited.paste((200, 30, 200), (100, 60, 100 + side, 60 + side))
        found.append(measure_preservation(PHOTO, edited))
    for name, order in (("ssim", -1), ("psnr", -1), ("mae", 1), ("changed_share", 1)):
        values = [order * one[name] for one in found]  # type: ignore[literal-required]
        assert values == sorted(set(values)), name


@pytest.fixture
def edits(tmp_path: Path) -> list[dict[str, Any]]:
    """Four edits of one photo: a real one, one that failed, one whose image is damaged, one whose image is gone."""
    source = save_png(PHOTO, tmp_path / "sources/photo.png")
    edited = PHOTO.rotate(180)
    rows = []
    for number, state in enumerate(["edited", "edit_failed", "edited", "edited"]):
        path = f"e/images/物理/项-{number}.png"
        row = dict.fromkeys(schemas.EDITS.names) | {
            "item_id": f"项-{number}",
            "category": "物理",
            "instruction": "掉头",
        }
        row |= {"language": "zh", "source_path": "sources/photo.png", "source_sha256": source, "cost": 1.0, "tags": []}
        row |= {"editor": "e", "editor_key": "k", "state": state, "seed": 1}
        if state == "edited":
            row |= {"edited_path": path, "edited_sha256": save_png(edited, tmp_path / path)}
        rows.append(row)
    (tmp_path / rows[2]["edited_path"]).write_bytes(b"not what was recorded")
    (tmp_path / rows[3]["edited_path"]).unlink()
    return rows


def test_every_edit_has_a_row_and_a_state(tmp_path: Path, edits: list[dict[str, Any]]) -> None:
    rows = [make_preservation_row(tmp_path, edit) for edit in edits]
    assert [row["state"] for row in rows] == ["measured", "no_edit", "failed", "failed"]
    assert [row["error"] for row in rows[:2]] == [None, None]
    assert "has changed since it was recorded" in rows[2]["error"]
    assert "cannot be read" in rows[3]["error"]
    assert 0 < rows[0]["mae"] < 255
    assert all(row[name] is None for row in rows[1:] for name in ("ssim", "psnr", "mae", "changed_share"))
    assert pa.Table.from_pylist(rows, schema=schemas.PRESERVATION).to_pylist() == rows


def test_what_nobody_thought_of_ends_one_row(
    tmp_path: Path, edits: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("first line\nsecond line")

    monkeypatch.setattr("editlane.images.preservation.measure_preservation", broken)
    row = make_preservation_row(tmp_path, edits[0])
    assert (row["state"], row["error"]) == ("failed", "ValueError: first line second line")


def run(step: str, *flags: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, f"scripts/{step}.py", *flags], capture_output=True, text=True, check=False)


def test_the_steps_write_a_row_for_every_edit_the_same_each_time(tmp_path: Path, edits: list[dict[str, Any]]) -> None:
    tables.write_table(tmp_path / "edits0.parquet", edits[:3], schemas.EDITS)
    tables.write_table(tmp_path / "edits1.parquet", edits[3:], schemas.EDITS)
    lane = tmp_path / "e/preservation/lane0.parquet"
    flags = ["--run-dir", tmp_path, "--edits", tmp_path / "edits0.parquet", tmp_path / "edits1.parquet", "--out", lane]
    contents = []
    for _ in range(2):
        done = run("measure_preservation", *flags, "--editor", "e")
        assert done.returncode == 0, done.stderr
        contents.append(lane.read_bytes())
    assert contents[0] == contents[1]
    assert [row["item_id"] for row in tables.read_rows(lane)] == [edit["item_id"] for edit in edits]
    assert "'failed': 2" in done.stderr

    wrong = run("measure_preservation", *flags, "--editor", "other")
    assert (wrong.returncode, len(wrong.stderr.strip().splitlines())) == (2, 1)

    items = [{name: edit[name] for name in schemas.ITEMS.names} for edit in reversed(edits)]
    tables.write_table(tmp_path / "items.parquet", items, schemas.ITEMS)
    merged = ["--run-dir", tmp_path, "--editors", "e", "--lanes", "1", "--items", tmp_path / "items.parquet"]
    done = run("merge_preservation", *merged, "--out", tmp_path / "preservation.parquet")
    assert done.returncode == 0, done.stderr
    rows = tables.read_rows(tmp_path / "preservation.parquet")
    assert [row["item_id"] for row in rows] == [edit["item_id"] for edit in reversed(edits)]
    assert rows[-1]["mae"] == tables.read_rows(lane)[0]["mae"]


def lane_table(path: Path, numbers: np.ndarray, editor: str) -> Path:
    """A table of measured rows, as a lane writes it."""
    ids = pa.array(numbers).cast(pa.string())
    values = {
        "item_id": ids,
        "category": "因果",
        "editor": editor,
        "source_sha256": "s",
        "state": "measured",
        "mae": 1.0,
    }
    columns = [values.get(field.name) for field in schemas.PRESERVATION]
    arrays = [
        column if isinstance(column, pa.Array) else pa.repeat(pa.scalar(column, field.type), len(ids))
        for column, field in zip(columns, schemas.PRESERVATION, strict=True)
    ]
    tables.write_parts(path, [pa.Table.from_arrays(arrays, schema=schemas.PRESERVATION)], schemas.PRESERVATION)
    return path


def test_a_lost_row_is_refused(tmp_path: Path) -> None:
    path = lane_table(tmp_path / "0.parquet", np.array([0, 2]), "甲")
    with pytest.raises(UserError, match="1 row is lost \\(item 1, editor 甲\\)"):
        list(merge([Cell(names={"editor": "甲"}, paths=[path])], items_of(["0", "1", "2"]), schemas.PRESERVATION))


def items_of(ids: Sequence[str]) -> pa.Table:
    """The columns of items.parquet that the lanes' tables above have, too."""
    row = {"category": "因果", "source_sha256": "s"}
    return pa.table({"item_id": ids} | {name: [value] * len(ids) for name, value in row.items()})


def calls_of(work: Callable[[], Any]) -> tuple[Any, int]:
    """The result of the work, and how many Python functions it called."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return work(), calls
    finally:
        sys.setprofile(before)


def test_rows_are_merged_by_the_column_and_not_one_by_one(tmp_path: Path) -> None:
    calls = {}
    for rows in (10, 10_000):
        (tmp_path / f"{rows}").mkdir()
        calls[rows] = merge_cells(tmp_path / f"{rows}", rows)
    assert calls[10_000] < 2 * calls[10]


def merge_cells(tmp_path: Path, rows: int) -> int:
    """Merge the lanes of three editors; how many Python functions that called."""
    order = np.random.default_rng(0).permutation(rows)
    cells = [
        Cell(
            names={"editor": editor},
            paths=[lane_table(tmp_path / f"{editor}{lane}.parquet", order[lane::2], editor) for lane in range(2)],
        )
        for editor in "abc"
    ]
    ids = [str(number) for number in range(rows)]
    merged = merge(cells, items_of(ids), schemas.PRESERVATION)
    count, calls = calls_of(lambda: tables.write_parts(tmp_path / "out", merged, schemas.PRESERVATION))
    assert count == 3 * rows
    assert tables.read_arrow(tmp_path / "out")["item_id"].to_pylist() == ids * 3
    return calls
