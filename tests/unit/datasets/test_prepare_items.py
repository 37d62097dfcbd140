import base64
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import skimage
from PIL import Image

from editlane.core import tables
from editlane.images.files import file_sha256, open_image
from extract_demo_photos import PHOTOS

ROOT = Path(__file__).parents[3]
CATEGORIES = ["物理", "环境", "社会", "因果", "指代"]


def run(program: str, *arguments: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """A step program in its own process; `before` is Python to run ahead of it."""
    path = ROOT / "scripts" / program
    code = f"import runpy, sys; sys.path.insert(0, {str(path.parent)!r}); {before}\n"
    code += f"runpy.run_path({str(path)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def prepare(dataset: Path, run_dir: Path, *, format="items", language="en", categories=CATEGORIES, before=""):
    flags = ["--dataset", dataset, "--format", format, "--language", language, "--categories", *categories]
    return run("prepare_items.py", *flags, "--run-dir", run_dir, "--out", run_dir / "items.parquet", before=before)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The demo's dataset with its photos, as the workflow lays them out."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "items.jsonl").write_bytes((ROOT / "resources/demo/items.jsonl").read_bytes())
    done = run("extract_demo_photos.py", "--out", folder / "photos")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def test_the_demo_photos_are_the_originals(demo):
    assert {path.name for path in (demo / "photos").iterdir()} == set(PHOTOS)
    for name in PHOTOS:
        assert (demo / "photos" / name).read_bytes() == (Path(skimage.__file__).parent / "data" / name).read_bytes()


def test_without_scikit_image_the_user_is_told(tmp_path):
    done = run("extract_demo_photos.py", "--out", tmp_path / "photos", before="sys.modules['skimage'] = None")
    assert done.returncode == 2
    assert "pip install scikit-image" in done.stderr
    assert not (tmp_path / "photos").exists()


def test_the_demo_items_are_complete(demo):
    records = [json.loads(line) for line in (demo / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    assert Counter(record["category"] for record in records) == dict.fromkeys(CATEGORIES, 3)
    assert {record["image"] for record in records} == {f"photos/{name}" for name in PHOTOS}
    for record in records:
        assert record["item_id"].isascii()
        assert record["difficulty"] in {"easy", "medium", "hard"}
        assert all(record[name] for name in ("instruction", "instruction_zh", "description", "rationale", "tags"))


@pytest.mark.parametrize(("language", "start"), [("en", "Cover the garage floor"), ("zh", "让车库地面")])
def test_the_demo_becomes_fifteen_items(demo, tmp_path, language, start):
    done = prepare(demo / "items.jsonl", tmp_path / "run", language=language)
    assert done.returncode == 0, done.stderr
    items = tables.read_items(tmp_path / "run/items.parquet")
    assert len(items) == 15
    assert {item.language for item in items} == {language}
    [floor] = [item for item in items if item.item_id == "motorcycle-wet-floor"]
    assert floor.instruction.startswith(start)
    assert (floor.width, floor.height) == (741, 500)
    for item in items:
        path = tmp_path / "run" / item.source_path
        assert file_sha256(path) == item.source_sha256
        assert open_image(path).size == (item.width, item.height)


def test_two_runs_give_the_same_bytes(demo, tmp_path):
    for name in ("a", "b"):
        assert prepare(demo / "items.jsonl", tmp_path / name).returncode == 0
    files = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("a", "b")
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 1 + len(PHOTOS)


def test_the_table_says_where_it_is_from(demo, tmp_path):
    done = prepare(demo / "items.jsonl", tmp_path, categories=["指代", "物理"])
    provenance = tables.read_provenance(tmp_path / "items.parquet")
    assert provenance == {
        "dataset": {"file": "items.jsonl", "sha256": file_sha256(demo / "items.jsonl")},
        "format": "items",
        "language": "en",
        "records": 15,
        "items": {"指代": 3, "物理": 3},
        "fallback_language": 0,
        "skipped": {"因果": 3, "环境": 3, "社会": 3},
    }
    assert "15 records; items: 指代 3, 物理 3" in done.stderr
    assert "skipped, because their category was not requested: 因果 3, 环境 3, 社会 3" in done.stderr


def test_a_mistake_is_one_paragraph_and_writes_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"category": "物理", "instruction": "开灯。", "image": "无.png"}\n', encoding="utf-8"
    )
    done = prepare(tmp_path / "a.jsonl", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: 1 image file of")
    assert "无.png (record 1 (line 1))" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


# VmHWM and not ru_maxrss, which starts with the memory of the process that forked
PEAK = "import atexit, pathlib; status = pathlib.Path('/proc/self/status');"
PEAK += "atexit.register(lambda: print(status.read_text().split('VmHWM:')[1].split()[0]))"


@pytest.mark.runs
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """60 MB of records must not cost more than a few records' worth of memory over a file of two."""
    image = base64.b64encode(random.Random(1).randbytes(1_500_000)).decode()
    peaks = []
    for count in (2, 30):
        dataset = tmp_path / f"{count}.json"
        record = {"subset": "物理", "edit_instruction": "开灯。", "src_img_b64": image}
        dataset.write_text(json.dumps([record] * count, ensure_ascii=False), encoding="utf-8")
        done = prepare(dataset, tmp_path / f"run{count}", format="base64-json", before=PEAK)
        assert done.returncode == 0, done.stderr
        assert len(tables.read_items(tmp_path / f"run{count}/items.parquet")) == count
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 15


def test_neither_program_decodes_pixels(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a.jsonl").write_text('{"category": "物理", "instruction": "On.", "image": "a.png"}', encoding="utf-8")
    before = "from PIL import ImageFile; ImageFile.ImageFile.load = None"
    done = prepare(tmp_path / "a.jsonl", tmp_path / "run", before=before)
    assert done.returncode == 0, done.stderr
    [item] = tables.read_items(tmp_path / "run/items.parquet")
    assert (item.width, item.height) == (64, 64)
