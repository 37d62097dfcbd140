"""Items with several images in the formats for one's own data: the first is the source, the others are references."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from editlane.core.errors import UserError
from editlane.core.schemas import ITEMS
from editlane.core.tables import item_row, read_items, write_table
from editlane.core.types import Item
from editlane.datasets.detect import detect_format, read_columns
from editlane.datasets.prepare import prepare_items

COLOURS = {"人.png": "red", "帽子.png": "green", "背景.png": "blue"}


def photo(colour: str, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "图片").mkdir()
    for name, colour in COLOURS.items():
        (tmp_path / "图片" / name).write_bytes(photo(colour))
    return tmp_path


NAMES = [f"图片/{name}" for name in COLOURS]
ONE = {"item_id": "换装", "category": "指代", "instruction": "让图 1 的人戴上图 2 的帽子。", "images": NAMES}


def write_jsonl(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "数据.jsonl"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path


def prepare(path: Path, **options: Any) -> list[Item]:
    asked = {"format": "items", "language": "zh", "categories": ["指代"], "run_dir": path.parent / "run"} | options
    return prepare_items(path, **asked)[0]


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        prepare(path, **options)
    assert not (path.parent / "run").exists(), "something was written before the error"
    return str(caught.value)


def colours(item: Item, run: Path) -> list[str]:
    paths = [item.source_path, *(one.path for one in item.references)]
    return [next(name for name in COLOURS.values() if (run / path).read_bytes() == photo(name)) for path in paths]


def write_csv(folder: Path, images: str) -> Path:
    path = folder / "数据.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["item_id", "category", "instruction", "images"])
        writer.writeheader()
        writer.writerow(ONE | {"images": images})
    return path


def write_parquet(folder: Path) -> Path:
    images = [{"bytes": photo(colour), "path": None} for colour in COLOURS.values()]
    pq.write_table(pa.Table.from_pylist([ONE | {"images": images}]), folder / "数据.parquet")
    return folder / "数据.parquet"


@pytest.mark.parametrize("kind", ["jsonl", "csv with |", "csv with JSON", "parquet"])
def test_every_form_of_a_table_can_list_images(folder: Path, kind: str) -> None:
    path = {
        "jsonl": lambda: write_jsonl(folder, ONE),
        "csv with |": lambda: write_csv(folder, " | ".join(NAMES)),
        "csv with JSON": lambda: write_csv(folder, json.dumps(NAMES, ensure_ascii=False)),
        "parquet": lambda: write_parquet(folder),
    }[kind]()
    assert detect_format(path, read_columns(path)) == "items"
    (item,) = prepare(path)
    assert colours(item, folder / "run") == ["red", "green", "blue"]
    assert [(one.width, one.height) for one in item.references] == [(40, 30)] * 2
    assert item.cost == 0.5 + 3 * 0.0006


def test_images_may_be_base64_and_pairs_have_them_too(folder: Path) -> None:
    encoded = [base64.b64encode(photo(colour)).decode() for colour in ("red", "blue")]
    (item,) = prepare(write_jsonl(folder, ONE | {"images": encoded, "edited": NAMES[1]}), format="pairs")
    assert colours(item, folder / "run") == ["red", "blue"]
    assert item.given_path and (folder / "run" / item.given_path).read_bytes() == photo("green")


def test_a_list_of_one_is_an_item_like_any_other(folder: Path) -> None:
    (listed,) = prepare(write_jsonl(folder, ONE | {"images": NAMES[:1]}))
    plain = {name: value for name, value in ONE.items() if name != "images"} | {"image": NAMES[0]}
    assert prepare(write_jsonl(folder, plain)) == [listed]
    assert listed.references == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": NAMES[0]}, "has image and images. Give one of them"),
        ({"images": []}, "has no image, and images is an empty list. Fill the list, or give one `image`."),
        ({"images": "[]"}, "has no image, and images is an empty list"),
        ({"images": [NAMES[0], None]}, "image 2 of images is empty. Write its path there, or remove the entry."),
        ({"images": [NAMES[0], ""]}, "image 2 of images is empty"),
        ({"images": 3}, "images is 3, not a list of images"),
        ({"images": "[a.png"}, "[a.png"),
        ({"image": NAMES[0], "images": NAMES[1]}, "has image and images. Give one of them"),
        ({"image": NAMES[0], "images": "a|b"}, "has image and images. Give one of them"),
        ({"images": NAMES * 6}, "has 18 images; an item has at most 16"),
        ({"images": [NAMES[0], "图片/没有.png"]}, "图片/没有.png (record 1"),
        ({"images": [NAMES[0], NAMES[1], "没有.png"]}, ", image 3 of its 3). Paths are relative to"),
        ({"images": [NAMES[0], "../b.png"]}, "leads out of the folder"),
        ({"images": [NAMES[0], {"a": 1}]}, "is {'a': 1}, not text"),
    ],
)
def test_lists_with_a_mistake_are_refused_with_their_place(folder: Path, changes: dict[str, Any], words: str) -> None:
    message = refused(write_jsonl(folder, ONE | changes))
    assert words in message and "record 1" in message


def test_a_file_name_may_begin_with_a_bracket(folder: Path) -> None:
    for number, colour in enumerate(COLOURS.values(), 1):
        (folder / f"[{number}].png").write_bytes(photo(colour))
    (item,) = prepare(write_csv(folder, "[1].png|[3].png"))
    assert colours(item, folder / "run") == ["red", "blue"]
    (item,) = prepare(write_csv(folder, "[2].png"))
    assert colours(item, folder / "run") == ["green"]


@pytest.mark.parametrize("value", [3, 2.5, True, "3", "训练集", " ", {"a": 1}, None])
def test_another_column_called_images_or_turns_changes_nothing(
    folder: Path, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plain = ONE | {"images": None, "image": NAMES[0]}
    asked = prepare(write_jsonl(folder, plain, plain | {"item_id": "二"}))
    told = {"images": value, "turns": value, "turns_en": value}
    assert prepare(write_jsonl(folder, plain | told, plain | told | {"item_id": "二"})) == asked
    lines = [one.getMessage() for one in caplog.records if "holds no list" in one.getMessage()]
    assert len(lines) == (0 if value in (None, " ") else 3)
    assert all("record 1" in line for line in lines)


def test_ids_tell_items_with_other_references_apart_and_do_not_depend_on_each_other(folder: Path) -> None:
    first = {"category": "指代", "instruction": "戴上它。", "images": NAMES[:2]}
    second = first | {"images": [NAMES[0], NAMES[2]]}
    third = first | {"images": NAMES[:1]}
    together = {item.item_id: item.references for item in prepare(write_jsonl(folder, first, second, third))}
    assert len(together) == 3
    for one in (first, second, third):
        (alone,) = prepare(write_jsonl(folder, one))
        assert together[alone.item_id] == alone.references


def test_the_table_holds_references_and_reads_one_of_an_older_version(folder: Path) -> None:
    (item,) = prepare(write_jsonl(folder, ONE))
    write_table(folder / "items.parquet", [item_row(item)], ITEMS)
    assert read_items(folder / "items.parquet") == [item]
    (plain,) = prepare(write_jsonl(folder, ONE | {"images": NAMES[:1]}))
    old = pa.schema([field for field in ITEMS if field.name != "references"])
    rows = [{name: value for name, value in item_row(plain).items() if name != "references"}]
    write_table(folder / "old.parquet", rows, old)
    assert read_items(folder / "old.parquet") == [plain]
    write_table(folder / "new.parquet", [item_row(plain)], ITEMS)
    assert pq.read_table(folder / "new.parquet")["references"].null_count == 1


def test_the_provenance_counts_such_items_and_an_older_dataset_keeps_its_own(folder: Path) -> None:
    asked = {"format": "items", "language": "zh", "categories": ["指代"], "run_dir": folder / "run"}
    _, told = prepare_items(write_jsonl(folder, ONE), **asked)
    assert told["several_images"] == 1
    plain = {"category": "指代", "image": NAMES[0], "instruction": "戴上它。"}
    _, told = prepare_items(write_jsonl(folder, plain), **asked)
    assert "several_images" not in told
