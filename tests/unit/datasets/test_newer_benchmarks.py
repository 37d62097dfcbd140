"""GEditBench v2, Edit-Compass and the turns of ImgEdit: records with the fields that their own programs read."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from editlane.core.errors import UserError
from editlane.core.types import Item
from editlane.datasets.detect import detect_format, read_columns
from editlane.datasets.prepare import prepare_items


def photo(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def put(path: Path, content: bytes | Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())
    return path


def prepare(path: Path, format: str, categories: list[str], run: Path, **options: Any) -> dict[str, Item]:
    asked = {"language": "en"} | options
    items, _ = prepare_items(path, format=format, categories=categories, run_dir=run, **asked)
    return {item.item_id: item for item in items}


# --- GEditBench v2 ---------------------------------------------------------------------------------------------------


def write_geditv2(folder: Path, **changes: Any) -> Path:
    rows = [
        {"key": "background_change_000000", "task": "background_change", "instruction": "Change it to a beach."},
        {"key": "open_set_000001", "task": "open_set", "instruction": "把它做成手办。"},
    ]
    rows = [row | {"source_image": {"bytes": photo("red"), "path": "a.png"}} | changes for row in rows]
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "data/train-00000-of-00001.parquet")
    return folder


def test_geditbench_v2_is_read_as_published_and_found_by_its_columns(tmp_path: Path) -> None:
    path = write_geditv2(tmp_path / "GEditBench-v2")
    assert detect_format(path, read_columns(path)) == "geditv2"
    gallery = tmp_path / "GEditBench-v2-CandidatesGallery/模型"
    put(gallery / "background_change_000000.png", photo("gold"))
    items = prepare(path, "geditv2", ["background_change", "open_set"], tmp_path / "run", edited_dir=gallery)
    assert list(items) == ["background_change_000000", "open_set_000001"]
    first, second = items.values()
    assert (first.category, first.instruction, first.width) == ("background_change", "Change it to a beach.", 40)
    assert first.given_path and (tmp_path / "run" / first.given_path).read_bytes() == photo("gold")
    assert (second.instruction, second.language, second.given_path) == ("把它做成手办。", "zh", None)


def test_geditbench_v2_without_a_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{"key": "a", "task": "b"}]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="has no column instruction and no column source_image; it has: key, task"):
        prepare(tmp_path, "geditv2", ["b"], tmp_path / "run")


# --- Edit-Compass ----------------------------------------------------------------------------------------------------


def write_compass(folder: Path) -> Path:
    single = {
        "save_id": "ADD_1",
        "source_image": "Part1/ADD/images/1.png",
        "prompt_en": "Add a cat.",
        "prompt_cn": "加一只猫。",
        "edit_type": "ADD",
        "IF": True,
        "URC": True,
    }
    several = {
        "save_id": 7,
        "source_image": "Part5/Virtual_Try_On/images/人.png",
        "reference_image_path": ["Part5/Virtual_Try_On/images/衣.png", "Part5/Virtual_Try_On/images/帽.png"],
        "prompt_en": "Dress the person of image 1 in image 2 and image 3.",
        "prompt_cn": "让图一的人穿上图二和图三。",
        "prompt_en_2": "Dress the first person.",
        "edit_type": "Virtual_Try_On",
        "sub_type": "two_garments",
        "hints": "The collar is round.",
    }
    put(folder / "Part1/ADD/ADD.json", [single])
    put(folder / "Part5/Virtual_Try_On/Virtual_Try_On.json", [several])
    put(folder / "Part1/ADD/images/1.png", photo("red"))
    for name, colour in {"人": "green", "衣": "blue", "帽": "white"}.items():
        put(folder / f"Part5/Virtual_Try_On/images/{name}.png", photo(colour))
    return folder


@pytest.mark.parametrize("place", ["", "Part5/Virtual_Try_On/Virtual_Try_On.json"])
def test_edit_compass_begins_its_paths_at_the_folder_of_the_parts(tmp_path: Path, place: str) -> None:
    path = write_compass(tmp_path / "Edit-Compass") / place
    assert detect_format(path, read_columns(path)) == "edit-compass"
    run = tmp_path / "run"
    item = prepare(path, "edit-compass", ["Virtual_Try_On"], run, language="zh")["Virtual_Try_On_7"]
    assert (item.instruction, item.language) == ("让图一的人穿上图二和图三。", "zh")
    assert (item.tags, item.rationale) == (("two_garments",), "The collar is round.")
    assert (run / item.source_path).read_bytes() == photo("green")
    assert [(run / one.path).read_bytes() for one in item.references] == [photo("blue"), photo("white")]
    assert [(one.width, one.height) for one in item.references] == [(40, 30)] * 2


def test_edit_compass_finds_edits_where_its_own_program_saves_them(tmp_path: Path) -> None:
    path, edits = write_compass(tmp_path / "Edit-Compass"), tmp_path / "结果/en"
    put(edits / "Part1/ADD/ADD_1.png", photo("gold"))
    item = prepare(path, "edit-compass", ["ADD"], tmp_path / "run", edited_dir=edits)["ADD_ADD_1"]
    assert (item.instruction, item.references, item.tags) == ("Add a cat.", (), ())
    assert item.given_path and (tmp_path / "run" / item.given_path).read_bytes() == photo("gold")


def test_edit_compass_elsewhere_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "ADD.json", [{"save_id": 1, "source_image": "1.png", "prompt_en": "Add a cat."}])
    with pytest.raises(UserError, match="is not in a folder PartN/TASK"):
        prepare(path, "edit-compass", ["ADD"], tmp_path / "run")


@pytest.mark.parametrize("references", [5, 2.5, True, {"a": 1}])
def test_edit_compass_with_references_of_another_kind_is_refused_with_their_place(
    tmp_path: Path, references: Any
) -> None:
    path = write_compass(tmp_path / "Edit-Compass")
    table = path / "Part1/ADD/ADD.json"
    put(table, [json.loads(table.read_text(encoding="utf-8"))[0] | {"reference_image_path": references}])
    with pytest.raises(UserError, match=r"ADD\.json.*record 1.*reference_image_path is .*not a path and not a list"):
        prepare(path, "edit-compass", ["ADD"], tmp_path / "run")


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        ({"turn1": "a", "turn3": "c"}, "has turn3 and no turn2"),
        ({"turn1": "a", "turn2": "", "turn3": "c"}, "has turn3 and no turn2"),
        ({"turn2": "b"}, "has turn2 and no turn1"),
        ({f"turn{number}": "a" for number in range(1, 18)}, "has 17 turns; a record has at most 16"),
        ({"turn1": "a", "turn9999": "b"}, "has turn9999 and no turn2"),
        ({"turn1": "a", "turn2": 0}, "is 0, not text"),
    ],
)
def test_imgedit_with_a_gap_in_its_turns_is_refused(tmp_path: Path, turns: dict[str, Any], words: str) -> None:
    put(tmp_path / "1.png", photo("red"))
    path = put(tmp_path / "multi.json", {"1": {"id": "1.png", **turns}})
    with pytest.raises(UserError, match=words):
        prepare(path, "imgedit", ["multi"], tmp_path / "run")


def test_imgedit_turns_end_at_the_last_that_is_set(tmp_path: Path) -> None:
    put(tmp_path / "1.png", photo("red"))
    turns = {f"turn{number}": f"第 {number} 步" for number in range(1, 12)} | {"turn12": None, "turn13": ""}
    path = put(tmp_path / "multi.json", {"1": {"id": "1.png", **turns}})
    items = prepare(path, "imgedit", ["multi"], tmp_path / "run")
    assert list(items) == [f"1-turn{number}" for number in range(1, 12)]
    assert items["1-turn11"].turns == tuple(f"第 {number} 步" for number in range(1, 12))
