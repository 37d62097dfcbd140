import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from editlane.core import tables
from editlane.core.files import atomic_write, make_folder, replace_text
from editlane.images.files import save_png, write_atomically
from editlane.lanes.journal import Journal

SCHEMA = pa.schema([pa.field("n", pa.int64())])


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a/表.bin"
    write_atomically(path, b"before")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half of what was to come")
        raise RuntimeError
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in path.parent.iterdir()] == ["表.bin"]


@pytest.mark.parametrize(
    "write",
    [lambda path: write_atomically(path, b"new"), lambda path: replace_text(path, "new")],
    ids=["atomic_write", "replace_text"],
)
def test_a_link_in_the_place_of_a_half_written_file_is_not_followed(tmp_path: Path, write) -> None:
    """In a folder of several users, another one may put it there."""
    victim, path = tmp_path / "victim", tmp_path / "a.png"
    victim.write_bytes(b"mine")
    for put in (lambda partial: partial.symlink_to(victim), lambda partial: partial.hardlink_to(victim)):
        put(path.with_name("a.png.partial"))
        write(path)
        assert (victim.read_bytes(), path.read_bytes(), path.is_symlink()) == (b"mine", b"new", False)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.png", "victim"]


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(FileExistsError, match=r"a'$"):
        make_folder(tmp_path / "a/b")


def finish_one_item(folder: Path) -> None:
    """What a lane does to the disk for one item, and at its end."""
    with Journal(folder / "journal", "lane0") as journal:
        journal.begin(["key"])
        save_png(Image.new("RGB", (40, 30), "red"), folder / "images/因果/项目.png")
        journal.finish({"key": {"error_kind": None}})
    tables.write_table(folder / "edits/lane0.parquet", [{"n": 1}], SCHEMA)


EXPECTED = [
    ("fsync", "journal"),
    ("write", "journal/lane0.jsonl"),  # begin: need not outlive the machine
    ("write", "images/因果/项目.png.partial"),
    ("fsync", "images/因果/项目.png.partial"),
    ("rename", "images/因果/项目.png"),
    ("fsync", "images/因果"),
    ("write", "journal/lane0.jsonl"),
    ("fsync", "journal/lane0.jsonl"),
    ("write", "edits/lane0.parquet.partial"),
    ("fsync", "edits/lane0.parquet.partial"),
    ("rename", "edits/lane0.parquet"),
    ("fsync", "edits"),
]
"""What happens to the files and folders of a run, without the folders that are made on the way."""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_the_system_calls_come_in_the_order_that_a_power_cut_forgives(tmp_path: Path) -> None:
    """Each file: written, on the disk, renamed, its name on the disk. The image: before the journal speaks of it."""
    log = tmp_path / "strace.log"
    code = f"""
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
sys.path[:0] = {[str(Path(name).resolve()) for name in ("scripts", "tests/unit/core", "tests/helpers")]!r}
from test_files import finish_one_item
finish_one_item(Path({str(tmp_path / "run")!r}))
"""
    calls = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,mkdir"
    command = ["strace", "-f", "-y", "-xx", "-e", f"trace={calls}", "-o", str(log), sys.executable, "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    if "ptrace" in done.stderr.lower() and not (tmp_path / "run").exists():
        pytest.skip(f"strace may not trace here: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    happened = list(traced(log.read_text(), tmp_path / "run"))
    made = [path for call, path in happened if call == "mkdir"]
    assert made == [".", "journal", "images", "images/因果", "edits"]
    for folder in made[1:]:  # the name of each new folder is on the disk before anything else happens
        assert happened[happened.index(("mkdir", folder)) + 1] == ("fsync", str(Path(folder).parent))
    parents = [("fsync", "."), ("fsync", "images")]
    order = [one for one in happened if one[0] != "mkdir" and one not in parents]
    assert once(order) == EXPECTED


def traced(text: str, folder: Path) -> Iterator[tuple[str, str]]:
    """(call, path within the folder) of every call about something in there; for a rename the new path."""
    names = {"fdatasync": "fsync", "pwrite64": "write", "renameat": "rename", "renameat2": "rename"}
    for line in text.splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        strings = re.findall(r"(?:\\x[0-9a-f]{2})+", line)
        if call and strings:
            name = names.get(call[1], call[1])
            path = bytes.fromhex(strings[1 if name == "rename" else 0].replace("\\x", "")).decode(errors="replace")
            if Path(path).is_relative_to(folder):
                yield name, str(Path(path).relative_to(folder))


def once(calls: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without repetitions of neighbours: a file may be written in several pieces."""
    return [call for place, call in enumerate(calls) if place == 0 or calls[place - 1] != call]
