"""Each public benchmark in a small sample of our own, in the format that it is published in."""

import base64
import io
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from editlane.core.errors import UserError
from editlane.core.types import Item
from editlane.datasets.prepare import prepare_items
from editlane.datasets.public_formats import FORMATS
from editlane.images.files import file_sha256
from editlane.preflight.config import check_config
from editlane.preflight.run_config import DatasetConfig

ROOT = Path(__file__).parents[3]


def photo(colour: str, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, format=format)
    return buffer.getvalue()


class Benchmark:
    """A folder as a benchmark is unpacked, a folder of edits, and a run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.edits, self.run_dir = folder / "data", folder / "编辑", folder / "run"
        self.folder.mkdir()
        self.provenance: dict[str, Any] = {}

    def put(self, name: str, content: bytes | str | Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)).encode()
        path.write_bytes(content)
        return path

    def put_edit(self, name: str, content: bytes = b"") -> bytes:
        path = self.edits / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content or photo("white"))
        return path.read_bytes()

    def prepare(
        self, path: Path, format: str, categories: list[str], language: str = "en", edits: bool = False
    ) -> dict[str, Item]:
        items, self.provenance = prepare_items(
            path,
            format=format,
            language=language,
            categories=categories,
            run_dir=self.run_dir,
            edited_dir=self.edits if edits else None,
        )
        assert len({item.item_id for item in items}) == len(items)
        return {item.item_id: item for item in items}

    def refused(self, path: Path, format: str, categories: list[str], **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            self.prepare(path, format, categories, **options)
        assert "\n" not in str(caught.value)
        assert not self.run_dir.exists(), "something was written before the error"
        return str(caught.value)

    def source(self, item: Item) -> bytes:
        return (self.run_dir / item.source_path).read_bytes()

    def edit(self, item: Item) -> bytes | None:
        return (self.run_dir / item.given_path).read_bytes() if item.given_path else None


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    return Benchmark(tmp_path)


# --- GEdit-Bench -----------------------------------------------------------------------------------------------------


def gedit_row(key: str = "0f38", language: str = "en", **fields: Any) -> dict[str, Any]:
    """A row as the `datasets` library stores it."""
    return {
        "task_type": "background_change",
        "key": key,
        "instruction": {"en": "Change the background to a beach.", "cn": "把背景换成海滩。", "zh": "把背景换成海滩。"}[
            language
        ],
        "instruction_language": language,
        "input_image": {"bytes": photo("red"), "path": None},
        "input_image_raw": {"bytes": photo("blue"), "path": "raw.png"},
        "Intersection_exist": True,
    } | fields


def put_gedit(bench: Benchmark, rows: list[dict[str, Any]], name: str = "gedit.parquet") -> Path:
    table = pa.Table.from_pylist(rows)
    path = bench.folder / name
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    else:  # as `Dataset.save_to_disk` writes it
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return path


GEDIT = [
    gedit_row("a1"),
    gedit_row("a1", "cn"),
    gedit_row("b2", "cn", Intersection_exist=False),
    gedit_row("a1", task_type="ps_human", instruction="Make her smile."),
    gedit_row("c3", task_type="text_change"),
]
BOTH = ["background_change", "ps_human"]


@pytest.mark.parametrize("name", ["gedit.parquet", "data-00000-of-00001.arrow"])
def test_gedit(bench: Benchmark, name: str) -> None:
    items = bench.prepare(put_gedit(bench, GEDIT, name), "gedit", BOTH)
    assert len(items) == 3
    english, chinese, other = sorted(items.values(), key=lambda item: item.instruction)
    assert (english.category, english.instruction, english.language) == (
        "background_change", "Change the background to a beach.", "en",
    )  # fmt: skip
    assert bench.source(english) == photo("red")
    assert (english.tags, english.width, english.height) == (("intersection",), 40, 30)
    assert (chinese.category, chinese.instruction) == ("ps_human", "Make her smile.")
    assert (other.item_id, other.instruction, other.language, other.tags) == ("b2", "把背景换成海滩。", "zh", ())
    assert {english.item_id[:3], chinese.item_id[:3]} == {"a1-"}, "one key in two task types is two items"
    assert (bench.provenance["fallback_language"], bench.provenance["other_language"]) == (1, 1)
    assert bench.provenance["records"] == 5
    assert bench.provenance["skipped"] == {"text_change": 1}


def test_gedit_in_chinese_calls_the_language_cn_or_zh(bench: Benchmark) -> None:
    rows = [gedit_row("a1", "en"), gedit_row("a1", "cn"), gedit_row("b2", "zh"), gedit_row("b2", "en")]
    items = bench.prepare(put_gedit(bench, rows), "gedit", BOTH, "zh")
    assert {key: (item.instruction, item.language) for key, item in items.items()} == {
        "a1": ("把背景换成海滩。", "zh"),
        "b2": ("把背景换成海滩。", "zh"),
    }
    assert bench.provenance["other_language"] == 2


def test_gedit_with_keys_of_its_own_for_each_language_is_not_doubled(bench: Benchmark) -> None:
    rows = [gedit_row("a1"), gedit_row("b2"), gedit_row("x1", "cn"), gedit_row("x2", "cn")]
    assert set(bench.prepare(put_gedit(bench, rows), "gedit", BOTH)) == {"a1", "b2"}
    assert set(bench.prepare(put_gedit(bench, rows), "gedit", BOTH, "zh")) == {"x1", "x2"}
    assert set(bench.prepare(put_gedit(bench, rows[:2]), "gedit", BOTH, "zh")) == {"a1", "b2"}
    assert bench.provenance["fallback_language"] == 2


def test_gedit_in_several_files_of_a_folder(bench: Benchmark) -> None:
    """As it is downloaded: Arrow files beside JSON files about them. The same key may lie in two files."""
    put_gedit(bench, [gedit_row("a1", "cn"), gedit_row("b2", "cn")], "data-00000-of-00002.arrow")
    put_gedit(bench, [gedit_row("b2"), gedit_row("a1")], "data-00001-of-00002.arrow")
    bench.put("state.json", "{}")
    items = bench.prepare(bench.folder, "gedit", BOTH)
    assert [item.language for item in items.values()] == ["en", "en"]
    assert bench.provenance["dataset"]["folder"] == "data"
    assert bench.provenance["dataset"]["files"] == 2
    before = bench.provenance["dataset"]["sha256"]
    put_gedit(bench, [gedit_row("b2"), gedit_row("a3")], "data-00001-of-00002.arrow")
    bench.prepare(bench.folder, "gedit", BOTH)
    assert bench.provenance["dataset"]["sha256"] != before


def test_gedit_ids_do_not_depend_on_the_order(bench: Benchmark) -> None:
    rows = [*GEDIT, gedit_row("a1", instruction="Another one."), gedit_row("a1")]
    first = bench.prepare(put_gedit(bench, rows), "gedit", BOTH)
    shuffled = random.Random(1).sample(rows, len(rows))
    assert bench.prepare(put_gedit(bench, shuffled), "gedit", BOTH) == first
    assert len(first) == 5


def test_gedit_without_the_small_image_takes_the_raw_one(bench: Benchmark) -> None:
    rows = [{name: value for name, value in gedit_row().items() if name != "input_image"}]
    [item] = bench.prepare(put_gedit(bench, rows), "gedit", BOTH).values()
    assert bench.source(item) == photo("blue")


def test_an_image_struct_may_name_a_file(bench: Benchmark) -> None:
    bench.put("图/a.png", photo("lime"))
    path = put_gedit(bench, [gedit_row(input_image={"bytes": None, "path": "图/a.png"})])
    [item] = bench.prepare(path, "gedit", BOTH).values()
    assert bench.source(item) == photo("lime")
    path = put_gedit(bench, [gedit_row(input_image={"bytes": None, "path": "图/no.png"})])
    with pytest.raises(UserError, match=r"图/no\.png"):
        bench.prepare(path, "gedit", BOTH)
    path = put_gedit(bench, [gedit_row(input_image={"bytes": None, "path": "../../etc/passwd"})])
    with pytest.raises(UserError, match="leads out of the folder"):
        bench.prepare(path, "gedit", BOTH)


def test_items_in_parquet_may_have_image_structs_too(bench: Benchmark) -> None:
    rows = [
        {
            "item_id": "一",
            "category": "物理",
            "instruction": "开灯。",
            "image": {"bytes": photo("navy"), "path": "x.png"},
        }
    ]
    pq.write_table(pa.Table.from_pylist(rows), bench.folder / "items.parquet")
    [item] = bench.prepare(bench.folder / "items.parquet", "items", ["物理"], "zh").values()
    assert bench.source(item) == photo("navy")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"instruction_language": "fr"}, "instruction_language is 'fr'; it can be en, cn, zh"),
        ({"instruction_language": None}, "has no instruction_language"),
        ({"key": None}, "has no key"),
        ({"task_type": None}, "has no task_type"),
        ({"instruction": None}, "has no instruction"),
        ({"instruction": " "}, "has no instruction"),
        ({"input_image": None}, "has no input_image"),
        ({"input_image": {"bytes": None, "path": None}}, "has no input_image"),
        ({"input_image": {"bytes": b"", "path": ""}}, "has no input_image"),
    ],
)
def test_gedit_rows_with_a_mistake(bench: Benchmark, fields: dict[str, Any], words: str) -> None:
    message = bench.refused(put_gedit(bench, [gedit_row("a1"), gedit_row("b2") | fields]), "gedit", BOTH)
    assert words in message
    assert "gedit.parquet, record 2" in message


def test_gedit_files_with_a_mistake(bench: Benchmark) -> None:
    assert "has no *.parquet and no *.arrow" in bench.refused(bench.folder, "gedit", BOTH)
    assert "is empty" in bench.refused(bench.put("a.parquet", b""), "gedit", BOTH)
    assert "cannot be read as Parquet" in bench.refused(bench.put("b.parquet", b"PAR1 no PAR1"), "gedit", BOTH)
    assert "cannot be read as Arrow" in bench.refused(bench.put("c.arrow", b"no"), "gedit", BOTH)
    assert "read from .parquet, .arrow, or a folder" in bench.refused(bench.put("d.json", []), "gedit", BOTH)
    assert "no dataset file" in bench.refused(bench.folder / "none.parquet", "gedit", BOTH)
    row = gedit_row()
    del row["key"], row["input_image"], row["input_image_raw"]
    message = bench.refused(put_gedit(bench, [row], "e.parquet"), "gedit", BOTH)
    assert "has no column key and no column input_image or input_image_raw" in message
    number = bench.refused(put_gedit(bench, [gedit_row(instruction=3)], "f.parquet"), "gedit", BOTH)
    assert "is 3, not text" in number
    image = bench.refused(put_gedit(bench, [gedit_row(input_image=3)], "g.parquet"), "gedit", BOTH)
    assert "input_image is 3, not text" in image


# VmHWM and not ru_maxrss, which starts with the memory of the process that forked
PEAK = """
import atexit, pathlib, sys
status = pathlib.Path('/proc/self/status')
atexit.register(lambda: print(status.read_text().split('VmHWM:')[1].split()[0]))
sys.path.insert(0, 'scripts')
from editlane.datasets.prepare import prepare_items
dataset, run_dir = map(pathlib.Path, sys.argv[1:])
prepare_items(dataset, format='gedit', language='en', categories=['c'], run_dir=run_dir)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_file(bench: Benchmark) -> None:
    """60 MB of images must not cost more than one row group's worth of memory over a file of one row group."""
    peaks = []
    for count in (5, 60):
        image = {"bytes": random.Random(1).randbytes(1_000_000), "path": None}
        row = {"task_type": "c", "instruction": "On.", "instruction_language": "en", "input_image": image}
        table = pa.Table.from_pylist([row | {"key": str(n)} for n in range(count)])
        pq.write_table(table, path := bench.folder / f"{count}.parquet", row_group_size=5, use_dictionary=False)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, path, bench.run_dir], cwd=ROOT, capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 15


# --- ImgEdit ---------------------------------------------------------------------------------------------------------


def put_imgedit(bench: Benchmark, **changes: Any) -> Path:
    bench.put("animal/000342021.jpg", photo("green", "JPEG"))
    bench.put("daily object/000276684.jpg", photo("brown", "JPEG"))
    entries = {
        "1082": {"id": "animal/000342021.jpg", "prompt": "Change the shell.", "edit_type": "adjust"},
        "628": {"id": "daily object/000276684.jpg", "prompt": "Replace the boot.", "edit_type": "replace"},
        "1083": {"id": "animal/000342021.jpg", "prompt": "把龟壳变光滑。", "edit_type": "adjust"},
    }
    return bench.put("basic_edit.json", entries | {key: entries.get(key, {}) | value for key, value in changes.items()})


def test_imgedit(bench: Benchmark) -> None:
    items = bench.prepare(put_imgedit(bench), "imgedit", ["replace", "adjust"])
    assert list(items) == ["628", "1082", "1083"]
    assert (items["1082"].instruction, items["1082"].category) == ("Change the shell.", "adjust")
    assert bench.source(items["628"]) == photo("brown", "JPEG")
    assert items["1083"].language == "zh"
    assert "other_language" not in bench.provenance
    assert set(bench.prepare(put_imgedit(bench), "imgedit", ["adjust"])) == {"1082", "1083"}
    assert bench.provenance["skipped"] == {"replace": 1}
    assert bench.provenance["dataset"]["file"] == "basic_edit.json"


def test_a_broken_photo_stays_an_item(bench: Benchmark) -> None:
    path = put_imgedit(bench)
    bench.put("animal/000342021.jpg", b"\xff\xd8 no photo")
    assert bench.prepare(path, "imgedit", ["adjust"])["1082"].width is None


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"id": None}, "record 2 ('628') has no id"),
        ({"id": 7}, "record 2 ('628'): id is 7, not text"),
        ({"id": "../secret.png"}, "leads out of the folder"),
        ({"id": "animal/none.jpg"}, "animal/none.jpg (record 2 ('628'))"),
        ({"prompt": None}, "record 2 ('628') has no instruction (prompt, prompt_en or prompt_zh)"),
        ({"prompt": ["x"]}, "prompt is ['x'], not text"),
        ({"edit_type": None}, "record 2 ('628') has no edit_type"),
        ({"edit_type": 3}, "edit_type is 3, not text"),
    ],
)
def test_imgedit_entries_with_a_mistake(bench: Benchmark, entry: dict[str, Any], words: str) -> None:
    assert words in bench.refused(put_imgedit(bench, **{"628": entry}), "imgedit", ["replace", "adjust"])


@pytest.mark.parametrize("format", ["imgedit", "kris"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("[]", "is not a JSON object of records"),
        ("3", "is not a JSON object of records"),
        ("{}", "has no records"),
        ('{"1": 3}', "record 1 ('1') is not an object"),
        ('{"1": [{}]}', "record 1 ('1') is not an object"),
        ('{"1": {"id": ', "broken JSON (record 1): it ends at byte 13"),
        ("{} x", "broken JSON at byte 3"),
        ('{"1": ' + '{"a": ' * 100, "nested too deeply"),
    ],
)
def test_objects_of_the_wrong_shape(bench: Benchmark, format: str, content: str, words: str) -> None:
    path = bench.put("物理/annotation.json", content)
    assert words in bench.refused(path, format, ["物理"])


def test_the_suite_without_categories_is_a_category(bench: Benchmark) -> None:
    path = bench.put("UGE_edit.json", {"1": {"id": "a.jpg", "prompt": "Remove the lemon."}})
    assert "has only: UGE" in bench.refused(path, "imgedit", ["remove"])
    bench.put("a.jpg", photo("yellow"))
    item = bench.prepare(path, "imgedit", ["UGE"])["1"]
    assert (item.category, item.instruction, item.references) == ("UGE", "Remove the lemon.", ())


def test_the_multi_turn_suite_has_an_item_for_each_turn(bench: Benchmark) -> None:
    turns = {
        "turn1": "Ensure all edits are green.",
        "turn2": "Replace the tomato.",
        "turn3": "Change the plate's colour.",
    }
    path = bench.put("content_memory.json", {"1": {"id": "a.jpg"} | turns})
    bench.put("a.jpg", photo("yellow"))
    items = bench.prepare(path, "imgedit", ["content_memory"])
    assert [(name, item.after) for name, item in items.items()] == [
        ("1-turn1", None), ("1-turn2", "1-turn1"), ("1-turn3", "1-turn2")
    ]  # fmt: skip
    assert items["1-turn1"].instruction == turns["turn1"]
    assert items["1-turn3"].turns == tuple(turns.values())
    told = items["1-turn3"].instruction
    assert told.startswith("3 turns, each of which edits the result of the one before:\nTurn 1: Ensure all")
    assert len({item.source_sha256 for item in items.values()}) == 1


def test_an_edit_of_the_multi_turn_suite_by_its_key_is_that_of_the_last_turn(bench: Benchmark) -> None:
    path = bench.put("content_memory.json", {"1": {"id": "a.jpg", "turn1": "Add a hat.", "turn2": "Undo that."}})
    bench.put("a.jpg", photo("yellow"))
    bench.put_edit("1.png", photo("red"))
    items = bench.prepare(path, "imgedit", ["content_memory"], edits=True)
    assert [bench.edit(item) for item in items.values()] == [None, photo("red")]


# --- KRIS-Bench ------------------------------------------------------------------------------------------------------


def put_kris(bench: Benchmark) -> Path:
    annotations = {
        "physics": {
            "1": {"ori_img": "1.png", "gt_img": "", "ins_en": "Add a weight.", "explain_en": "It tilts."},
            "2": {"ori_img": "2.jpg", "gt_img": "2_gt.jpg", "instruction": "Heat it.", "explain": "It boils."},
        },
        "multi-element_composition": {"1": {"ori_img": ["1-1.jpg", "1-2.jpg"], "gt_img": "", "ins_en": "Combine."}},
        "viewpoint_change": {
            "1": {"ori_img": ["1.jpg"], "gt_img": "1_gt.jpg", "ins_en": "Top view.", "explain_en": ""}
        },
    }
    for category, entries in annotations.items():
        bench.put(f"KRIS_Bench/{category}/annotation.json", entries)
        for name in ("1.png", "2.jpg", "1.jpg"):
            bench.put(f"KRIS_Bench/{category}/{name}", photo({"physics": "red"}.get(category, "blue")))
    return bench.folder / "KRIS_Bench"


def test_kris(bench: Benchmark, caplog: pytest.LogCaptureFixture) -> None:
    path = put_kris(bench)
    with caplog.at_level("INFO"):
        items = bench.prepare(path, "kris", ["viewpoint_change", "physics"])
    assert list(items) == ["viewpoint_change_1", "physics_1", "physics_2"]
    first, second = items["physics_1"], items["physics_2"]
    assert (first.category, first.instruction, first.rationale) == ("physics", "Add a weight.", "It tilts.")
    assert (second.instruction, second.rationale) == ("Heat it.", "It boils.")
    assert bench.source(first) == photo("red")
    assert items["viewpoint_change_1"].rationale is None
    assert bench.provenance["skipped"] == {"multi-element_composition": 1}
    assert bench.provenance["unused_reference_images"] == 2
    assert "2 items have a reference image; it is not used" in caplog.text
    assert bench.provenance["dataset"]["files"] == 3


def test_kris_of_one_category(bench: Benchmark) -> None:
    path = put_kris(bench) / "physics"
    assert bench.prepare(path, "kris", ["physics"]) == bench.prepare(path / "annotation.json", "kris", ["physics"])
    assert bench.provenance["items"] == {"physics": 2}


def test_kris_items_with_several_images_have_a_source_and_references(bench: Benchmark) -> None:
    path = put_kris(bench)
    message = bench.refused(path, "kris", ["physics", "multi-element_composition"])
    assert "multi-element_composition/annotation.json, record 1 ('1')" in message
    assert "2 image files" in message and "1-1.jpg" in message and "1-2.jpg" in message
    for name, colour in (("1-1", "red"), ("1-2", "blue")):
        bench.put(f"KRIS_Bench/multi-element_composition/{name}.jpg", photo(colour, "JPEG"))
    item = bench.prepare(path, "kris", ["multi-element_composition"])["multi-element_composition_1"]
    assert bench.source(item) == photo("red", "JPEG")
    assert [(bench.run_dir / one.path).read_bytes() for one in item.references] == [photo("blue", "JPEG")]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"ins_en": "On."}, "has no ori_img"),
        ({"ori_img": 3, "ins_en": "On."}, "ori_img is 3, not text"),
        ({"ori_img": [], "ins_en": "On."}, "has no ori_img"),
        ({"ori_img": "1.png"}, "has no instruction (ins, ins_en or ins_zh)"),
        ({"ori_img": "1.png", "ins_en": {"a": 1}}, "ins_en is {'a': 1}, not text"),
        ({"ori_img": "1.png", "ins_en": "On.", "explain_en": 4}, "explain_en is 4, not text"),
        ({"ori_img": "9.png", "ins_en": "On."}, "9.png (physics/annotation.json, record 1 ('7')"),
    ],
)
def test_kris_entries_with_a_mistake(bench: Benchmark, entry: dict[str, Any], words: str) -> None:
    path = put_kris(bench)
    bench.put("KRIS_Bench/physics/annotation.json", {"7": entry})
    message = bench.refused(path, "kris", ["physics"])
    assert words in message
    assert "physics/annotation.json, record 1 ('7'), item_id 'physics_7'" in message


def test_kris_without_annotations(bench: Benchmark) -> None:
    assert "has no annotation.json and no */annotation.json" in bench.refused(bench.folder, "kris", ["physics"])
    put_kris(bench)
    bench.put("KRIS_Bench/physics/annotation.json", b"")
    assert "physics/annotation.json is empty" in bench.refused(bench.folder / "KRIS_Bench", "kris", ["physics"])


# --- RISEBench -------------------------------------------------------------------------------------------------------


def rise_record(**fields: Any) -> dict[str, Any]:
    return {
        "index": "temporal_reasoning_1",
        "category": "temporal_reasoning",
        "instruction": "Draw it after a year.",
        "image": "temporal_reasoning_images/1.png",
        "reference": "Rotten, blackened banana.",
    } | fields


def put_rise(bench: Benchmark, *records: Any) -> Path:
    bench.put("temporal_reasoning_images/1.png", photo("yellow"))
    return bench.put("data_total.json", list(records))


def test_rise(bench: Benchmark) -> None:
    path = put_rise(
        bench,
        rise_record(subtask="Life Progression"),
        rise_record(
            index="t2", reference=None, reference_txt="A blue circle", image=["temporal_reasoning_images/1.png"]
        ),
        rise_record(
            index="t3", reference=None, reference_img="temporal_reasoning_images/1_ref.png", consistency_free=True
        ),
        rise_record(index="l1", category="logical_reasoning"),
    )
    items = bench.prepare(path, "rise", ["temporal_reasoning"])
    assert list(items) == ["t2", "t3", "temporal_reasoning_1"]
    assert [item.rationale for item in items.values()] == ["A blue circle", None, "Rotten, blackened banana."]
    assert items["temporal_reasoning_1"].tags == ("Life Progression",)
    assert bench.source(items["t2"]) == photo("yellow")
    assert bench.provenance["unused_reference_images"] == 1
    assert bench.provenance["skipped"] == {"logical_reasoning": 1}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"index": None}, "record 2 has no index"),
        ({"index": [1]}, "record 2: index is '[1]', not text and not a whole number"),
        ({"category": None}, "has no category"),
        ({"instruction": None}, "has no instruction"),
        ({"instruction": 1}, "instruction is 1, not text"),
        ({"image": None}, "has no image"),
        ({"image": ["a.png", "b.png"]}, "2 image files of"),
        ({"image": "temporal_reasoning_images/2.png"}, "temporal_reasoning_images/2.png (record 2"),
        ({"reference": 5}, "reference is 5, not text"),
    ],
)
def test_rise_records_with_a_mistake(bench: Benchmark, fields: dict[str, Any], words: str) -> None:
    path = put_rise(bench, rise_record(index="first"), rise_record(index="second") | fields)
    message = bench.refused(path, "rise", ["temporal_reasoning"])
    assert words in message
    assert "record 2" in message


def test_rise_of_the_second_version_has_several_images_and_chinese_texts(bench: Benchmark) -> None:
    """Fields as in RISEBench++."""
    record = {
        "index": "causal_reasoning_6",
        "category": "causal_reasoning",
        "subcategory": "common_sense_knowledge",
        "task_type": "flexible_deformation",
        "instruction": "Put the orange from Figure 2 on the scale.",
        "instruction_chinese": "将图二中的橘子放到天平上。",
        "image": ["causal_reasoning_images/6_1.png", "causal_reasoning_images/6_2.png"],
        "consistency_img": "causal_reasoning_images/6_cons.png",
        "reference_img": "causal_reasoning_images/6_ref.png",
        "reference_txt_chinese": "右侧下沉。",
        "multi_img": "True",
    }
    bench.put("causal_reasoning_images/6_1.png", photo("grey"))
    bench.put("causal_reasoning_images/6_2.png", photo("orange"))
    path = bench.put("overall_data.json", [record])
    item = bench.prepare(path, "rise", ["causal_reasoning"], "zh")["causal_reasoning_6"]
    assert (item.instruction, item.rationale) == ("将图二中的橘子放到天平上。", "右侧下沉。")
    assert (item.tags, bench.source(item)) == (("flexible_deformation",), photo("grey"))
    assert [(bench.run_dir / one.path).read_bytes() for one in item.references] == [photo("orange")]


@pytest.mark.parametrize("format", ["rise", "uniredit"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("{}", "is not a JSON list of records; format"),
        ("[]", "has no records"),
        ("[3]", "record 1 is not an object"),
        ('[{"index": "a", "name": "x", "idx": 1}, [', "record 2 is not an object"),
        ('[{"index": NaN}]', "broken JSON at byte"),
    ],
)
def test_lists_of_the_wrong_shape(bench: Benchmark, format: str, content: str, words: str) -> None:
    content = content.replace('"name": "x"', '"name": "x", "category": "x"')
    assert words in bench.refused(bench.put("data.json", content), format, ["temporal_reasoning"])


# --- UniREditBench ---------------------------------------------------------------------------------------------------


def uniredit_record(**fields: Any) -> dict[str, Any]:
    return {
        "name": "maze",
        "idx": 3,
        "instruction": "Draw the way out.",
        "original_image_path": "original_image/maze/3.png",
        "reference_image_path": "reference_image/maze/3.png",
        "reference_effect": "A red line to the exit.",
    } | fields


def put_uniredit(bench: Benchmark, *records: Any) -> Path:
    bench.put("original_image/maze/3.png", photo("gray"))
    return bench.put("data.json", list(records))


def test_uniredit(bench: Benchmark) -> None:
    path = put_uniredit(
        bench,
        uniredit_record(rules="Walls are black."),
        uniredit_record(name="sudoku", idx="a/7", rules="", reference_effect=None, reference_image_path=None),
    )
    items = bench.prepare(path, "uniredit", ["maze", "sudoku"])
    maze, sudoku = items.values()
    assert (maze.item_id, maze.category) == ("maze#3", "maze")
    assert maze.instruction == "Walls are black.\nDraw the way out."
    assert maze.rationale == "A red line to the exit."
    assert bench.source(maze) == photo("gray")
    assert sudoku.item_id.startswith("sudoku#a_7-")
    assert (sudoku.instruction, sudoku.rationale) == ("Draw the way out.", None)
    assert bench.provenance["unused_reference_images"] == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": None}, "record 2 has no name"),
        ({"idx": None}, "record 2 has no idx"),
        ({"idx": 1.5}, "idx is '1.5', not text and not a whole number"),
        ({"idx": True}, "idx is 'True', not text and not a whole number"),
        ({"instruction": ""}, "has no instruction"),
        ({"instruction": ["x"]}, "instruction is"),
        ({"rules": ["x"]}, "rules is"),
        ({"original_image_path": None}, "has no original_image_path"),
        ({"original_image_path": "original_image/none.png"}, "original_image/none.png (record 2, item_id 'maze#3')"),
        ({"reference_effect": {}}, "reference_effect is {}, not text"),
    ],
)
def test_uniredit_records_with_a_mistake(bench: Benchmark, fields: dict[str, Any], words: str) -> None:
    path = put_uniredit(bench, uniredit_record(idx=1), uniredit_record() | fields)
    message = bench.refused(path, "uniredit", ["maze"])
    assert words in message
    assert "record 2" in message


# --- RE-Edit ---------------------------------------------------------------------------------------------------------


def reedit_records(count: int) -> list[dict[str, Any]]:
    subsets = ["physical", "environmental", "cultural", "causal", "referential"]
    return [
        {
            "subset": subsets[n % 5],
            "original_description_en": "A room.",
            "edit_instruction_en": f"Change number {n}.",
            "src_img_b64": base64.b64encode(photo("red") + bytes([n % 7])).decode(),
            "rationale_short_en": "Light spreads.",
            "tags": ["light", "灯"],
            "difficulty": "hard",
            "original_image_path": f"generated_images/{n % 500:05}_{subsets[n % 5]}_hard.png",
            "seed": n,
        }
        for n in range(count)
    ]


def put_reedit(bench: Benchmark, records: list[dict[str, Any]], suffix: str) -> Path:
    if suffix == ".json":
        return bench.put("RE-Edit.json", records)
    pq.write_table(pa.Table.from_pylist(records), bench.folder / "RE-Edit.parquet")
    return bench.folder / "RE-Edit.parquet"


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
@pytest.mark.parametrize(
    "asked",
    [["physical", "environmental", "cultural", "causal", "referential"], ["物理", "环境", "社会", "因果", "指代"]],
)
def test_reedit_with_english_or_chinese_categories(bench: Benchmark, suffix: str, asked: list[str]) -> None:
    path = put_reedit(bench, reedit_records(1000), suffix)
    items = list(bench.prepare(path, "base64-json", asked).values())
    assert bench.provenance["items"] == dict.fromkeys(asked, 200)
    assert {item.language for item in items} == {"en"}
    assert (items[0].rationale, items[0].description, items[0].tags) == ("Light spreads.", "A room.", ("light", "灯"))
    cultural = [item for item in items if item.category == asked[2]]
    assert all("_cultural_hard-" in item.item_id for item in cultural)


def test_reedit_parquet_and_json_give_the_same_items(bench: Benchmark) -> None:
    asked = ["cultural", "物理"]
    both = [
        bench.prepare(put_reedit(bench, reedit_records(20), suffix), "base64-json", asked)
        for suffix in (".json", ".parquet")
    ]
    assert both[0] == both[1]
    assert len(both[0]) == 8
    assert bench.provenance["skipped"] == {"因果": 4, "指代": 4, "环境": 4}


# --- edits that were made elsewhere ----------------------------------------------------------------------------------


def put_own(bench: Benchmark, *records: dict[str, Any]) -> Path:
    bench.put("照片/灯.png", photo("red"))
    row = {"category": "物理", "instruction": "开灯。", "image": "照片/灯.png"}
    return bench.put("items.jsonl", "\n".join(json.dumps(row | record, ensure_ascii=False) for record in records))


@pytest.mark.parametrize(
    "name", ["台灯.png", "台灯.WEBP", "物理/台灯.jpeg", unicodedata.normalize("NFD", "物理/台灯.jpg")]
)
def test_an_edit_is_named_as_its_item(bench: Benchmark, name: str) -> None:
    content = bench.put_edit(name, photo("gold"))
    items = bench.prepare(put_own(bench, {"item_id": "台灯"}, {"item_id": "无"}), "items", ["物理"], edits=True)
    assert bench.edit(items["台灯"]) == content
    assert items["台灯"].given_sha256 == file_sha256(bench.edits / name)
    assert items["无"].given_path is None
    assert bench.provenance["without_edit"] == 1


def test_nfd_names_and_ids_with_forbidden_characters(bench: Benchmark) -> None:
    bench.put_edit(unicodedata.normalize("NFD", "café.png"), photo("gold"))
    bench.put_edit("a/b.png", photo("pink"))
    items = bench.prepare(put_own(bench, {"item_id": "caf\u00e9"}, {"item_id": "a/b"}), "items", ["物理"], edits=True)
    assert sorted(map(bench.edit, items.values())) == sorted([photo("gold"), photo("pink")])
    bench.put_edit("safe.png")
    [safe_id] = [item_id for item_id in items if item_id.startswith("a_b-")]
    (bench.edits / "a/b.png").rename(bench.edits / f"{safe_id}.png")
    assert bench.edit(bench.prepare(put_own(bench, {"item_id": "a/b"}), "items", ["物理"], edits=True)[safe_id])


def test_without_an_item_id_an_edit_is_named_as_its_image(bench: Benchmark) -> None:
    bench.put_edit("灯.png", photo("gold"))
    [item] = bench.prepare(put_own(bench, {}), "items", ["物理"], edits=True).values()
    assert bench.edit(item) == photo("gold")
    message = refused_with_edits(bench, put_own(bench, {}, {"instruction": "关灯。"}))
    assert "灯.png would be the edit of two items: record 1 (line 1), and record 2 (line 2)" in message
    encoded = base64.b64encode(photo("red")).decode()
    message = refused_with_edits(bench, put_own(bench, {"image": encoded}))
    assert "has neither an item_id nor a file name" in message


def refused_with_edits(bench: Benchmark, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        bench.prepare(path, "items", ["物理"], edits=True)
    return str(caught.value)


@pytest.mark.parametrize("second", ["台灯.jpg", "物理/台灯.png"])
def test_two_edits_of_one_item(bench: Benchmark, second: str) -> None:
    bench.put_edit("台灯.png")
    bench.put_edit(second)
    message = bench.refused(put_own(bench, {"item_id": "台灯"}), "items", ["物理"], edits=True)
    assert "台灯.png" in message
    assert f"{second}" in message
    assert "both edits of record 1 (line 1), item_id '台灯'" in message


def test_a_folder_without_one_fitting_edit(bench: Benchmark) -> None:
    path = put_own(bench, {"item_id": "台灯"})
    assert "which is not a folder" in bench.refused(path, "items", ["物理"], edits=True)
    bench.edits.mkdir()
    assert "Looked for: 台灯; the folder has: no image" in bench.refused(path, "items", ["物理"], edits=True)
    bench.put_edit("别的/灯.png")
    bench.put_edit("台灯.txt", b"thinking aloud")
    assert "the folder has: 别的/灯 (names without suffix)" in bench.refused(path, "items", ["物理"], edits=True)


def test_pairs_take_their_own_edit_first_and_need_no_column(bench: Benchmark) -> None:
    bench.put_edit("a.png", photo("gold"))
    bench.put_edit("b.png", photo("pink"))
    bench.put("own.png", photo("lime"))
    path = put_own(bench, {"item_id": "a", "edited": "own.png"}, {"item_id": "b"})
    items = bench.prepare(path, "pairs", ["物理"], edits=True)
    assert (bench.edit(items["a"]), bench.edit(items["b"])) == (photo("lime"), photo("pink"))
    table = bench.put("a.csv", "item_id,category,instruction,image\nb,物理,On.,照片/灯.png\n")
    assert bench.edit(bench.prepare(table, "pairs", ["物理"], edits=True)["b"]) == photo("pink")
    with pytest.raises(UserError, match="no column edited"):
        bench.prepare(table, "pairs", ["物理"])


def test_the_layouts_of_the_benchmarks_own_scorers(bench: Benchmark) -> None:
    """What was made for GEdit, ImgEdit, KRIS, RISE and UniREdit can be scored where it lies."""
    gedit = put_gedit(bench, [gedit_row("a1"), gedit_row("a1", "cn")])
    bench.put_edit("fullset/background_change/en/a1.png", photo("gold"))
    bench.put_edit("fullset/background_change/en/a1_SRCIMG.png")
    bench.put_edit("fullset/background_change/cn/a1.png", photo("pink"))
    bench.edits /= "fullset"
    assert bench.edit(bench.prepare(gedit, "gedit", BOTH, edits=True)["a1"]) == photo("gold")
    assert bench.edit(bench.prepare(gedit, "gedit", BOTH, "zh", edits=True)["a1"]) == photo("pink")

    bench.edits = bench.folder.parent / "imgedit"
    bench.put_edit("1082.png", photo("gold"))
    bench.put_edit("result.json", b"{}")
    assert bench.edit(bench.prepare(put_imgedit(bench), "imgedit", ["adjust"], edits=True)["1082"]) == photo("gold")

    bench.edits = bench.folder.parent / "kris"
    bench.put_edit("physics/1.jpg", photo("gold"))
    bench.put_edit("viewpoint_change/1.jpg", photo("pink"))
    items = bench.prepare(put_kris(bench), "kris", ["physics", "viewpoint_change"], edits=True)
    assert bench.edit(items["physics_1"]) == photo("gold")
    assert bench.edit(items["viewpoint_change_1"]) == photo("pink")
    assert bench.edit(items["physics_2"]) is None

    bench.edits = bench.folder.parent / "rise"
    bench.put_edit("temporal_reasoning/temporal_reasoning_1.png", photo("gold"))
    items = bench.prepare(put_rise(bench, rise_record()), "rise", ["temporal_reasoning"], edits=True)
    assert bench.edit(items["temporal_reasoning_1"]) == photo("gold")

    bench.edits = bench.folder.parent / "uniredit"
    bench.put_edit("maze/3.png", photo("gold"))
    bench.put_edit("maze/3.txt", b"thinking aloud")
    items = bench.prepare(put_uniredit(bench, uniredit_record()), "uniredit", ["maze"], edits=True)
    assert bench.edit(items["maze#3"]) == photo("gold")


def test_base64_records_go_by_the_name_of_their_image(bench: Benchmark) -> None:
    bench.put_edit("cultural/00002_cultural_hard.png", photo("gold"))
    bench.put_edit("00000_physical_hard.png", photo("pink"))
    path = put_reedit(bench, reedit_records(5), ".json")
    items = bench.prepare(path, "base64-json", ["物理", "社会"], edits=True)
    assert [bench.edit(item) for item in items.values()] == [photo("pink"), photo("gold")]


def test_one_edit_for_items_of_two_categories_is_refused(bench: Benchmark) -> None:
    bench.put_edit("1.jpg")
    message = bench.refused(put_kris(bench), "kris", ["physics", "viewpoint_change"], edits=True)
    assert "1.jpg would be the edit of two items" in message
    assert "Put the edits into a folder for each category" in message


# --- the config ------------------------------------------------------------------------------------------------------


@pytest.fixture
def config(bench: Benchmark, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """KRIS-Bench with edits that were made elsewhere, and no editor."""
    monkeypatch.chdir(ROOT)
    bench.put_edit("physics/1.jpg")
    dataset = {
        "path": str(put_kris(bench)),
        "format": "kris",
        "categories": ["physics"],
        "edited_dir": str(bench.edits),
    }
    judge = {"adapter": "fake", "protocol": "resources/protocols/viescore.yaml"}
    return {"run": "kris", "dataset": dataset, "judges": {"fake": judge}}


def test_edits_of_any_format_need_no_editor(config: dict[str, Any]) -> None:
    assert {name: one["adapter"] for name, one in check_config(config)["editors"].items()} == {"given": "given"}
    config["editors"] = {"mine": {"adapter": "given"}, "other": {"adapter": "fake"}}
    assert list(check_config(config)["editors"]) == ["mine", "other"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("edited_dir", "no/such/folder", "dataset.edited_dir is no/such/folder, which is not a folder"),
        ("edited_dir", "", "dataset.edited_dir is ''"),
        ("edited_dir", None, "`editors` is missing"),
        ("format", "rise", "which is not a file"),
        ("format", "krs", "Unknown dataset.format 'krs'. Did you mean 'kris'?"),
    ],
)
def test_a_wrong_setting_is_named(config: dict[str, Any], key: str, value: Any, words: str) -> None:
    config["dataset"][key] = value
    with pytest.raises(UserError) as caught:
        check_config(config)
    assert words in str(caught.value)


def test_edits_that_no_editor_takes_are_refused(config: dict[str, Any]) -> None:
    config["editors"] = {"other": {"adapter": "fake"}}
    with pytest.raises(UserError, match="no editor has the adapter 'given'"):
        check_config(config)


def test_the_config_and_the_code_have_the_same_formats() -> None:
    assert set(get_args(DatasetConfig.model_fields["format"].annotation)) == set(FORMATS)
