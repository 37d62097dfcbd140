"""An item's id, and with it its seed, depends neither on the categories that are asked for nor on the limit."""

import base64
import io
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from editlane.core.errors import UserError
from editlane.datasets.prepare import prepare_items


def photo(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


COLOURS = ("red", "blue")
PHOTOS = {colour: photo(colour) for colour in COLOURS}

Row = tuple[str, str, str, str]
"""key, category, instruction, colour"""


def write_items(folder: Path, rows: list[Row]) -> Path:
    """Without ids; `social` and `cultural` are names of one category."""
    records = [{"category": group, "instruction": text, "image": f"{colour}.png"} for _, group, text, colour in rows]
    (folder / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return folder / "items.jsonl"


def write_base64(folder: Path, rows: list[Row]) -> Path:
    records = [
        {"subset": group, "edit_instruction": text, "src_img_b64": base64.b64encode(PHOTOS[colour]).decode()}
        | ({"original_image_path": f"{key}.png"} if key != "k" else {})
        for key, group, text, colour in rows
    ]
    (folder / "list.json").write_text(json.dumps(records))
    return folder / "list.json"


def write_gedit(folder: Path, rows: list[Row]) -> Path:
    table = [
        {
            "key": key, "task_type": group, "instruction_language": "en", "instruction": text,
            "input_image": {"bytes": PHOTOS[colour], "path": None},
        }
        for key, group, text, colour in rows
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(table), folder / "gedit.parquet")
    return folder / "gedit.parquet"


def write_rise(folder: Path, rows: list[Row]) -> Path:
    records = [
        {"index": key, "category": group, "instruction": text, "image": f"{colour}.png"}
        for key, group, text, colour in rows
    ]
    (folder / "rise.json").write_text(json.dumps(records))
    return folder / "rise.json"


def write_uniredit(folder: Path, rows: list[Row]) -> Path:
    records = [
        {"name": group, "idx": key, "instruction": text, "original_image_path": f"{colour}.png"}
        for key, group, text, colour in rows
    ]
    (folder / "data.json").write_text(json.dumps(records))
    return folder / "data.json"


def write_pairs(folder: Path, rows: list[Row]) -> Path:
    records = [
        {"category": group, "instruction": text, "image": f"{colour}.png"}
        | {"edited": "red.png" if key == "k" else "blue.png"}
        for key, group, text, colour in rows
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return folder / "pairs.jsonl"


def write_object(path: Path, records: list[tuple[str, dict[str, str]]]) -> Path:
    """Write one JSON object, in which a key may stand twice."""
    path.parent.mkdir(exist_ok=True)
    path.write_text("{" + ", ".join(f"{json.dumps(key)}: {json.dumps(record)}" for key, record in records) + "}")
    return path


def write_imgedit(folder: Path, rows: list[Row]) -> Path:
    records = [(key, {"id": f"{colour}.png", "prompt": text, "edit_type": group}) for key, group, text, colour in rows]
    return write_object(folder / "basic_edit.json", records)


def write_kris(folder: Path, rows: list[Row]) -> Path:
    for group in {row[1] for row in rows}:
        records = [
            (key, {"ori_img": f"{colour}.png", "ins_en": text}) for key, its, text, colour in rows if its == group
        ]
        (folder / "kris").mkdir(exist_ok=True)
        write_object(folder / "kris" / group / "annotation.json", records)
        for colour in COLOURS:
            (folder / "kris" / group / f"{colour}.png").write_bytes(PHOTOS[colour])
    return folder / "kris"


WRITERS = {
    "items": write_items,
    "pairs": write_pairs,
    "base64-json": write_base64,
    "gedit": write_gedit,
    "imgedit": write_imgedit,
    "kris": write_kris,
    "rise": write_rise,
    "uniredit": write_uniredit,
}


def read_ids(path: Path, format: str, categories: tuple[str, ...], limit: int | None = None) -> dict[Any, list[str]]:
    """Ids by the content of the item; items with the same content are interchangeable."""
    try:
        items, _ = prepare_items(
            path, format=format, language="en", categories=categories, run_dir=path.parent / "run", limit=limit
        )
    except UserError as error:
        assert "No items are left" in str(error)
        return {}
    found: dict[Any, list[str]] = {}
    for item in items:
        found.setdefault((item.category, item.instruction, item.source_sha256), []).append(item.item_id)
    return {content: sorted(ids) for content, ids in found.items()}


def check_stable(format: str, rows: list[Row], groups: tuple[str, ...], folder: Path) -> None:
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(PHOTOS[colour])
    path = WRITERS[format](folder, rows)
    whole = read_ids(path, format, groups)
    every = [item_id for ids in whole.values() for item_id in ids]
    assert len(set(every)) == len(every) == len(rows)
    for count in range(1, len(groups) + 1):
        for asked in itertools.permutations(groups, count):
            wanted = {content: ids for content, ids in whole.items() if content[0] in asked}
            assert read_ids(path, format, asked) == wanted, asked
    for content, ids in read_ids(path, format, groups[:1], limit=1).items():
        assert set(ids) <= set(whole[content])


@pytest.mark.parametrize("format", WRITERS)
@settings(max_examples=8)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["k", "k-2", "a/b"]), st.sampled_from(["social", "cultural"]),
            st.sampled_from(["On.", "Off."]), st.sampled_from(COLOURS),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_ids_are_the_same_for_any_categories(format: str, rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_stable(format, rows, ("social", "cultural"), Path(folder))


def test_keys_that_stand_in_two_groups(tmp_path: Path) -> None:
    """As two keys of GEdit-Bench do."""
    rows = [("k", "a", "On.", "red"), ("k", "b", "On.", "red"), ("k-2", "c", "On.", "red"), ("l", "a", "Off.", "red")]
    check_stable("gedit", [*rows, rows[0]], ("a", "b", "c"), tmp_path)


def test_keys_of_kris_stand_in_their_folder_and_cannot_clash(tmp_path: Path) -> None:
    for group in ("a", "b"):
        (tmp_path / group).mkdir()
        (tmp_path / group / "red.png").write_bytes(PHOTOS["red"])
        record = {"1": {"ori_img": "red.png", "ins_en": "On."}}
        (tmp_path / group / "annotation.json").write_text(json.dumps(record))
    both = read_ids(tmp_path, "kris", ("a", "b"))
    assert read_ids(tmp_path, "kris", ("a",)).items() <= both.items()


def test_a_record_that_cannot_be_an_item_takes_no_id(tmp_path: Path) -> None:
    """Its image is missing, so that no run could have it. The run that does not ask for it does not mind."""
    (tmp_path / "red.png").write_bytes(PHOTOS["red"])
    records = [
        {"index": "k", "category": "a", "instruction": "On.", "image": "red.png"},
        {"index": "k", "category": "b", "instruction": "On.", "image": "gone.png"},
        {"index": "k", "category": "b", "instruction": "", "image": "red.png"},
        {"index": "k", "category": "b", "instruction": "On.", "image": "../../etc/passwd"},
    ]
    (tmp_path / "rise.json").write_text(json.dumps(records))
    assert list(read_ids(tmp_path / "rise.json", "rise", ("a",)).values()) == [["k"]]


def test_ids_of_ones_own_that_another_category_has_too_stay(tmp_path: Path) -> None:
    """Asked for together they are refused, so there is no other id to be equal to."""
    (tmp_path / "red.png").write_bytes(PHOTOS["red"])
    rows = [{"item_id": "1", "category": group, "instruction": "On.", "image": "red.png"} for group in ("a", "b")]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(read_ids(tmp_path / "items.jsonl", "items", ("a",)).values()) == [["1"]]
    with pytest.raises(UserError, match="the same item_id twice"):
        prepare_items(
            tmp_path / "items.jsonl", format="items", language="en", categories=("a", "b"), run_dir=tmp_path / "run"
        )


def test_a_limit_takes_the_first_items_of_each_category(tmp_path: Path) -> None:
    rows = [(str(number), "ab"[number % 2], f"Text {number}.", "red") for number in range(8)]
    (tmp_path / "red.png").write_bytes(PHOTOS["red"])
    path = write_rise(tmp_path, rows)
    options: dict[str, Any] = {"format": "rise", "language": "en", "run_dir": tmp_path / "run"}
    items, provenance = prepare_items(path, categories=("a", "b"), limit=2, **options)
    assert [item.item_id for item in items] == ["0", "2", "1", "3"]
    assert (provenance["limit"], provenance["over_limit"], provenance["records"]) == (2, 4, 8)
    items, provenance = prepare_items(path, categories=("a",), limit=9, **options)
    assert (len(items), provenance["over_limit"]) == (4, 0)
