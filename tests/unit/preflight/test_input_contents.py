"""Files that are replaced without a newer time."""

import copy
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from editlane.judges.fake import FakeJudge
from editlane.preflight import input_contents
from editlane.preflight.config import check_config
from editlane.preflight.input_contents import FileDigests, find_annotations, find_images, hash_image
from editlane.preflight.rule_params import RuleParams

LONG_AGO = time.time() - 10**6


def write(path: Path, text: str, when: float = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (when, when))
    return path


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """The files that were really read; all changes count as settled."""
    read: list[Path] = []

    def file_sha256(path: Path) -> str:
        read.append(path)
        return path.read_bytes().hex()

    monkeypatch.setattr(input_contents, "SETTLED_SECONDS", -60.0)
    monkeypatch.setattr(input_contents, "file_sha256", file_sha256)
    return read


@pytest.fixture
def digest(tmp_path: Path, reads):
    """The digest of files in a new process."""
    return lambda *paths: FileDigests(tmp_path / "state/memory.json").hash_files(paths, input_contents.file_sha256)


def test_a_file_is_read_once_as_long_as_it_stays(tmp_path: Path, digest, reads) -> None:
    path = write(tmp_path / "数据.jsonl", "one")
    assert digest(path) == digest(path) == digest(path)
    assert reads == [path]


@pytest.mark.parametrize("age", [0, 1000, -1000])
@pytest.mark.parametrize("put", [os.replace, shutil.copy2])
def test_a_file_put_in_place_of_another_is_noticed_however_old_it_is(tmp_path: Path, digest, put, age: int) -> None:
    path, other = write(tmp_path / "a", "one"), write(tmp_path / "b", "two", LONG_AGO + age)
    before = digest(path)
    put(other, path)
    assert digest(path) != before
    write(path, "one")
    assert digest(path) == before


def test_a_file_that_was_moved_or_copied_is_the_same(tmp_path: Path, digest) -> None:
    path = write(tmp_path / "a", "one")
    assert digest(path) == digest(shutil.copy(path, tmp_path / "b"))


def test_a_file_that_changed_just_now_is_read_again(tmp_path: Path, monkeypatch, digest, reads) -> None:
    """A second change within the clock's tick would leave its times as they are."""
    monkeypatch.setattr(input_contents, "SETTLED_SECONDS", 60.0)
    path = write(tmp_path / "a", "one")
    digest(path)
    digest(path)
    assert reads == [path, path]


def test_pipes_and_missing_files_are_not_waited_for(tmp_path: Path, digest) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert digest(tmp_path / "pipe") == digest(tmp_path / "missing") != digest(write(tmp_path / "a", ""))


def test_a_damaged_memory_or_none_at_all_costs_time_alone(tmp_path: Path, digest) -> None:
    path = write(tmp_path / "a", "one")
    before = digest(path)
    for damage in ("", "[1]", "7", '{"a": 1', json.dumps({f"file_sha256 {path}": 5}), "null"):
        write(tmp_path / "state/memory.json", damage)
        assert digest(path) == before
    shutil.rmtree(tmp_path / "state")
    write(tmp_path / "state", "a file, so that nothing can be remembered")
    assert digest(path) == before


def test_names_that_are_no_text_are_remembered_like_others(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(input_contents, "SETTLED_SECONDS", -60.0)
    folder = tmp_path / "edits"
    folder.mkdir()
    name = os.fsdecode(os.fsencode(folder) + b"/\xff.png")
    write(Path(name), "one")
    os.utime(folder, (LONG_AGO, LONG_AGO))
    first, again = (FileDigests(tmp_path / "memory.json").hash_folder(folder, hash_image) for _ in range(2))
    assert first == again and len(json.loads((tmp_path / "memory.json").read_bytes())) == 1


def test_a_large_table_of_paths_is_searched_and_one_of_images_is_not(config, monkeypatch) -> None:
    monkeypatch.setattr(input_contents, "EMBEDDING", 2)
    record = {"item_id": "1", "category": "物理", "instruction": "x", "image": "data:image/png;base64,aGFsbG8="}
    lines = [json.dumps(record | {"item_id": str(number)}) for number in range(5)]
    dataset = config["dataset"] | {"edited_dir": None}
    write(Path("items.jsonl"), "\n".join(lines))
    assert find_images(dataset) == []
    paths = [json.dumps(record | {"item_id": f"p{number}", "image": "工.png"}) for number in range(5)]
    write(Path("items.jsonl"), "\n".join(paths))
    assert find_images(dataset) == [Path("工.png").resolve()]


def test_a_folder_counts_names_contents_and_linked_folders(tmp_path: Path) -> None:
    def digest() -> str:
        return FileDigests(tmp_path / "memory.json").hash_folder(tmp_path / "edits", hash_image)

    write(tmp_path / "edits/物理/1.png", "one")
    seen = [digest()]
    (tmp_path / "edits/物理/1.png").rename(tmp_path / "edits/物理/2.png")
    seen.append(digest())
    write(tmp_path / "disk2/3.png", "three")
    (tmp_path / "edits/环境").symlink_to(tmp_path / "disk2")
    seen.append(digest())
    write(tmp_path / "disk2/3.png", "other")
    seen.append(digest())
    assert len(set(seen)) == 4
    write(tmp_path / "edits/.hidden", "x")
    (tmp_path / "edits/物理/round").symlink_to(tmp_path / "edits")
    assert digest() == seen[-1]


@pytest.fixture
def config(tmp_path: Path, monkeypatch) -> dict:
    monkeypatch.chdir(tmp_path)
    for name in ("工.png", "edits/1.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(name)
    write(Path("items.jsonl"), '{"item_id": "1", "category": "物理", "instruction": "x", "image": "工.png"}')
    shutil.copy(Path(__file__).parents[3] / "resources/protocols/rubric.yaml", "own.yaml")
    return check_config(
        {
            "run": "r",
            "dataset": {"path": "items.jsonl", "categories": ["物理"], "edited_dir": "edits"},
            "editors": {"given": {"adapter": "given"}},
            "judges": {"j": {"adapter": "fake", "protocol": "own.yaml"}},
        }
    )


def recorded(config: dict) -> tuple[str, str, str]:
    params = RuleParams(copy.deepcopy(config), lambda path, name: name)
    editor, judge = params.describe_version("editor", "given"), params.describe_version("judge", "j")
    return params.hash_dataset(), editor, judge


@pytest.mark.parametrize(("name", "struck"), [("items.jsonl", 0), ("工.png", 0), ("edits/1.png", 0), ("own.yaml", 2)])
def test_each_input_of_a_run_changes_the_params_of_its_rule_alone(config, name: str, struck: int) -> None:
    before = recorded(config)
    assert recorded(config) == before
    path = Path(name)
    times = path.stat().st_mtime_ns
    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, ns=(times, times))
    assert [one != other for one, other in zip(before, recorded(config), strict=True)] == [
        i == struck for i in range(3)
    ]


def test_a_version_of_replies_reruns_the_rules_of_generated_protocols_alone(config, monkeypatch) -> None:
    def versions() -> list[str]:
        found = []
        for name in ("rubric", "legacy"):
            shutil.copy(Path(__file__).parents[3] / f"resources/protocols/{name}.yaml", "own.yaml")
            found.append(recorded(config)[2])
        return found

    before = versions()
    monkeypatch.setattr(FakeJudge, "REPLIES_VERSION", "7", raising=False)
    after = versions()
    assert after[0] == before[0]
    assert after[1] == before[1].replace("2 ", "2.7 ", 1) != before[1]


def test_weights_and_loras_of_an_editor_are_part_of_its_params(config, tiny_checkpoint) -> None:
    lora = write(Path("lora.safetensors"), "weights")
    config["editors"]["given"] |= {"adapter": "diffusers", "model": str(tiny_checkpoint), "params": {"lora": str(lora)}}
    before = recorded(config)[1]
    write(lora, "WEIGHTS")
    after = recorded(config)[1]
    (tiny_checkpoint / "model_index.json").write_bytes(b"{} ")
    assert len({before, after, recorded(config)[1]}) == 3


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "权重/model_index.json", "{}").parent


def test_a_wrong_dataset_is_left_to_the_checks_of_the_start(config) -> None:
    dataset = config["dataset"]
    assert find_images(dataset) == [Path("工.png").resolve(), Path("edits/1.png")]
    write(Path("items.jsonl"), "{")
    assert find_images(dataset) == []
    Path("items.jsonl").unlink()
    assert find_annotations(dataset) == []
    RuleParams(config, lambda path, name: name).hash_dataset()
