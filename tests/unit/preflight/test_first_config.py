"""The first config of a dataset, written by scripts/init_config.py."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from preflight_project import GB, gpu

import init_config
from editlane.core.errors import UserError
from editlane.preflight.config import check_config
from editlane.preflight.devices import Devices
from editlane.preflight.first_config import choose_models, quote


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a photo in 资料/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init_config, "find_devices", Devices)
    Path("资料/照片").mkdir(parents=True)
    Image.new("RGB", (8, 6)).save("资料/照片/图 0.png")
    return tmp_path


def init(monkeypatch: pytest.MonkeyPatch, *flags: str) -> tuple[str, dict[str, Any]]:
    """Run the program; the text it wrote, and the config in it after all checks."""
    monkeypatch.setattr("sys.argv", ["init_config.py", *flags])
    before = set(Path().rglob("*.yaml"))
    init_config.main()
    (written,) = set(Path().rglob("*.yaml")) - before
    text = written.read_text(encoding="utf-8")
    return text, check_config(yaml.safe_load(text))


def write_records(name: str, count: int = 1, **fields: Any) -> str:
    record = {"image": "照片/图 0.png", "category": "physical", "instruction": "Make it rain."} | fields
    given = {name: value for name, value in record.items() if value is not None}
    lines = [json.dumps(given | ({"instruction": f"Make it {number}."} if number else {})) for number in range(count)]
    Path(f"资料/{name}").write_text("\n".join(lines), encoding="utf-8")
    return f"资料/{name}"


def test_a_csv_of_two_languages(monkeypatch, capsys) -> None:
    Path("资料/items.csv").write_text(
        ",image,category,instruction,note,难度\n"
        '0,照片/图 0.png,physical,"make it: ""rain"" # here",x,hard\n1,照片/图 0.png,画风,变成油画,y,easy\n',
        encoding="utf-8",
    )
    text, config = init(monkeypatch, "--dataset", "资料/items.csv")
    assert config["run"] == "资料"
    dataset = {name: config["dataset"][name] for name in ("path", "format", "language", "categories")}
    assert dataset == {"path": "资料/items.csv", "format": "items", "language": "en", "categories": ["物理", "画风"]}
    assert "#   note: not used" in text and "#   image: the source image" in text
    assert "- 物理    # physical; 1 item; has a rubric of its own" in text
    assert "- 画风    # 1 item; judged by the general rubric" in text
    assert "language: en    # that of 1 of 2 instructions" in text
    assert "random weights" in text and config["controls"]["share"] == 6
    assert "snakemake --configfile 'config/资料.yaml'" in capsys.readouterr().out


def test_lists_of_images_and_turns_are_told_from_columns_that_are_called_so(monkeypatch) -> None:
    fields = {"images": ["照片/图 0.png", "照片/图 0.png"], "image": None, "turns": ["Rain."], "instruction": None}
    text, _ = init(monkeypatch, "--dataset", write_records("多图.jsonl", **fields))
    assert "#   images: the images of an item, the source first" in text
    assert "#   turns: the instructions of several turns, an item each" in text
    text, _ = init(monkeypatch, "--dataset", write_records("单图.jsonl", images=3, turns="2", turns_en=["x"][:0]))
    assert "#   images: not used, because it holds no list" in text
    assert "#   turns: not used, because it holds no list" in text


def test_the_share_of_controls_fits_the_number_of_items(monkeypatch) -> None:
    text, config = init(monkeypatch, "--dataset", write_records("许多.jsonl", 300))
    assert config["controls"]["share"] == 0.1 and "# 149 questions; a judge needs about 20" in text
    assert config["run"] == "许多"


@pytest.mark.parametrize("name", ["yes", "1", "a: b", "# x", "-", "null", "[a]", "'x'", "天气 "])
def test_any_name_of_a_category_survives(monkeypatch, name: str) -> None:
    assert yaml.safe_load(quote(name)) == name
    if name.strip() not in ("-", "a: b"):  # those cannot name a folder
        _, config = init(monkeypatch, "--dataset", write_records("items.jsonl", category=name))
        assert config["dataset"]["categories"] == [name.strip()]


@pytest.mark.parametrize("name", ["物理\u202e", "a\u200bb", "a/b"])
def test_a_category_that_no_run_can_have_is_named_with_its_dataset(monkeypatch, name: str) -> None:
    shown = re.escape(f"资料/items.jsonl: The category {name!r} cannot name a folder.")
    with pytest.raises(UserError, match=rf"^{shown} .* Rename it there\.$"):
        init(monkeypatch, "--dataset", write_records("items.jsonl", category=name))


def test_given_edits_need_no_editor(monkeypatch) -> None:
    text, config = init(monkeypatch, "--dataset", write_records("pairs.jsonl", edited="照片/图 0.png"))
    assert config["dataset"]["format"] == "pairs" and list(config["editors"]) == ["given"]
    assert "#   edited: the edit that is given" in text
    Path("edits").mkdir()
    Image.new("RGB", (8, 6)).save("edits/图 0.png")
    _, config = init(monkeypatch, "--dataset", write_records("items.jsonl"), "--edited-dir", "edits")
    assert config["dataset"]["edited_dir"] == "edits" and list(config["editors"]) == ["given"]


def write_json(name: str, content: Any) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return name


def write_gedit() -> str:
    image = {"bytes": Path("资料/照片/图 0.png").read_bytes(), "path": None}
    row = {
        "key": "k",
        "task_type": "style_change",
        "instruction_language": "en",
        "instruction": "x",
        "input_image": image,
    }
    Path("GEdit/data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row | {"input_image": image}]), "GEdit/data/train-0.parquet")
    return "GEdit"


PUBLIC = {
    "gedit": (write_gedit, ["style_change"]),
    "base64-json": (
        lambda: write_json("re.json", [{"subset": "physical", "edit_instruction": "x", "src_img_b64": "aGFsbG8="}]),
        ["物理"],
    ),
    "imgedit": (
        lambda: write_json("资料/basic_edit.json", {"1": {"id": "照片/图 0.png", "prompt": "x", "edit_type": "style"}}),
        ["style"],
    ),
    "kris": (
        lambda: str(
            Path(write_json("KRIS/biology/annotation.json", {"1": {"ori_img": "a.png", "ins_en": "x"}})).parents[1]
        ),
        ["biology"],
    ),
    "rise": (
        lambda: write_json(
            "资料/data_total.json",
            [{"index": "t1", "category": "time", "instruction": "x", "image": "照片/图 0.png"}],
        ),
        ["time"],
    ),
    "uniredit": (
        lambda: write_json(
            "资料/data.json", [{"name": "a", "idx": "1", "instruction": "x", "original_image_path": "照片/图 0.png"}]
        ),
        ["a"],
    ),
}


@pytest.mark.parametrize("format", PUBLIC)
def test_a_public_benchmark_is_recognized(monkeypatch, format: str) -> None:
    make, categories = PUBLIC[format]
    if format == "kris":
        Path("KRIS/biology").mkdir(parents=True)
        Image.new("RGB", (8, 6)).save("KRIS/biology/a.png")
    _, config = init(monkeypatch, "--dataset", make())
    assert (config["dataset"]["format"], config["dataset"]["categories"]) == (format, categories)


@pytest.mark.parametrize("name", ["note\nseed: 7\nrun", "a\x07b", "a\n- [b", "x\u2028y: 1"])
def test_no_name_of_a_column_becomes_a_key(monkeypatch, name: str) -> None:
    text, config = init(monkeypatch, "--dataset", write_records("items.jsonl", **{name: "x"}))
    assert config["seed"] == 42 and config["run"] == "资料"
    assert f"#   {ascii(name)[1:-1]}: not used" in text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image": None, "file_name": "照片/图 0.png"}, "missing: image. Rename file_name to image."),
        (
            {"category": None, "Type": "x", "instruction": None, "prompt": "x"},
            "missing: category, instruction. Rename Type",
        ),
        ({"image": "照片/9.png"}, r"1 image file of .* is missing"),
    ],
)
def test_a_dataset_that_no_run_could_read_is_told_and_nothing_is_written(monkeypatch, fields, message: str) -> None:
    name = write_records("items.jsonl", **fields)
    with pytest.raises(UserError, match=message) as error:
        init(monkeypatch, "--dataset", name)
    assert "\n" not in str(error.value) and not list(Path().rglob("*.yaml"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.csv",
            "image;category;instruction\n图.png;物理;x\n",
            r"a\.csv separates its cells by ';', and a \.csv file by ','",
        ),
        ("a.csv", "image\tcategory\n", r"separates its cells by '\\t'"),
        (
            "a.csv",
            "Image,类别,编辑指令\n",
            "Rename Image to image. Rename 类别 to category. Rename 编辑指令 to instruction.",
        ),
        ("a.json", '[{"image": "x", "category": "y", "instruction": "z"}]', "a JSON list of items. Save it as .jsonl"),
    ],
)
def test_nearly_a_dataset_is_told_what_to_change(monkeypatch, name: str, text: str, message: str) -> None:
    Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        init(monkeypatch, "--dataset", name)


@pytest.mark.parametrize("dataset", ["missing.csv", "资料", "资料/照片/图 0.png", "empty.csv"])
def test_what_is_no_dataset_is_refused(monkeypatch, dataset: str) -> None:
    Path("empty.csv").touch()
    with pytest.raises(UserError, match=re.escape(dataset)) as error:
        init(monkeypatch, "--dataset", dataset)
    assert "config" not in str(error.value)  # there is none yet


def write_folder(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"image": ["a.png"], "category": ["x"], "instruction": ["y"]}), name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["D/a/train.parquet", "D/b/train.parquet"], "D has several folders with a dataset: D/a, D/b"),
        (["D/items.parquet"], "D is of no format: D/items.parquet has the columns image, category, instruction"),
        (["D/notes.txt"], "The folder D has no dataset file. Name the file"),
    ],
)
def test_a_folder_that_is_no_benchmark_says_why(monkeypatch, names: list[str], message: str) -> None:
    write_folder(*names)
    with pytest.raises(UserError, match=message):
        init(monkeypatch, "--dataset", "D")


def test_an_empty_file_in_a_folder_is_named(monkeypatch) -> None:
    Path("D").mkdir()
    Path("D/train.parquet").touch()
    with pytest.raises(UserError, match=r"D/train\.parquet is empty"):
        init(monkeypatch, "--dataset", "D")


def test_records_with_several_images_need_nothing_more(monkeypatch) -> None:
    image = "照片/图 0.png"
    records = [{"index": "t2", "category": "多图", "instruction": "x", "image": [image, image]}]
    _, config = init(monkeypatch, "--dataset", write_json("资料/data_total.json", records))
    assert config["dataset"]["categories"] == ["多图"]


def test_an_existing_config_is_left_as_it_is(monkeypatch) -> None:
    name = write_records("items.jsonl")
    Path("mine.yaml").write_text("run: mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml exists"):
        init(monkeypatch, "--dataset", name, "--out", "mine.yaml")
    assert Path("mine.yaml").read_text(encoding="utf-8") == "run: mine"


def test_a_run_with_results_is_not_taken_again(monkeypatch, capsys) -> None:
    Path("results/许多").mkdir(parents=True)
    _, config = init(monkeypatch, "--dataset", write_records("许多.jsonl"))
    assert config["run"] == "许多-2"
    said = capsys.readouterr().out
    assert "The run is called 许多-2, after the dataset; its results go to results/许多-2/.\n" in said
    assert said.endswith("  snakemake --configfile 'config/许多-2.yaml' --cores all\n")


@pytest.mark.parametrize(
    ("sizes", "expected"), [([], "config"), ([6], "config"), ([24, 80], "small"), ([80, 80], "qwen"), ([141], "qwen")]
)
def test_the_models_fit_the_smallest_gpu(sizes: list[int], expected: str) -> None:
    devices = Devices(gpus=tuple(gpu(str(place), size * GB) for place, size in enumerate(sizes)))
    assert choose_models(devices) == f"config/{expected}.yaml"


def test_lanes_are_those_of_the_gpus(monkeypatch) -> None:
    devices = Devices(gpus=tuple(gpu(str(place)) for place in range(6)))
    monkeypatch.setattr(init_config, "find_devices", lambda: devices)
    text, config = init(monkeypatch, "--dataset", write_records("许多.jsonl", 50))
    assert config["lanes"] == 6 and "Qwen/Qwen3-VL-30B-A3B-Instruct" in text and "random weights" not in text
