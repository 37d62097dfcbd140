"""Loading: what it consists of, and a checkpoint that one process reads ahead for all."""

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from editlane.models import host_memory, load_times, page_cache
from editlane.models.load_times import get_seconds, measure_phase
from editlane.models.page_cache import read_ahead

SIZE = 20 * 2**20
"""Bytes of a file: one block and a part of one."""


@pytest.fixture(autouse=True)
def leases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPULEASE_DIR", str(tmp_path))


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two files on the disk and not in the page cache."""
    found = [tmp_path / f"模型-{number}.safetensors" for number in (1, 2)]
    for path in found:
        path.write_bytes(os.urandom(SIZE))
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if shutil.which("fincore") is None or cached(found):
        pytest.skip("no fincore (util-linux), or a file system that keeps everything in memory")
    return found


def cached(paths: list[Path]) -> int:
    """Bytes of the files that are in the page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", *map(str, paths)]
    return sum(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))


def read(paths: list[Path]) -> None:
    """Read ahead, and wait for it."""
    read_ahead(lambda: paths)
    page_cache._readers[-1].join()


def test_phases_are_added_up() -> None:
    for _ in range(2):
        with measure_phase("transfer"):
            time.sleep(0.01)
    with pytest.raises(RuntimeError), measure_phase("warm-up"):
        raise RuntimeError("a kernel does not compile")
    assert get_seconds()["transfer"] >= 0.02
    assert get_seconds()["warm-up"] > 0
    assert (get_seconds()["imports"], get_seconds()["reading"]) == (0, 0)


def test_an_unknown_phase_and_one_inside_of_another_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown phase 'transport'"), measure_phase("transport"):
        pass
    with (
        measure_phase("imports"),
        pytest.raises(ValueError, match="'transfer' inside of 'imports'"),
        measure_phase("transfer"),
    ):
        pass
    with measure_phase("transfer"):
        pass


def test_the_imports_of_the_step_count_from_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    since = time.monotonic() - 2
    monkeypatch.setenv("GPULEASE_SINCE", str(since))
    load_times.record_imports()
    assert 2 <= get_seconds()["imports"] <= time.monotonic() - since


def test_a_checkpoint_is_in_the_page_cache_once_it_was_read(shards: list[Path]) -> None:
    read(shards)
    assert cached(shards) > 0.99 * 2 * SIZE  # the kernel may take pages back at any time
    with measure_phase("transfer"):
        time.sleep(0.01)
    assert get_seconds()["reading"] == 0
    assert get_seconds()["transfer"] >= 0.01


def test_a_checkpoint_that_does_not_fit_into_memory_is_not_read(shards: list[Path], monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(page_cache, "read_available_memory", lambda: 2**20)
    read(shards)
    assert cached(shards) == 0
    assert "not reading the checkpoint ahead" in caplog.text


def test_the_memory_that_is_available_is_less_than_that_of_the_machine() -> None:
    assert 2**20 < host_memory.read_available_memory() < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize("name", ["no such file", "."])
def test_what_cannot_be_read_is_left_to_the_loader(tmp_path: Path, name: str, caplog) -> None:
    read([tmp_path / name])
    assert "cannot read the checkpoint ahead" in caplog.text


def test_a_checkpoint_that_is_none_is_left_to_the_loader(caplog) -> None:
    def broken() -> list[Path]:
        raise KeyError("weight_map")

    read_ahead(broken)
    page_cache._readers[0].join()
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_without_a_folder_for_locks_it_is_read_all_the_same(shards: list[Path], monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("GPULEASE_DIR", "/proc/no such folder")
    read(shards)
    assert cached(shards) > 0.99 * 2 * SIZE
    assert "cannot open the lock file /proc/no such folder/checkpoint-" in caplog.text


def test_what_somebody_put_in_the_place_of_the_lock_holds_nobody_up(
    shards: list[Path], tmp_path: Path, monkeypatch, caplog
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(page_cache.hashlib, "sha256", lambda data: SimpleNamespace(hexdigest=lambda: "f" * 64))
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / f"checkpoint-{'f' * 16}.lock").symlink_to(precious)
    read(shards)
    assert cached(shards) > 0.99 * 2 * SIZE
    assert "is a link, where a lock file has to be" in caplog.text
    assert precious.read_text() == "mine"


def test_what_passes_while_files_are_still_read_is_no_transfer() -> None:
    read_ahead(lambda: time.sleep(0.05) or [])
    with measure_phase("transfer"):
        page_cache._readers[0].join()
        time.sleep(0.02)
    assert get_seconds()["reading"] > 0
    assert get_seconds()["transfer"] >= 0.02
    enough = threading.Event()

    def read_on() -> list[Path]:
        enough.wait(60)
        return []

    read_ahead(read_on)
    before = get_seconds()
    with measure_phase("transfer"):
        time.sleep(0.01)
    assert get_seconds()["transfer"] == before["transfer"]
    assert get_seconds()["reading"] >= before["reading"] + 0.01
    enough.set()
    page_cache._readers[1].join()


READER = """
import logging, sys, time
from pathlib import Path
sys.path.insert(0, "scripts")
from editlane.models import page_cache
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
files = list(map(Path, sys.argv[2:]))
if sys.argv[1] == "holds":
    with page_cache._take_turn(files):
        print("holds", flush=True)
        sys.stdin.readline()
else:
    page_cache.read_ahead(lambda: files)
    page_cache._readers[0].join()
"""


def reader(what: str, shards: list[Path]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", READER, what, *map(str, shards)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("dies", [False, True])
def test_who_waited_reads_nothing_unless_the_other_has_died(shards: list[Path], dies: bool) -> None:
    first = reader("holds", shards)
    assert first.stdout.readline() == "holds\n"
    second = reader("reads", shards)
    assert second.stdout.readline().startswith("another process is reading the checkpoint, and holds /")
    assert cached(shards) == 0
    if dies:
        first.kill()
    first.communicate("\n" if not dies else None)
    said = second.communicate(timeout=60)[0]
    assert second.returncode == 0
    assert cached(shards) == (2 * SIZE if dies else 0)
    assert ("read the checkpoint of 0.0 GB" in said) == dies


def test_who_comes_later_reads_again_what_has_left_the_memory(shards: list[Path]) -> None:
    read(shards)
    for path in shards:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert cached(shards) == 0
    read(shards)
    assert cached(shards) > 0.99 * 2 * SIZE


@pytest.mark.parametrize(("limit", "wanted"), [("64000", (64000, 64000 - 50000 + 9000)), ("max", None)])
def test_of_a_container_only_what_it_has_left_is_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, wanted: tuple[int, int] | None
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("50000\n")
    (tmp_path / "memory.stat").write_text("anon 41000\nactive_file 4000\ninactive_file 5000\n")
    monkeypatch.setattr(host_memory, "CGROUP", tmp_path)
    assert host_memory.read_container_memory() == wanted
    assert host_memory.read_available_memory() <= (wanted[1] if wanted else 10**15)
