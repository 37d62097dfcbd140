"""Files as people and programs really write them: spreadsheets, caches, links, names with suffixes."""

import base64
import csv
import errno
import io
import json
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from editlane.core import csv_files
from editlane.core.errors import SourceUnreadable, UserError
from editlane.core.types import Item
from editlane.datasets import files as dataset_files
from editlane.datasets import json_files, storing
from editlane.datasets.given_edits import EditedFolder
from editlane.datasets.prepare import prepare_items
from editlane.images import files as image_files
from editlane.images.decoding import FORMATS, SUFFIXES
from editlane.images.files import open_image
from editlane.ratings.tables import read_ratings, read_scores


def photo(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(photo())
    return tmp_path


def read(path: Path, *, format: str = "items", categories: tuple[str, ...] = ("物理",), **options: Any) -> list[Item]:
    items, _ = prepare_items(
        path, format=format, language="en", categories=categories, run_dir=path.parent / "run", **options
    )
    return items


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        ",category,image,instruction\n0,物理,a.png,On.\n1,物理,a.png,Off.\n",
        "category,image,instruction,\n物理,a.png,On.,see note\n物理,a.png,Off.,\n",
        "category, ,image,instruction,\n物理,x,a.png,On.,y\n物理,,a.png,Off.\n",
        "category,image,instruction,,\n物理,a.png,On.,,\n,,,,\n物理,a.png,Off.,7,8\n",
        "\n\ncategory,image,instruction\n物理,a.png,On.\n\n物理,a.png,Off.\n",
    ],
)
def test_columns_without_a_name_are_left_out(folder: Path, text: str) -> None:
    items = read(put(folder, "items.csv", text))
    assert sorted(item.instruction for item in items) == ["Off.", "On."]


def test_ratings_and_scores_have_them_too(folder: Path) -> None:
    ratings = read_ratings([put(folder, "ratings.csv", ",item,system,rater,score\n0,a,x,r,3\n1,b,x,r,4\n")])
    assert [(one.item, one.score) for one in ratings] == [("a", 3.0), ("b", 4.0)]
    ratings = read_ratings([put(folder, "notes.tsv", "item\tsystem\trater\tscore\t\na\tx\tr\t3\tnice\n")])
    assert [(one.item, one.score) for one in ratings] == [("a", 3.0)]
    scores = read_scores(put(folder, "scores.csv", ",item_id,editor,judge,score\n0,a,x,j,3\n1,b,x,j,4\n"))
    assert [(one.item, one.judge, one.score) for one in scores] == [("a", "j", 3.0), ("b", "j", 4.0)]


def test_a_cell_behind_the_named_columns_is_still_a_missing_quote(folder: Path) -> None:
    path = put(folder, "items.csv", "category,image,instruction\n物理,a.png,Make it red, please.\n")
    with pytest.raises(UserError, match=r"record 1 \(line 2\) has more cells"):
        read(path)


def test_a_doubled_column_is_refused(folder: Path) -> None:
    path = put(folder, "items.csv", "category,image,instruction,instruction\n物理,a.png,On.,Off.\n")
    with pytest.raises(UserError, match=r"items\.csv has the column instruction twice"):
        read(path)
    table = pa.table(
        [["物理"], ["a.png"], ["On."], ["Off."]], names=["category", "image", "instruction", "instruction"]
    )
    pq.write_table(table, folder / "items.parquet")
    with pytest.raises(UserError, match="has the column instruction twice"):
        read(folder / "items.parquet")


def test_csv_writers_and_this_reader_agree(folder: Path) -> None:
    text = 'Write "a,\nb" on it; 换行'
    with (folder / "items.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["category", "image", "instruction"], ["物理", "a.png", text]])
    assert [item.instruction for item in read(folder / "items.csv")] == [text]


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_a_list_with_nan_says_what_is_not_json(folder: Path, value: str) -> None:
    path = put(folder, "list.json", '[{"subset": "physical", "difficulty": ' + value + ', "src_img_b64": "aaaa"}]')
    with pytest.raises(UserError, match="NaN and Infinity are not JSON, write null") as caught:
        read(path, format="base64-json")
    assert "list.json is broken JSON at byte 3" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "format", "text"),
    [
        ("items.jsonl", "items", '{"category": "物理", "image": "a.png", "instruction": "On.", "item_id": DIGITS}'),
        ("list.json", "base64-json", '[{"subset": "物理", "src_img_b64": "aaaa", "item_id": DIGITS}]'),
        ("rise.json", "rise", '[{"category": "物理", "image": "a.png", "instruction": "On.", "index": DIGITS}]'),
        ("edit.json", "imgedit", '{"k": {"edit_type": "物理", "id": "a.png", "prompt": "On.", "x": [DIGITS]}}'),
    ],
)
def test_a_number_of_thousands_of_digits_is_one_paragraph(folder: Path, name: str, format: str, text: str) -> None:
    path = put(folder, name, text.replace("DIGITS", "7" * 6000))
    with pytest.raises(UserError, match=r"record [01].* has a number of more than 4,300 digits. Write it in quotes"):
        read(path, format=format)
    quoted = put(
        folder,
        "quoted.jsonl",
        '{"category": "物理", "image": "a.png", "instruction": "On.", "item_id": "%s"}' % ("7" * 6000),
    )
    assert len(read(quoted)[0].item_id) <= 120


@pytest.mark.parametrize(
    ("name", "format", "start", "end"),
    [
        ("items.jsonl", "items", '{"category": "物理", "instruction": "On.", "image": "a.png"}\n{"category": "', '"}'),
        (
            "list.json",
            "base64-json",
            '[{"subset": "物理", "edit_instruction": "On.", "src_img_b64": "a"}, {"x": "',
            '"}]',
        ),
    ],
)
def test_a_record_without_end_is_not_read_whole(
    folder: Path, name: str, format: str, start: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_files, "LONGEST_RECORD", 1 << 20)
    path = put(folder, name, start + "x" * (10 << 20) + end)
    with pytest.raises(UserError, match="record 2 is longer than 1,048,576 bytes"):
        read(path, format=format)


GOOD_LINE = '{"category": "物理", "instruction": "On.", "image": "a.png"}\n'
GOOD_RECORD = '{"subset": "物理", "edit_instruction": "On.", "src_img_b64": "a"}'
TWICE = {
    "a.jsonl": (
        "items",
        GOOD_LINE + '\n{"category": "物理", "instruction": "a", "instruction": "b", "image": "a.png"}\n',
        "record 2 (line 3) has the key 'instruction' twice",
    ),
    "nested.jsonl": (
        "items",
        GOOD_LINE + GOOD_LINE.replace('"a.png"', '{"bytes": null, "path": "a.png", "path": "b.png"}'),
        "record 2 (line 2) has the key 'path' twice",
    ),
    "a.json": (
        "base64-json",
        f'[{GOOD_RECORD},\n\n{{"subset": "物理",\n"src_img_b64": "", "edit_instruction": "a", "subset": "b"}}]',
        "record 2 (line 4) has the key 'subset' twice",
    ),
    "one_line.json": (
        "base64-json",
        "[" + f"{GOOD_RECORD}, " * 3000 + GOOD_RECORD.replace("}", ', "subset": "b"}') + "]",
        "record 3001 (line 1) has the key 'subset' twice",
    ),
    "long.json": (
        "base64-json",
        "[\n" + f"{GOOD_RECORD},\n" * 3000 + GOOD_RECORD.replace("}", ', "x": {"y": 1, "y": 1}}') + "\n]",
        "record 3001 (line 3002) has the key 'y' twice",
    ),
    "basic_edit.json": (
        "imgedit",
        '\ufeff{"1": {"id": "a.png", "prompt": "a",\n"edit_type": "物理", "prompt": "b"}}',
        "record 1 ('1') (line 2) has the key 'prompt' twice",
    ),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_record_with_a_key_twice_is_refused_with_its_line(folder: Path, monkeypatch, name: str) -> None:
    format, text, message = TWICE[name]
    monkeypatch.setattr(json_files, "_CHUNK", 1000)
    with pytest.raises(UserError, match=rf"{re.escape(f'{name}, {message}')}\. Keep one\.$"):
        read(put(folder, name, text), format=format)


def test_a_key_that_stands_in_several_objects_is_fine(folder: Path) -> None:
    record = (
        '{"subset": "物理", "edit_instruction": "On.", "src_img_b64": "a", "x": [{"y": 1}, {"y": {"y": 1}}], "y": 1}'
    )
    assert len(read(put(folder, "a.json", f"[{record}, {record}]"), format="base64-json")) == 2


@pytest.mark.parametrize("cell", ["{}", '"{}'])
def test_a_csv_line_or_cell_without_end_is_not_read_whole(folder, monkeypatch, cell: str) -> None:
    monkeypatch.setattr(csv_files, "LONGEST_LINE", 1000)
    monkeypatch.setattr(dataset_files, "LONGEST_LINE", 1000)
    limit = csv.field_size_limit()
    text = ("x" * 500 + "\n" if '"' in cell else "x" * 500) * 10
    path = put(folder, "items.csv", "image,category,instruction\na.png,物理," + cell.format(text))
    with pytest.raises(UserError, match=r"items\.csv.*(line 2 is longer than 1,000|larger than field limit)"):
        read(path)
    csv.field_size_limit(limit)


@pytest.mark.parametrize("tags", [["ok", "\ud800"], "a;\udfff", '["\\ud800"]'])
def test_half_a_surrogate_pair_in_tags_is_one_paragraph(folder: Path, tags: Any) -> None:
    record = {"category": "物理", "image": "a.png", "instruction": "On.", "tags": tags}
    path = put(folder, "items.jsonl", json.dumps(record))
    with pytest.raises(UserError, match=r"record 1 \(line 1\): tags has a character that is not valid Unicode"):
        read(path)


# --- Arrow -----------------------------------------------------------------------------------------------------------


def gedit_table(*keys: str) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "key": key, "task_type": "color_alter", "instruction_language": "en", "instruction": f"Make it {key}.",
                "input_image": {"bytes": photo(), "path": None},
            }
            for key in keys
        ]
    )  # fmt: skip


def write_arrow(path: Path, table: pa.Table, *, stream: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as file, make(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)


def read_gedit(path: Path) -> list[str]:
    return sorted(item.item_id for item in read(path, format="gedit", categories=("color_alter",)))


def test_both_arrow_formats_are_read(folder: Path) -> None:
    write_arrow(folder / "file.arrow", gedit_table("k1", "k2"), stream=False)
    assert read_gedit(folder / "file.arrow") == ["k1", "k2"]
    pyarrow.feather.write_feather(gedit_table("k1", "k2"), str(folder / "feather.arrow"))  # compressed
    assert read_gedit(folder / "feather.arrow") == ["k1", "k2"]
    write_arrow(folder / "stream.arrow", gedit_table("k1", "k2"))
    assert read_gedit(folder / "stream.arrow") == ["k1", "k2"]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_text_that_is_no_utf_8_is_named_with_its_place(folder: Path, suffix: str) -> None:
    rows = gedit_table(*(f"k{number}" for number in range(12)))
    broken = pa.array([b"x"] * 9 + [b"\xff\xfe"] + [b"x"] * 2).cast(pa.string(), safe=False)
    table = rows.set_column(rows.schema.get_field_index("instruction"), "instruction", broken.view(pa.string()))
    path = folder / f"gedit.{suffix}"
    pq.write_table(table, path) if suffix == "parquet" else write_arrow(path, table)
    with pytest.raises(UserError, match=rf"gedit\.{suffix}, record 10: instruction cannot be read: not UTF-8"):
        read_gedit(path)


def test_a_date_that_python_cannot_hold_is_named_with_its_place(folder: Path) -> None:
    table = pa.table(
        {"image": ["a.png"], "category": ["物理"], "instruction": ["On."], "made": pa.array([2**40], pa.timestamp("s"))}
    )
    pq.write_table(table, folder / "items.parquet")
    with pytest.raises(UserError, match=r"items\.parquet, record 1: made cannot be read"):
        read(folder / "items.parquet")


@pytest.mark.parametrize(
    "cache", ["cache-0123456789abcdef.arrow", "cache-01_00000_of_00002.arrow", "tmpk3j2_x0a.arrow"]
)
def test_copies_in_the_datasets_cache_are_not_read(folder: Path, cache: str) -> None:
    write_arrow(folder / "gedit/gedit-bench-train.arrow", gedit_table("k1", "k2"))
    write_arrow(folder / "gedit" / cache, gedit_table("k1", "k2"))
    assert read_gedit(folder / "gedit") == ["k1", "k2"]


@pytest.mark.parametrize("name", ["tmp_gedit.parquet", "cache-of-mine.arrow", "cache-0123.parquet"])
def test_files_with_nearly_such_names_are_read(folder: Path, name: str) -> None:
    write = write_arrow if name.endswith(".arrow") else lambda path, table: pq.write_table(table, path)
    (folder / "gedit").mkdir()
    write(folder / "gedit" / name, gedit_table("k1"))
    assert read_gedit(folder / "gedit") == ["k1"]


@pytest.mark.parametrize(
    "name",
    ["data/train-00000-of-00001.parquet", "train/data-00000-of-00001.arrow", "default/0.0.0/4f1a/gedit-train.arrow"],
)
def test_files_in_a_folder_below_are_found(folder: Path, name: str) -> None:
    path = folder / "GEdit" / name
    if path.suffix == ".arrow":
        write_arrow(path, gedit_table("k1", "k2"))
    else:
        path.parent.mkdir(parents=True)
        pq.write_table(gedit_table("k1", "k2"), path)
    write_arrow(folder / "GEdit/.cache/x.arrow", gedit_table("k3"))
    assert read_gedit(folder / "GEdit") == ["k1", "k2"]


def test_several_folders_below_are_named(folder: Path) -> None:
    for split in ("train", "test"):
        write_arrow(folder / "GEdit" / split / "data.arrow", gedit_table("k1"))
    with pytest.raises(UserError, match=r"has several folders with a dataset: .*GEdit/test, .*GEdit/train"):
        read_gedit(folder / "GEdit")


def test_kris_is_found_from_one_folder_up(folder: Path) -> None:
    for group in ("color_change", "count_change"):
        put(folder, f"Kris_Bench/KRIS_Bench/{group}/a.png", photo())
        record = {"1": {"ori_img": "a.png", "ins_en": "On."}}
        put(folder, f"Kris_Bench/KRIS_Bench/{group}/annotation.json", json.dumps(record))
    items = read(folder / "Kris_Bench", format="kris", categories=("color_change",))
    assert [item.item_id for item in items] == ["color_change_1"]


# --- given edits -----------------------------------------------------------------------------------------------------

FOUR = "item_id,category,image,instruction\n" + "".join(f"{number},物理,a.png,On {number}.\n" for number in "1234")


def found(items: list[Item]) -> set[str]:
    return {item.item_id for item in items if item.given_path}


def test_every_suffix_of_a_readable_format_is_an_edit(folder: Path) -> None:
    Image.init()
    known = {suffix for suffix, format in Image.registered_extensions().items() if format in (*FORMATS, "MPO")}
    assert known <= SUFFIXES
    path = put(folder, "items.csv", FOUR)
    for name in ("1.jfif", "2.JP2", "3.jpe", "4.png", "5.txt"):
        put(folder, f"edits/{name}", photo())
    assert found(read(path, edited_dir=folder / "edits")) == set("1234")


def test_ids_may_hold_a_suffix(folder: Path) -> None:
    names = {"room.jpg": "room.png", "v1.5": "v1.5.webp", "b.png": "b.png.png", "b": "b.png", "物理.JPG": "物理.JPG"}
    rows = "".join(f"{name},物理,a.png,On {name}.\n" for name in names)
    for name in names.values():
        put(folder, f"edits/{name}", photo())
    items = read(put(folder, "items.csv", FOUR.splitlines()[0] + "\n" + rows), edited_dir=folder / "edits")
    assert found(items) == set(names)


def test_folders_of_edits_may_be_links(folder: Path) -> None:
    path = put(folder, "items.csv", FOUR)
    put(folder, "disk1/2.png", photo("blue"))
    put(folder, "disk2/more/3.png", photo("lime"))
    put(folder, "edits/物理/1.png", photo())
    (folder / "edits/more").symlink_to(folder / "disk1")
    (folder / "edits/物理/deeper").symlink_to("../../disk2/more")
    (folder / "edits/circle").symlink_to(".")
    (folder / "edits/4.png").symlink_to("nowhere.png")
    put(folder, "names.csv", FOUR.replace("2,", "more/2,").replace("3,", "物理/deeper/3,"))
    assert found(read(path, edited_dir=folder / "edits")) == {"1"}
    assert len(found(read(folder / "names.csv", edited_dir=folder / "edits"))) == 3


def test_one_file_under_two_linked_names_is_one_edit(folder: Path) -> None:
    path = put(folder, "items.csv", FOUR.replace("物理", "physical"))
    put(folder, "edits/physical/1.png", photo())
    (folder / "edits/物理").symlink_to("physical")
    assert found(read(path, edited_dir=folder / "edits")) == {"1"}


@pytest.mark.parametrize("name", ["{}/00000_x_primary.png", "00000_x_primary.png", "{}/00000_x.png"])
@pytest.mark.parametrize("group", ["physical", "物理"])
def test_re_edits_own_names_of_edits(folder: Path, name: str, group: str) -> None:
    record = {
        "subset": "physical", "edit_instruction_en": "On.", "original_image_path": "images/00000_x.png",
        "src_img_b64": base64.b64encode(photo()).decode(),
    }  # fmt: skip
    path = put(folder, "RE-Edit.json", json.dumps([record]))
    put(folder, f"edits/{name.format(group)}", photo("blue"))
    [item] = read(path, format="base64-json", edited_dir=folder / "edits")
    assert item.given_path


def test_a_partial_match_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(f"{number},物理,a.png,On.\n" for number in range(9)) + "x,环境,a.png,On.\n"
    path = put(folder, "items.csv", FOUR.splitlines()[0] + "\n" + rows)
    for name in ("0.png", "1.png", "2.png", "x.png", "b/loose.png", "c.png", "d.webp", "e.png", "notes.txt"):
        put(folder, f"edits/{name}", photo())
    with caplog.at_level(logging.WARNING):
        read(path, edited_dir=folder / "edits")
    assert caplog.messages == [
        "dataset.edited_dir: 6 of 9 items have no edit: 3, 4, 5 and 3 more",
        "dataset.edited_dir: 4 of 8 files belong to no item: b/loose.png, c.png, d.webp and 1 more",
    ]


def test_a_full_match_is_quiet(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in "1234":
        put(folder, f"edits/{number}.png", photo())
    with caplog.at_level(logging.WARNING):
        read(put(folder, "items.csv", FOUR), edited_dir=folder / "edits", limit=2)
    assert caplog.messages == []


# --- edits of several systems -----------------------------------------------------------------------------------------

CHINESE = FOUR.replace("1,", "灯,").replace("2,", "b/雨.jpg,")


@pytest.fixture
def systems(folder: Path) -> dict[str, Path]:
    """The folders of two systems: one lacks item 4 and has a file too many, the other has two items."""
    names = ("a/灯.png", "a/物理/b/雨.jpg.png", "a/3.webp", "a/loose.png", "乙/4.png", "乙/灯.png")
    for place, name in enumerate(names):
        put(folder, f"edits/{name}", photo(f"#0{place}0000"))
    (folder / "elsewhere").symlink_to("edits/乙")
    return {"系统-a": folder / "edits/a", "b": folder / "elsewhere"}


def given(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = pq.read_table(folder / "run/given.parquet").to_pylist()
    return {(row["editor"], row["item_id"]): row for row in rows}


def test_each_system_has_its_own_edits(folder: Path, systems: dict[str, Path]) -> None:
    path = put(folder, "items.csv", CHINESE)
    items = read(path)
    assert not (folder / "run/given.parquet").exists(), "no other run gets a new table"
    assert read(path, given=systems) == items, "the items themselves know nothing of it"
    rows = given(folder)
    assert list(rows) == [(editor, item.item_id) for editor in systems for item in items]
    rain = next(item.item_id for item in items if item.instruction == "On 2.")
    there = {key for key, row in rows.items() if row["given_path"]}
    assert there == {("系统-a", "灯"), ("系统-a", rain), ("系统-a", "3"), ("b", "灯"), ("b", "4")}
    for key, name in (
        (("系统-a", "灯"), "a/灯.png"),
        (("系统-a", rain), "a/物理/b/雨.jpg.png"),
        (("b", "灯"), "乙/灯.png"),
    ):
        row = rows[key]
        assert (folder / "run" / row["given_path"]).read_bytes() == (folder / "edits" / name).read_bytes()
        assert row["given_sha256"] == image_files.file_sha256(folder / "edits" / name)
    assert rows["系统-a", "4"]["given_sha256"] is None


def test_the_edits_of_the_dataset_stay_beside_those_of_a_system(folder: Path, systems: dict[str, Path]) -> None:
    put(folder, "mine/4.png", photo("blue"))
    path = put(folder, "items.csv", CHINESE)
    alone = read(path, edited_dir=folder / "mine")
    assert read(path, edited_dir=folder / "mine", given=systems) == alone
    own = next(item for item in alone if item.given_path)
    assert (own.item_id, given(folder)["系统-a", "4"]["given_path"]) == ("4", None)
    assert given(folder)["b", "4"]["given_sha256"] not in {None, own.given_sha256}


def test_ids_do_not_depend_on_the_edits_of_a_system(folder: Path) -> None:
    """Two keys of a benchmark that differ in their category alone get a suffix each."""
    rows = [{"key": "k", "task_type": group, "instruction_language": "en", "instruction": "On."} for group in "ab"]
    table = [row | {"input_image": {"bytes": photo(), "path": None}} for row in rows]
    pq.write_table(pa.Table.from_pylist(table), folder / "gedit.parquet")
    put(folder, "edits/a/en/k.png", photo("blue"))
    options = {"format": "gedit", "categories": ("a", "b")}
    items = read(folder / "gedit.parquet", **options)
    assert read(folder / "gedit.parquet", given={"x": folder / "edits"}, **options) == items
    assert [row["given_path"] is not None for row in given(folder).values()] == [True, False]


def test_the_gaps_of_each_system_are_told(
    folder: Path, systems: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read(put(folder, "items.csv", CHINESE), given=systems, limit=3)
    assert caplog.messages == [
        "editors.系统-a.params.dir: 1 of 4 files belongs to no item: loose.png",
        "editors.b.params.dir: 2 of 3 items have no edit: b/雨.jpg, 3",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("4.webp", r"editors.b.params.dir: 4.png and 4.webp are both edits of record 4"),
        (None, r"editors.b.params.dir: .*/elsewhere has no edit of any item. Looked for: "),
    ],
)
def test_a_wrong_folder_of_a_system_is_named(
    folder: Path, systems: dict[str, Path], name: str | None, words: str
) -> None:
    if name:
        put(folder, f"edits/乙/{name}", photo())
    else:
        (folder / "edits/乙/4.png").unlink()
        (folder / "edits/乙/灯.png").unlink()
    with pytest.raises(UserError, match=words):
        read(put(folder, "items.csv", CHINESE), given=systems)
    assert not (folder / "run").exists()


def write_rows(folder: Path, *ids: str) -> Path:
    rows = [{"item_id": name, "category": "物理", "image": "a.png", "instruction": "On."} for name in ids]
    return put(folder, "items.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def write_gedit(folder: Path, *rows: tuple[str, str]) -> Path:
    """Records of one key in these categories and languages."""
    same = {"key": "k", "instruction": "On.", "input_image": {"bytes": photo(), "path": None}}
    table = [same | {"task_type": group, "instruction_language": language} for group, language in rows]
    pq.write_table(pa.Table.from_pylist(table), folder / "gedit.parquet")
    return folder / "gedit.parquet"


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Make a folder fail with this number; not by its mode, because root may read everything."""
    closed: dict[Path, int] = {}
    scan = os.scandir

    def fail(path: Path) -> Any:
        if number := closed.get(Path(path)):
            raise OSError(number, os.strerror(number), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", fail)
    return closed.__setitem__


def test_a_folder_below_that_may_not_be_read_is_left_out_and_told(folder: Path, close, caplog) -> None:
    put(folder, "edits/1.png", photo("blue"))
    put(folder, "edits/lost+found/2.png", photo("blue"))
    (folder / "edits/loop").symlink_to("loop")
    close(folder / "edits/lost+found", errno.EACCES)
    with caplog.at_level(logging.WARNING):
        items = read(write_rows(folder, "1", "2"), edited_dir=folder / "edits")
    assert [item.given_path is not None for item in items] == [True, False]
    assert caplog.messages == [
        "dataset.edited_dir: 1 of 2 items has no edit: 2",
        "dataset.edited_dir: 1 folder may not be read: lost+found",
    ]


@pytest.mark.parametrize(("name", "number"), [("", errno.EACCES), ("b", errno.EIO)])
def test_a_folder_of_edits_that_cannot_be_read_stops_the_run(folder: Path, close, name: str, number: int) -> None:
    (folder / "edits/b").mkdir(parents=True)
    close(folder / "edits" / name, number)
    with pytest.raises(UserError, match=rf"cannot read .*edits/?{name}: {os.strerror(number)}"):
        EditedFolder(folder / "edits")


def test_edits_of_the_other_language_are_no_loose_files(folder: Path, caplog) -> None:
    path = write_gedit(folder, ("a", "en"), ("a", "cn"))
    put(folder, "edits/a/en/k.png", photo("blue"))
    put(folder, "edits/a/cn/k.png", photo("green"))
    with caplog.at_level(logging.WARNING):
        [item] = read(path, format="gedit", categories=("a",), edited_dir=folder / "edits")
    assert (caplog.messages, item.item_id) == ([], "k")
    assert item.given_sha256 == image_files.file_sha256(folder / "edits/a/en/k.png")


@pytest.mark.parametrize("names", [("001.png", "001.jpg"), ("001.jpg", "001.png"), ("物.JPEG", "物.webp")])
def test_an_id_that_is_the_whole_name_of_a_file_has_that_file(folder: Path, names: tuple[str, str]) -> None:
    for name in names:
        put(folder, f"edits/{name}", name)
    items = read(write_rows(folder, *names), edited_dir=folder / "edits")
    found = {item.item_id: (folder / "run" / str(item.given_path)).read_text() for item in items}
    assert found == {name: name for name in names}


def test_a_trial_on_items_without_an_edit_goes_on(folder: Path, caplog) -> None:
    path = write_rows(folder, *"1234")
    put(folder, "edits/3.png", photo("blue"))
    with caplog.at_level(logging.WARNING):
        assert len(read(path, edited_dir=folder / "edits", limit=2)) == 2
    assert caplog.messages == [
        "dataset.edited_dir: 2 of 2 items have no edit: 1, 2",
        "dataset.edited_dir: of the items that `dataset.limit` leaves out, 1 has an edit; raise it",
    ]
    (folder / "edits/3.png").rename(folder / "edits/x.png")
    with pytest.raises(UserError, match="has no edit of any item"):
        read(path, edited_dir=folder / "edits", limit=2)


def test_ids_do_not_depend_on_the_folder_of_edits(folder: Path) -> None:
    """Two keys of a benchmark that differ in their category alone get a suffix each."""
    path = write_gedit(folder, ("a", "en"), ("b", "en"))
    put(folder, "edits/a/en/k.png", photo("blue"))
    for categories in (("a", "b"), ("a",)):
        items = read(path, format="gedit", categories=categories)
        edited = read(path, format="gedit", categories=categories, edited_dir=folder / "edits")
        assert [item.item_id for item in edited] == [item.item_id for item in items]
        assert edited[0].given_sha256


def test_an_image_that_nobody_can_look_at_now_stops_the_step(folder: Path, monkeypatch) -> None:
    def fail(content: bytes) -> Any:
        raise SourceUnreadable("Resource temporarily unavailable", kind="missing")

    monkeypatch.setattr(storing, "sniff", fail)
    with pytest.raises(UserError, match=r"Cannot look at .*a\.png now: Resource temporarily"):
        read(write_rows(folder, "1"))
    record = {"subset": "物理", "edit_instruction": "On.", "src_img_b64": base64.b64encode(photo()).decode()}
    with pytest.raises(UserError, match=r"Cannot look at the image in the dataset file with the SHA-256"):
        read(put(folder, "list.json", json.dumps([record])), format="base64-json")


def test_an_other_record_that_nobody_can_look_at_now_does_not_change_ids(folder: Path, monkeypatch) -> None:
    path = write_gedit(folder, ("a", "en"), ("b", "en"))
    real, seen = storing.sniff, list[bytes]()

    def fail(content: bytes) -> Any:
        seen.append(content)
        if len(seen) > 1:
            raise SourceUnreadable("killed", kind="crash")
        return real(content)

    monkeypatch.setattr(storing, "sniff", fail)
    with pytest.raises(UserError, match="Cannot look at"):
        read(path, format="gedit", categories=("a",))


# --- images that are too large or empty ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "  \n"])
def test_base64_without_a_byte_is_an_unreadable_image(folder: Path, text: str) -> None:
    record = {"subset": "物理", "edit_instruction": "On.", "src_img_b64": text}
    [item] = read(put(folder, "list.json", json.dumps([record])), format="base64-json")
    with pytest.raises(SourceUnreadable) as caught:
        open_image(folder / "run" / item.source_path)
    assert caught.value.kind == "decode"
    assert (folder / "run" / item.source_path).read_bytes() == b""


def test_an_image_struct_without_a_byte_is_one_too(folder: Path) -> None:
    table = gedit_table("k1").to_pylist()
    table[0]["input_image"] = {"bytes": b"", "path": None}
    pq.write_table(pa.Table.from_pylist(table), folder / "gedit.parquet")
    assert read_gedit(folder / "gedit.parquet") == ["k1"]


def test_a_vast_photo_or_edit_is_a_row_and_is_not_copied(folder: Path) -> None:
    for name in ("vast.png", "edits/1.png"):
        os.truncate(put(folder, name, photo()), 30_000_000_000)
    put(folder, "edits/2.png", photo())
    path = put(folder, "items.csv", FOUR.replace("1,物理,a.png", "1,物理,vast.png"))
    items = {item.item_id: item for item in read(path, edited_dir=folder / "edits")}
    for stored in (items["1"].source_path, items["1"].given_path):
        with pytest.raises(SourceUnreadable, match="30,000,000,000 bytes is too large") as caught:
            open_image(folder / "run" / str(stored))
        assert caught.value.kind == "too_large"
    assert (items["1"].width, items["2"].width) == (None, 8)
    assert open_image(folder / "run" / items["2"].source_path).size == (8, 8)


def test_a_vast_photo_inside_the_dataset_is_a_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "MAX_BYTES", 1000)
    monkeypatch.setattr(image_files, "MAX_BYTES", 1000)
    record = {"subset": "物理", "edit_instruction": "On.", "src_img_b64": base64.b64encode(bytes(2000)).decode()}
    [item] = read(put(folder, "list.json", json.dumps([record])), format="base64-json")
    with pytest.raises(SourceUnreadable, match="2,000 bytes is too large; an image may have 1,000"):
        open_image(folder / "run" / item.source_path)
