"""Records of several turns in the formats for one's own data: each turn is an item that follows the one before."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from editlane.core import tables
from editlane.core.errors import UserError
from editlane.core.schemas import GIVEN, ITEMS
from editlane.core.types import Item
from editlane.datasets.making import estimate_cost
from editlane.datasets.prepare import prepare_items

TURNS = {
    "item_id": "三轮", "category": "指代", "image": "人.png",
    "turns_zh": ["戴上帽子", "换成绿色", "撤销上一步"], "turns": ["Add a hat.", "Make it green.", "Undo that."],
}  # fmt: skip
PLAIN = {"item_id": "单轮", "category": "指代", "image": "人.png", "instruction": "变亮"}


def photo(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "人.png").write_bytes(photo("red"))
    return tmp_path


def write_jsonl(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "数据.jsonl"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path


def prepare_all(path: Path, **options: Any) -> tuple[list[Item], dict[str, Any]]:
    asked = {"format": "items", "language": "zh", "categories": ["指代", "物理"], "run_dir": path.parent / "run"}
    return prepare_items(path, **asked | options)


def prepare(path: Path, **options: Any) -> list[Item]:
    return prepare_all(path, **options)[0]


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        prepare(path, **options)
    return str(caught.value)


def put_edits(folder: Path, **colours: str) -> Path:
    (folder / "编辑").mkdir(exist_ok=True)
    for name, colour in colours.items():
        (folder / f"编辑/{name}.png").write_bytes(photo(colour))
    return folder / "编辑"


def list_given(run_dir: Path, items: list[Item]) -> list[bytes | None]:
    return [(run_dir / item.given_path).read_bytes() if item.given_path else None for item in items]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_each_turn_is_an_item_with_the_photo_and_all_texts_so_far(folder: Path, language: str) -> None:
    items = prepare(write_jsonl(folder, TURNS), language=language)
    turns = tuple(TURNS["turns_zh" if language == "zh" else "turns"])
    assert [(item.item_id, item.after, item.turn) for item in items] == [
        ("三轮-turn1", None, 1), ("三轮-turn2", "三轮-turn1", 2), ("三轮-turn3", "三轮-turn2", 3)
    ]  # fmt: skip
    assert [item.turns for item in items] == [(), turns[:2], turns]
    assert items[0].instruction == turns[0]
    told = items[1].instruction.split("\n")
    assert told[0].startswith({"zh": "共 2 轮", "en": "2 turns"}[language])
    assert told[1:] == [
        {"zh": f"第 {number} 轮：{text}", "en": f"Turn {number}: {text}"}[language]
        for number, text in enumerate(turns[:2], 1)
    ]
    assert {(item.source_path, item.cost, item.language) for item in items} == {
        (items[0].source_path, estimate_cost((40, 30)), language)
    }
    tables.write_table(folder / "items.parquet", map(tables.item_row, items), ITEMS)
    assert tables.read_items(folder / "items.parquet") == items


def test_a_record_of_one_turn_is_an_item_like_any_other(folder: Path) -> None:
    plain = {"category": "指代", "image": "人.png"}
    (listed,) = prepare(write_jsonl(folder, plain | {"turns": ["戴上帽子"]}))
    assert prepare(write_jsonl(folder, plain | {"instruction": "戴上帽子"})) == [listed]
    assert (listed.turns, listed.after, listed.turn) == ((), None, 1)


def test_a_cell_of_csv_lists_turns_as_json(folder: Path) -> None:
    path = folder / "数据.csv"
    path.write_text('image,category,turns\n人.png,指代,"[""戴上帽子"", ""换成绿色""]"\n', encoding="utf-8")
    first, second = prepare(path)
    assert second.turns == ("戴上帽子", "换成绿色")
    assert first.item_id.removesuffix("1") == second.item_id.removesuffix("2")


def test_chains_change_nothing_about_other_items(folder: Path) -> None:
    alone = prepare(write_jsonl(folder, PLAIN))
    together = prepare(write_jsonl(folder, TURNS, PLAIN))
    assert [item for item in together if item.item_id == "单轮"] == alone


def test_the_order_is_that_of_records_and_their_turns(folder: Path) -> None:
    long = TURNS | {"item_id": "a", "turns_zh": [f"第 {number} 步" for number in range(1, 12)]}
    items = prepare(write_jsonl(folder, TURNS | {"item_id": "b"}, PLAIN | {"item_id": "a0"}, long))
    names = [item.item_id for item in items]
    assert names == [*(f"a-turn{number}" for number in range(1, 12)), "a0", *(f"b-turn{turn}" for turn in (1, 2, 3))]


def test_a_limit_counts_records(folder: Path) -> None:
    path = write_jsonl(folder, TURNS, PLAIN, TURNS | {"item_id": "丙", "category": "物理"})
    items, told = prepare_all(path, limit=1)
    assert [item.item_id for item in items] == [
        "三轮-turn1", "三轮-turn2", "三轮-turn3", "丙-turn1", "丙-turn2", "丙-turn3"
    ]  # fmt: skip
    assert (told["records"], told["over_limit"], told["later_turns"]) == (3, 1, 4)
    assert told["items"] == {"指代": 3, "物理": 3}
    _, told = prepare_all(write_jsonl(folder, PLAIN))
    assert "later_turns" not in told


def test_ids_are_unique_and_fit_a_file_system(folder: Path) -> None:
    taken = PLAIN | {"item_id": "三轮-turn2"}
    names = [item.item_id for item in prepare(write_jsonl(folder, TURNS, taken))]
    assert len(set(names)) == 4
    assert "三轮-turn1" in names and "三轮-turn2" in names
    first, second = (TURNS | {"item_id": "很" * 39 + end} for end in "甲乙")
    items = prepare(write_jsonl(folder, first, second))
    names = [item.item_id for item in items]
    assert len(set(names)) == 6
    assert all(len(name.encode()) <= 120 for name in names)
    assert [item.after for item in items] == [None, *names[:2], None, *names[3:5]]


def test_a_samples_later_turn_follows_the_same_samples_turn_before(folder: Path) -> None:
    items = prepare(write_jsonl(folder, TURNS, PLAIN), samples=2)
    found = {item.item_id: (item.sample_of, item.after) for item in items}
    assert found["三轮-turn3-seed2"] == ("三轮-turn3", "三轮-turn2-seed2")
    assert found["三轮-turn1-seed2"] == ("三轮-turn1", None)
    assert found["三轮-turn3"] == (None, "三轮-turn2")
    assert found["单轮-seed2"] == ("单轮", None)
    assert len(found) == 8


def test_a_pair_has_one_edit_so_it_stays_one_item(folder: Path) -> None:
    (folder / "结果.png").write_bytes(photo("blue"))
    (item,) = prepare(write_jsonl(folder, TURNS | {"edited": "结果.png"}), format="pairs")
    assert (item.item_id, item.after, item.turn) == ("三轮", None, 1)
    assert item.turns == tuple(TURNS["turns_zh"])
    assert item.instruction.startswith("共 3 轮")
    assert list_given(folder / "run", [item]) == [photo("blue")]


@pytest.mark.parametrize("last", ["三轮", "三轮-turn3"])
def test_the_edits_of_a_folder_are_found_by_turn(folder: Path, last: str) -> None:
    edited = put_edits(folder, **{"三轮-turn1": "blue", last: "lime", "单轮": "black"})
    items = prepare(write_jsonl(folder, TURNS, PLAIN), edited_dir=edited)
    assert [item.item_id for item in items] == ["三轮-turn1", "三轮-turn2", "三轮-turn3", "单轮"]
    assert list_given(folder / "run", items) == [photo("blue"), None, photo("lime"), photo("black")]


def test_the_edits_of_an_editors_own_folder_are_found_by_turn(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = put_edits(folder, **{"三轮-turn2": "blue", "三轮": "lime"})
    items = prepare(write_jsonl(folder, TURNS), given={"甲": own})
    rows = tables.read_given(folder / "run/given.parquet", "甲")
    assert list(rows) == [item.item_id for item in items]
    paths = [row["given_path"] for row in rows.values()]
    assert [path and (folder / "run" / path).read_bytes() for path in paths] == [None, photo("blue"), photo("lime")]
    assert tables.read_columns(folder / "run/given.parquet") == GIVEN.names
    assert "1 of 3 items has no edit: 三轮-turn1" in caplog.text


def test_two_files_for_the_last_turn_are_refused(folder: Path) -> None:
    edited = put_edits(folder, **{"三轮": "blue", "三轮-turn3": "lime"})
    assert "are both edits of" in refused(write_jsonl(folder, TURNS), edited_dir=edited)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instruction": "戴上帽子"}, "has instruction and turns. Give one of them"),
        ({"turns_zh": ["戴上帽子", ""]}, "turn 2 of turns_zh is empty"),
        ({"turns_zh": [], "turns": []}, "has no instruction, and turns is an empty list. Fill the list, or give one"),
        ({"turns_zh": "戴上帽子"}, "turns_zh is '戴上帽子', not a list of texts"),
        ({"turns_zh": [1]}, "turns_zh is 1, not text"),
        ({"turns_zh": ["转"] * 17}, "has 17 turns; a record has at most 16"),
        ({"turns_zh": [], "turns": []}, "has no instruction"),
    ],
)
def test_turns_with_a_mistake_are_refused(folder: Path, changes: dict[str, Any], words: str) -> None:
    assert words in refused(write_jsonl(folder, TURNS | changes))
    assert not (folder / "run").exists(), "something was written before the error"
