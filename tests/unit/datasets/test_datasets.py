import base64
import binascii
import hashlib
import io
import json
import random
import tracemalloc
import unicodedata
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from editlane.core.errors import SourceUnreadable, UserError
from editlane.core.types import Item
from editlane.datasets import base64_text, json_files
from editlane.datasets.base64_text import decode_base64
from editlane.datasets.files import read_records
from editlane.datasets.item_ids import MAX_BYTES, derive_id, digest, make_safe_name, make_unique, sanitise_id
from editlane.datasets.making import estimate_cost
from editlane.datasets.prepare import check_categories, prepare_items
from editlane.datasets.records import detect_language
from editlane.images.files import file_sha256, open_image

CATEGORIES = ("物理", "环境", "社会", "因果", "指代")
SHARED = Path(__file__).parents[3] / "../shared/data"


def photo(colour="red", size=(40, 30), format="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format=format)
    return buffer.getvalue()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Workplace:
    """A folder with photos, a dataset in any format, and a run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_dir = folder / "data", folder / "run"
        (self.folder / "photos").mkdir(parents=True)
        for name, colour in [("红.png", "red"), ("b.png", "blue"), ("c.jpg", "lime")]:
            content = photo(colour, format="JPEG" if name.endswith("jpg") else "PNG")
            (self.folder / "photos" / name).write_bytes(content)
        self.provenance: dict = {}

    def write(self, content, name="items.jsonl") -> Path:
        path = self.folder / name
        if isinstance(content, list):
            content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def prepare(
        self, content, name="items.jsonl", *, format="items", language="en", categories=CATEGORIES
    ) -> list[Item]:
        path = content if isinstance(content, Path) else self.write(content, name)
        items, self.provenance = prepare_items(
            path, format=format, language=language, categories=categories, run_dir=self.run_dir
        )
        return items

    def refused(self, content, name="items.jsonl", **options) -> str:
        with pytest.raises(UserError) as caught:
            self.prepare(content, name, **options)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 1000
        assert not self.run_dir.exists(), "something was written before the error"
        return str(caught.value)


@pytest.fixture
def place(tmp_path):
    return Workplace(tmp_path)


def record(**fields) -> dict:
    return {"category": "物理", "instruction": "Turn on the lamp.", "image": "photos/红.png"} | fields


# --- the way of one record -------------------------------------------------------------------------------------------


def test_a_record_becomes_an_item_and_its_bytes_are_kept(place):
    [item] = place.prepare(
        [record(item_id="lamp", description="A room.", rationale="Light spreads.", tags=["light"], difficulty="hard")]
    )
    content = (place.folder / "photos/红.png").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert item == Item(
        item_id="lamp",
        category="物理",
        instruction="Turn on the lamp.",
        language="en",
        source_path=f"sources/{sha256[:2]}/{sha256}.png",
        source_sha256=sha256,
        width=40,
        height=30,
        cost=0.5006,
        description="A room.",
        rationale="Light spreads.",
        tags=("light",),
        difficulty="hard",
    )
    assert (place.run_dir / item.source_path).read_bytes() == content


def test_equal_content_is_stored_once_and_not_written_again(place):
    (place.folder / "photos/copy.png").write_bytes((place.folder / "photos/红.png").read_bytes())
    records = [record(), record(instruction="Turn it off."), record(image="photos/copy.png")]
    items = place.prepare(records)
    assert len({item.item_id for item in items}) == 3
    [stored] = [path for path in place.run_dir.rglob("*") if path.is_file()]
    before = stored.stat().st_mtime_ns
    assert place.prepare(records) == items
    assert stored.stat().st_mtime_ns == before


def test_a_half_written_source_is_mended(place):
    [item] = place.prepare([record()])
    whole = (place.run_dir / item.source_path).read_bytes()
    (place.run_dir / item.source_path).write_bytes(whole[:10])
    place.prepare([record()])
    assert (place.run_dir / item.source_path).read_bytes() == whole


def test_the_suffix_and_size_come_from_the_content(place):
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, "JPEG", exif=exif)
    (place.folder / "photos/wrong.png").write_bytes(buffer.getvalue())
    [item] = place.prepare([record(image="photos/wrong.png")])
    assert (Path(item.source_path).suffix, item.width, item.height) == (".jpg", 30, 40)


def test_an_undecodable_image_stays_an_item(place):
    (place.folder / "photos/broken.png").write_bytes(b"")
    [item] = place.prepare([record(image="photos/broken.png")])
    assert (item.width, item.height, item.cost) == (None, None, 1.0)
    assert item.source_path.endswith(".bin")
    with pytest.raises(SourceUnreadable):
        open_image(place.run_dir / item.source_path)


@pytest.mark.parametrize("size", [(1000, 1000), (4000, 3000), None])
def test_cost_stops_at_one_megapixel(size):
    assert estimate_cost(size) == 1.0


def test_cost_grows_with_the_pixels():
    assert [estimate_cost(size) for size in [(1, 1), (500, 500), (1000, 500)]] == [0.5, 0.625, 0.75]


# --- languages and categories ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("打开灯。", "zh"),
        ("将文本 'TRAIN' 替换为 'PLANE'", "zh"),
        ("Write '福' on the red door", "en"),
        ("把猫变成 Garfield", "zh"),
        ("Turn on the lamp.", "en"),
        ("Allume la lampe à gauche.", "en"),
        ("→ 90°", None),
    ],
)
def test_language_of(text, language):
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("fields", "asked", "instruction", "language"),
    [
        ({"instruction": "On.", "instruction_zh": "开。"}, "en", "On.", "en"),
        ({"instruction": "On.", "instruction_zh": "开。"}, "zh", "开。", "zh"),
        ({"instruction": "开。", "instruction_en": "On."}, "zh", "开。", "zh"),
        ({"instruction": "开。", "instruction_en": "On."}, "en", "On.", "en"),
        ({"instruction": "开。"}, "zh", "开。", "zh"),
        ({"instruction": "开。"}, "en", "开。", "zh"),
        ({"instruction": "On.", "instruction_zh": " "}, "zh", "On.", "en"),
        ({"instruction": None, "instruction_zh": "开。"}, "en", "开。", "zh"),
        ({"instruction": "Other", "instruction_en": "On."}, "en", "On.", "en"),
        ({"instruction": "→ 90°"}, "zh", "→ 90°", "zh"),
    ],
)
def test_the_instruction_in_the_asked_language_else_the_other(place, fields, asked, instruction, language):
    [item] = place.prepare([record(**fields)], language=asked)
    assert (item.instruction, item.language) == (instruction, language)
    assert place.provenance["fallback_language"] == (asked != language)


def test_description_and_rationale_follow_the_language(place):
    fields = {"description": "房间。", "description_en": "A room.", "rationale_zh": "光。", "instruction_zh": "开。"}
    [english] = place.prepare([record(**fields)], language="en")
    [chinese] = place.prepare([record(**fields)], language="zh")
    assert (english.description, english.rationale) == ("A room.", "光。")
    assert (chinese.description, chinese.rationale) == ("房间。", "光。")


def test_records_of_other_categories_are_left_out_and_counted(place):
    records = [
        record(),
        record(category="环境"),
        record(category="天气", instruction=None, image=None),
        record(category="天气"),
    ]
    items = place.prepare(records, categories=["物理", "因果"])
    assert [item.category for item in items] == ["物理"]
    assert place.provenance["skipped"] == {"天气": 2, "环境": 1}
    assert place.provenance["items"] == {"物理": 1, "因果": 0}
    assert place.provenance["records"] == 4


def test_category_names_are_compared_as_nfc(place):
    name = unicodedata.normalize("NFD", "Café 物理")
    [item] = place.prepare([record(category=name)], categories=[unicodedata.normalize("NFC", name)])
    assert item.category == "Café 物理"
    assert check_categories([name, "Café 物理"]) == ("Café 物理",)


@pytest.mark.parametrize(
    ("given_name", "asked", "expected"),
    [
        ("physical", CATEGORIES, "物理"),
        ("Environmental", CATEGORIES, "环境"),
        ("cultural", CATEGORIES, "社会"),
        ("social/cultural", CATEGORIES, "社会"),
        (" causal ", CATEGORIES, "因果"),
        ("referential", CATEGORIES, "指代"),
        ("physical", ["physical"], "physical"),
    ],
)
def test_english_names_of_the_default_categories(place, given_name, asked, expected):
    [item] = place.prepare([record(category=given_name)], categories=asked)
    assert item.category == expected


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".hidden", "", " ", "a\\b", "x:y", "{run}", "a\nb", "CON", "物" * 41, "a "]
)
def test_a_category_that_cannot_name_a_folder(place, name):
    assert repr(name) in place.refused([record()], categories=["物理", name])


# --- tags and small fields -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", " b ", "", None, 3], ("a", "b", "3")),
        ("a;b; c", ("a", "b", "c")),
        ("光，影、水", ("光", "影", "水")),
        ('["a, b", "c"]', ("a, b", "c")),
        ("[a; b]", ("a", "b")),
        (None, ()),
        (float("nan"), ()),
        (7, ()),
        ({"a": 1}, ()),
    ],
)
def test_tags(place, value, expected):
    [item] = place.prepare([record(tags=value)])
    assert item.tags == expected


def test_numbers_where_a_label_is_expected(place):
    [item] = place.prepare([record(item_id=7, difficulty=2)])
    assert (item.item_id, item.difficulty) == ("7", "2")


# --- images in the record --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", ["{}", "data:image/png;base64,{}", " {}\n"])
def test_an_image_as_base64(place, wrap):
    [item] = place.prepare([record(image=wrap.format(b64(photo("navy"))))])
    assert (place.run_dir / item.source_path).read_bytes() == photo("navy")
    assert item.item_id.startswith(item.source_sha256[:8] + "-")


@pytest.mark.parametrize(
    "text", ["data:image/png;base64,!!!!", "data:text/plain,hello", "§" * 5000, "A" * 65, "=" * 64]
)
def test_invalid_base64_becomes_an_unreadable_item_with_its_text(place, text):
    [item] = place.prepare([record(image=text)])
    assert item.source_path.endswith(".bin")
    assert (place.run_dir / item.source_path).read_bytes() == text.encode()


@given(st.binary(min_size=1))
def test_base64_in_its_usual_shapes(content):
    text = b64(content)
    lines = "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))
    safe = base64.urlsafe_b64encode(content).decode()
    for shape in (text, lines, safe, text.rstrip("="), "data:image/png;base64," + text):
        assert decode_base64(shape) == content


def decode_whole(text: str) -> bytes:
    """What `decode_base64` does piece by piece, with several copies of the whole text."""
    payload = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        content = binascii.a2b_base64(payload + "=" * (-len(payload) % 4), strict_mode=True)
    except ValueError:
        return text.encode()
    return content or text.encode()


@given(text=st.text("AQz9-_+/= \n§:", max_size=40), piece=st.integers(1, 9))
def test_base64_is_the_same_in_pieces(text, piece):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64_text, "_PIECE", piece)
        assert decode_base64(text) == decode_whole(text)


def test_base64_is_decoded_without_copies_of_the_text():
    text = "data:image/png;base64," + "QUJD" * 8_000_000
    tracemalloc.start()
    content = decode_base64(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (content[:3], peak < 1.3 * len(content)) == (b"ABC", True)


def test_a_missing_image_file_is_named(place):
    records = [record(), *(record(image=f"photos/{n}.png", item_id=f"n{n}") for n in range(7))]
    message = place.refused(records)
    assert message.startswith("7 image files of")
    assert "photos/0.png (record 2 (line 2), item_id 'n0')" in message
    assert "photos/5.png" not in message
    assert ", ..." in message


@pytest.mark.parametrize(
    "path", ["../secret.png", "photos/../../secret.png", "/etc/hostname", "C:\\a.png", "photos/link.png"]
)
def test_a_path_may_not_leave_the_folder(place, path):
    secret = place.folder.parent / "secret.png"
    secret.write_bytes(photo())
    (place.folder / "photos/link.png").symlink_to(secret)
    message = place.refused([record(item_id="x", image=path)])
    assert "leads out of the folder" in message
    assert "record 1 (line 1), item_id 'x'" in message


def test_a_link_within_the_folder_is_fine(place):
    (place.folder / "photos/link.png").symlink_to(place.folder / "photos/b.png")
    assert len(place.prepare([record(image="photos/link.png")])) == 1


@pytest.mark.parametrize("path", ["photos/\0.png", "photos", "x." * 400])
def test_a_path_that_is_no_file(place, path):
    place.refused([record(image=path)])


def test_a_loop_of_links(place):
    (place.folder / "loop.png").symlink_to(place.folder / "loop.png")
    place.refused([record(image="loop.png")])


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"instruction": None}, "no instruction (instruction, instruction_en or instruction_zh)"),
        ({"instruction": "  "}, "no instruction"),
        ({"instruction": 3}, "instruction is 3, not text"),
        ({"instruction": "\ud800"}, "not valid Unicode"),
        ({"image": ""}, "has no image"),
        ({"image": ["a"]}, "image is ['a'], not text"),
        ({"category": None}, "has no category"),
        ({"category": 5}, "category is 5, not text"),
        ({"item_id": ["x"]}, "item_id is ['x'], not text"),
        ({"description": {"a": 1}}, "description is {'a': 1}, not text"),
    ],
)
def test_a_record_with_a_mistake_is_named(place, fields, expected):
    lines = [json.dumps(record()), "", json.dumps(record(**fields))]
    message = place.refused("\n".join(lines))
    assert expected in message
    assert "record 2 (line 3)" in message


def test_the_same_item_id_twice(place):
    nfc, nfd = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    message = place.refused([record(item_id=nfc), record(), record(item_id=nfd)])
    assert "record 1 (line 1)" in message
    assert "record 3 (line 3)" in message


def test_no_records_left(place):
    message = place.refused([record(category="天气")])
    assert "天气" in message
    assert "物理" in message


def test_unknown_settings(place):
    assert "Did you mean 'items'" in place.refused([record()], format="item")
    assert "'fr'" in place.refused([record()], language="fr")
    assert ".jsonl" in place.refused("x", name="items.txt")
    assert "no dataset file" in place.refused(place.folder / "nowhere.jsonl")
    assert "is empty" in place.refused("")


# --- the file formats ------------------------------------------------------------------------------------------------


ROWS = [
    record(item_id="一", instruction='Turn on, "now"', instruction_zh="打开\n灯", tags="光;影", difficulty="easy"),
    record(category="指代", image="photos/c.jpg"),
]


def as_csv(rows) -> str:
    columns = ["item_id", "category", "instruction", "instruction_zh", "image", "tags", "difficulty"]
    cells = [[str(row.get(name) or "").replace('"', '""') for name in columns] for row in rows]
    return "\n".join([",".join(columns), *(",".join(f'"{cell}"' for cell in row) for row in cells)]) + "\n"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_all_three_formats_give_the_same_items(place, language):
    expected = place.prepare(ROWS, language=language)
    assert place.prepare(as_csv(ROWS), "a.csv", language=language) == expected
    table = pa.Table.from_pylist([{name: row.get(name) for name in ROWS[0]} for row in ROWS])
    pq.write_table(table, place.folder / "a.parquet")
    assert place.prepare(place.folder / "a.parquet", language=language) == expected


def test_bom_crlf_and_blank_lines(place):
    expected = place.prepare(ROWS)
    jsonl = "\ufeff\r\n".join(["", *(json.dumps(row) for row in ROWS), " ", ""]).replace("\ufeff", "")
    assert place.prepare("\ufeff" + jsonl) == expected
    assert place.prepare("\ufeff" + "\r\n".join(json.dumps(row) for row in ROWS)) == expected
    csv = as_csv([{**row, "instruction_zh": ""} for row in ROWS])
    assert place.prepare("\ufeff" + csv.replace("\n", "\r\n") + "\r\n,,,,,,\r\n", "a.csv") == expected


def test_a_large_base64_cell_in_csv(place):
    image = b64(random.Random(1).randbytes(300_000))
    [item] = place.prepare(f"category,instruction,image\n物理,On.,{image}\n", "a.csv")
    assert (place.run_dir / item.source_path).stat().st_size == 300_000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("category,image\n物理,a.png\n", "no column instruction; it has: category, image"),
        ("kind,instruction\n物理,On.\n", "no column category and no column image"),
        ("category,instruction,image\n物理,On.,a.png,x\n", "record 1 (line 2) has more cells"),
        ('category,instruction,image\n物理,"On.,a.png\n', "broken CSV"),
        ("category,instruction,image\n物理,开灯,a.png\n".encode("gbk"), "not UTF-8"),
        ("category,instruction,image\n物理,On.\n", "record 1 (line 2) has no image"),
        ("category,instruction,image\n", "no records"),
    ],
)
def test_broken_csv(place, content, expected):
    assert expected in place.refused(content, "a.csv")


def test_broken_parquet(place):
    assert "cannot be read as Parquet" in place.refused(b"PAR1 nonsense PAR1", "a.parquet")
    pq.write_table(pa.table({"category": ["物理"], "image": ["a.png"]}), place.folder / "b.parquet")
    assert "no column instruction" in place.refused(place.folder / "b.parquet")


@pytest.mark.parametrize(
    ("line", "at", "stands"),
    [
        ('{"category": 物理}', 13, "物"),
        ('{"category": "物理", }', 23, "}"),
        ('{"category": "物理"', 21, None),
        ('{"a": 1} {"b": 2}', 9, "{"),
    ],
)
def test_broken_jsonl_names_line_and_byte(place, line, at, stands):
    before = "\ufeff" + json.dumps(record(), ensure_ascii=False) + "\r\n\n"
    message = place.refused(before + line)
    assert "record 2 (line 3)" in message
    assert f"byte {len(before.encode()) + at}" in message
    assert (f"'{stands}" in message) if stands else ("ends at byte" in message)


def test_jsonl_with_other_rubbish(place):
    assert "not UTF-8" in place.refused(b'{"a": "\xff"}')
    assert "byte 7" in place.refused(b'{"a": "\xff"}')
    assert "not an object" in place.refused("[1, 2]")
    assert "nested too deeply" in place.refused("[" * 100_000)


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_pairs_keep_items_whose_edit_is_missing(place):
    records = [
        record(edited="photos/b.png"),
        record(edited="photos/nowhere.png", instruction="2"),
        record(edited="", instruction="3"),
        record(instruction="4"),
        record(edited="data:image/png;base64," + b64(photo("navy")), instruction="5"),
    ]
    items = sorted(place.prepare(records, format="pairs"), key=lambda item: item.instruction.replace("Turn", "1"))
    assert [item.given_path is None for item in items] == [False, True, True, True, False]
    assert [item.given_sha256 is None for item in items] == [False, True, True, True, False]
    assert (place.run_dir / items[0].given_path).read_bytes() == (place.folder / "photos/b.png").read_bytes()
    assert (place.run_dir / items[4].given_path).read_bytes() == photo("navy")
    assert place.provenance["without_edit"] == 3


def test_pairs_of_one_source_and_several_systems_stay_apart_in_any_order(place):
    records = [record(edited="photos/b.png"), record(edited="photos/c.jpg")]
    forward = {item.given_sha256: item.item_id for item in place.prepare(records, format="pairs")}
    backward = {item.given_sha256: item.item_id for item in place.prepare(records[::-1], format="pairs")}
    assert forward == backward
    assert len(set(forward.values())) == 2


def test_a_table_of_pairs_needs_the_column(place):
    message = place.refused("category,instruction,image\n物理,On.,photos/b.png\n", "a.csv", format="pairs")
    assert "no column edited" in message


def test_an_edit_may_not_leave_the_folder(place):
    assert "leads out" in place.refused([record(edited="../x.png")], format="pairs")


# --- base64-json -----------------------------------------------------------------------------------------------------


def base64_record(**fields) -> dict:
    return {
        "subset": "物理",
        "edit_instruction": "打开灯。",
        "edit_instruction_en": "Turn on the lamp.",
        "original_description": "房间。",
        "original_description_en": "A room.",
        "src_img_b64": b64(photo("navy")),
        "rationale_short": "光。",
        "rationale_short_en": "Light.",
        "tags": ["light"],
        "difficulty": "medium",
        "original_image_path": "generated_images_2/00000_物理_medium.png",
        "seed": 7,
    } | fields


def write_list(place, records, name="data.json", **options) -> Path:
    return place.write(json.dumps(records, **options), name)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_base64_json(place, language):
    path = write_list(place, [base64_record(), base64_record(subset="causal", original_image_path=None)])
    first, second = place.prepare(path, format="base64-json", language=language)
    expected = {"en": ("Turn on the lamp.", "A room.", "Light."), "zh": ("打开灯。", "房间。", "光。")}[language]
    assert (first.instruction, first.description, first.rationale) == expected
    assert (first.category, first.tags, first.difficulty, first.language) == ("物理", ("light",), "medium", language)
    assert (place.run_dir / first.source_path).read_bytes() == photo("navy")
    assert first.item_id.startswith("00000_物理_medium-")
    assert second.category == "因果"
    assert place.provenance["fallback_language"] == 0


def test_base64_json_never_opens_a_path(place):
    path = write_list(place, [base64_record(src_img_b64="photos/b.png")])
    [item] = place.prepare(path, format="base64-json")
    assert (place.run_dir / item.source_path).read_bytes() == b"photos/b.png"


def test_base64_json_errors_use_the_names_of_the_file(place):
    for field, words in [
        ("src_img_b64", "record 2 has no src_img_b64"),
        ("subset", "record 2 has no subset"),
    ]:
        path = write_list(place, [base64_record(), base64_record(**{field: None})])
        assert words in place.refused(path, format="base64-json")
    path = write_list(place, [base64_record(edit_instruction="", edit_instruction_en=None)])
    assert "(edit_instruction, edit_instruction_en or edit_instruction_zh)" in place.refused(path, format="base64-json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"item": {"subset": "物理"}}', "not a JSON list"),
        ("3", "not a JSON list"),
        ("[]", "no records"),
        (" \n", "ends at byte 2"),
        ("[3]", "record 1 is not an object"),
        ('[{"subset": "x"}, ["b"]]', "record 2 is not an object"),
        ("[" * 100_000, "not an object"),
        ('[{"a": ' + "[" * 100_000, "record 1: nested too deeply"),
    ],
)
def test_json_of_the_wrong_shape(place, text, words):
    assert words in place.refused(text, "data.json", format="base64-json")


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('[{"subset": "物理"}, {"subset" "x"}]', 35),
        ('[{"subset": tru}]', 15),
        ('[{"subset": "物理"} {"subset": "x"}]', 22),
        ('[{"subset": "x"},]', 17),
        ('[{"subset": NaN}]', 12),
        ('[{"subset": "x"}] x', 18),
        ('[{"subset": "x', 14),
        ('[{"subset": "x"}', 16),
    ],
)
def test_broken_json_names_the_byte(place, text, at, bom):
    with pytest.raises(UserError, match=rf"byte {at + len(bom)}\b"):
        list(read_records(place.write(bom + text.encode(), "data.json"), "base64-json"))


def test_the_place_of_a_mistake_deep_in_a_file_larger_than_the_chunk(place, monkeypatch):
    monkeypatch.setattr(json_files, "_CHUNK", 1000)
    text = json.dumps([{"image": "A" * 700, "n": n} for n in range(50)])
    at = text.index('"n": 37') + 3
    path = place.write(text[:at] + "\x01" + text[at + 1 :], "data.json")
    with pytest.raises(UserError, match=rf"byte {at} \(record 38\)"):
        list(read_records(path, "base64-json"))


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(TEXT, JSON_VALUES, max_size=4), max_size=4)
TMP = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@settings(max_examples=100, **TMP)
@given(records=RECORDS, ascii=st.booleans(), indent=st.sampled_from([None, 2]), chunk=st.integers(1, 40))
def test_streaming_gives_what_json_load_gives(tmp_path, records, ascii, indent, chunk):
    path = tmp_path / "data.json"
    text = json.dumps(records, ensure_ascii=ascii, indent=indent)
    path.write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_files, "_CHUNK", chunk)
        assert [record for _, record in read_records(path, "base64-json")] == json.loads(text, parse_float=Decimal)


@settings(max_examples=100, **TMP)
@given(records=RECORDS, data=st.data())
def test_damaged_json_is_a_user_error_or_still_json(tmp_path, records, data):
    content = bytearray(json.dumps(records, ensure_ascii=False).encode())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "data.json"
    path.write_bytes(content)
    strict = content.translate(bytes.maketrans(b"\v\f", b"  "))  # the parser takes these two for white space
    try:
        assert [record for _, record in read_records(path, "base64-json")] == json.loads(strict, parse_float=Decimal)
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=100, **TMP)
@given(content=st.binary(min_size=1, max_size=60), name=st.sampled_from(["a.jsonl", "a.csv", "a.parquet", "a.json"]))
@example(content=b"\xef\xbb\xbf", name="a.json")
@example(content=b"\x00", name="a.csv")
def test_any_bytes_are_read_or_refused(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        for _, fields in read_records(path, "base64-json" if name == "a.json" else "items"):
            assert isinstance(fields, dict)
    except UserError:
        pass


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain-1", "plain-1"),
        ("物理 1", "物理 1"),
        ("a/b\\c:d", "a_b_c_d"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("..", "__"),
        (".hidden", "_hidden"),
        ("end. ", "end._"),
        ("a\nb\x7f", "a_b_"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("console", "console"),
        ("", "_"),
        ("cafe\u0301", "café"),
        ("\ud800x", "_x"),
    ],
)
def test_safe_name(text, expected):
    assert make_safe_name(text) == expected


@given(st.text())
def test_safe_names_are_safe_and_stay_so(text):
    name = make_safe_name(text)
    assert name == make_safe_name(name) == unicodedata.normalize("NFC", name)
    assert 0 < len(name.encode()) <= MAX_BYTES
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert not name.startswith((".", " "))


@given(st.text())
@example("x" * 121)
@example("物" * 60)
def test_a_given_id_keeps_its_limit_and_is_a_file_name(text):
    name = sanitise_id(text)
    assert len(name.encode()) <= MAX_BYTES
    assert "/" not in name


def test_a_given_id_that_is_a_file_name_is_kept():
    assert sanitise_id("照片-01") == "照片-01"
    assert sanitise_id("a/b") == "a_b-" + digest("a/b")[:8]


def test_two_given_ids_with_the_same_safe_name_stay_two(place):
    records = [record(item_id=name) for name in ("a/b", "a:b", "a_b")]
    ids = {item.item_id for item in place.prepare(records)}
    assert ids == {"a_b", *(f"a_b-{digest(name)[:8]}" for name in ("a/b", "a:b"))}
    assert {item.item_id for one in records for item in place.prepare([one])} == ids


def test_the_order_of_the_dataset_does_not_matter(place):
    records = [record(category=category, item_id=f"{category}-{n}") for n in range(3) for category in CATEGORIES]
    items = place.prepare(random.Random(1).sample(records, len(records)))
    assert [item.item_id for item in items] == [f"{category}-{n}" for category in CATEGORIES for n in range(3)]


def test_ids_depend_on_neither_order_nor_neighbours(place):
    records = [
        record(),
        record(instruction="Turn it off."),
        record(category="环境"),
        record(image="photos/b.png"),
        record(image="data:image/png;base64," + b64(photo("navy"))),
        record(item_id="own"),
    ]
    ids = {item.item_id for item in place.prepare(records)}
    assert len(ids) == 6
    assert {item.item_id for item in place.prepare(records[::-1])} == ids
    assert {item.item_id for one in records for item in place.prepare([one])} == ids


def test_wholly_identical_records_stay_two_items_and_the_first_keeps_its_id(place):
    [alone] = place.prepare([record()])
    three = [item.item_id for item in place.prepare([record()] * 3)]
    assert three == [alone.item_id, alone.item_id + "-2", alone.item_id + "-3"]


def test_the_same_file_name_in_two_folders_stays_two(place):
    (place.folder / "more").mkdir()
    (place.folder / "more/b.png").write_bytes(photo("pink"))
    first, second = place.prepare([record(image="photos/b.png"), record(image="more/b.png")])
    assert first.item_id[:2] == second.item_id[:2] == "b-"
    assert first.item_id != second.item_id


def test_a_made_id_is_the_same_for_nfc_and_nfd():
    made = {derive_id(unicodedata.normalize(form, "é.png"), "0" * 64, "On.", "物理") for form in ("NFC", "NFD")}
    assert len(made) == 1
    assert derive_id("dir/", "0" * 64, "On.", "物理").startswith("_-")


IDENTITIES = st.lists(st.tuples(st.sampled_from(["a", "b", "a-2", "a-3", "x" * 120]), st.integers(0, 3)), max_size=12)


@given(IDENTITIES, st.randoms(use_true_random=False))
def test_unique_ids(pairs, rng):
    """Unique, short enough, and the same set in any order."""
    ids = [name for name, _ in pairs]
    identities = [digest(name, str(number)) for name, number in pairs]
    unique = make_unique(ids, identities)
    assert len(set(unique)) == len(ids)
    assert all(len(name.encode()) <= MAX_BYTES for name in unique)
    order = rng.sample(range(len(ids)), len(ids))
    shuffled = make_unique([ids[n] for n in order], [identities[n] for n in order])
    assert sorted(shuffled) == sorted(unique)


# --- provenance ------------------------------------------------------------------------------------------------------


def test_provenance_names_the_file_and_not_the_folder(place, monkeypatch):
    path = place.write([record()])
    place.prepare(path)
    assert place.provenance["dataset"] == {"file": "items.jsonl", "sha256": file_sha256(path)}
    assert str(place.folder) not in json.dumps(place.provenance)
    monkeypatch.setattr("editlane.datasets.prepare.HASHED_BYTES", 10)
    place.prepare(path)
    assert place.provenance["dataset"] == {"file": "items.jsonl", "bytes": path.stat().st_size}


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data (../shared/data) is not here")
def test_real_pairs(place):
    lines = (SHARED / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    records = []
    for pair in map(json.loads, lines):
        for name in (pair["source"], pair["edit"]):
            (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (place.folder / name).write_bytes((SHARED / name).read_bytes())
        records.append(
            {"category": "指代", "instruction": pair["instruction"], "image": pair["source"], "edited": pair["edit"]}
        )
    items = {item.given_sha256: item for item in place.prepare(records, format="pairs", language="zh")}
    assert len({item.item_id for item in items.values()}) == len(items) == len(lines)
    for pair in map(json.loads, lines):
        item = items[file_sha256(SHARED / pair["edit"])]
        assert (item.language, item.instruction) == (pair["lang"], pair["instruction"])
        assert (place.run_dir / item.given_path).read_bytes() == (SHARED / pair["edit"]).read_bytes()
        assert open_image(place.run_dir / item.given_path).mode == "RGB"
        assert open_image(place.run_dir / item.source_path).size == (item.width, item.height)
