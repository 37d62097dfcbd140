"""Folders that runs share: whole or not there, built once, and never taken from somebody who reads them."""

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from editlane.core.errors import UserError
from editlane.core.shared_folders import hold_build_lock, put_files

FILES = {"a.ppm": b"one", "猫.ppm": b"two"}


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def identify(path: Path) -> tuple[int, int]:
    """What would be new if the file had been written again."""
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    class Broken(dict[str, bytes]):
        def items(self) -> Iterator[tuple[str, bytes]]:  # type: ignore[override]
            yield from FILES.items()
            assert not (tmp_path / "canary/pictures").exists()
            raise OSError("No space left on device")

    broken: Mapping[str, bytes] = Broken()
    with pytest.raises(OSError, match="No space left"):
        put_files(tmp_path / "canary/pictures", broken)
    assert not (tmp_path / "canary/pictures").exists()
    put_files(tmp_path / "canary/pictures", FILES)
    assert read(tmp_path / "canary/pictures") == FILES
    assert sorted(path.name for path in (tmp_path / "canary").iterdir()) == [".pictures.lock", "pictures"]


def test_what_is_there_is_not_touched_and_what_is_wrong_is_put_right(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    put_files(folder, FILES)
    before = identify(folder / "a.ppm")
    (folder / "猫.ppm").write_bytes(b"somebody's own")
    put_files(folder, FILES)
    assert read(folder) == FILES
    assert identify(folder / "a.ppm") == before


def test_who_comes_second_waits_and_finds_what_the_first_has_built(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "pictures"
    second = threading.Thread(target=put_files, args=(folder, FILES))
    with hold_build_lock(folder):
        second.start()
        while "waits for another run, which builds" not in caplog.text:
            assert second.is_alive()
        folder.mkdir()
        (folder / "a.ppm").write_bytes(b"one")
        before = identify(folder / "a.ppm")
    second.join()
    assert read(folder) == FILES
    assert identify(folder / "a.ppm") == before


def test_the_lock_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / ".pictures.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"\.pictures\.lock is a link, where a lock file has to be"):
        put_files(tmp_path / "pictures", FILES)
    assert [path.name for path in tmp_path.iterdir()] == [".pictures.lock"]


def test_a_link_that_somebody_put_where_the_folder_is_built_is_not_followed(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.ppm").write_bytes(b"mine")
    folder = tmp_path / "shared/pictures"
    folder.parent.mkdir()
    for name in ("pictures.partial", ".pictures.x.partial"):
        (folder.parent / name).symlink_to(own)
    put_files(folder, FILES)
    assert not folder.is_symlink()
    assert (read(folder), read(own)) == (FILES, {"a.ppm": b"mine"})


def test_a_link_in_the_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    folder, own = tmp_path / "pictures", tmp_path / "own"
    own.write_bytes(b"mine")
    folder.mkdir()
    (folder / "a.ppm").symlink_to(own)
    (folder / "猫.ppm.partial").symlink_to(own)
    put_files(folder, FILES)
    assert (read(folder), own.read_bytes()) == (FILES, b"mine")


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".pictures.1234.partial/new").mkdir(parents=True)
    put_files(tmp_path / "pictures", FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".pictures.lock", "pictures"]


def test_a_folder_of_ones_own_behind_a_link_is_used_and_one_behind_somebody_elses_is_not(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    put_files(folder, FILES)
    assert read(elsewhere) == FILES
    (elsewhere / "a.ppm").write_bytes(b"mine")
    if os.geteuid() == 0:
        os.chown(folder, 4242, 4242, follow_symlinks=False)
        with pytest.raises(UserError, match=r"pictures is a link that another user made \(uid 4242\)"):
            put_files(folder, FILES)
        assert (elsewhere / "a.ppm").read_bytes() == b"mine"
    folder.unlink()
    folder.symlink_to("nowhere")
    with pytest.raises(UserError, match="is a link to something that is no folder"):
        put_files(folder, FILES)


def test_a_file_in_the_place_of_the_folder_is_not_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("mine")
    with pytest.raises(FileExistsError):
        put_files(tmp_path / "pictures", FILES)
    assert (tmp_path / "pictures").read_text() == "mine"


def test_a_folder_that_is_whole_needs_no_lock_and_no_disk_that_can_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (tmp_path / ".pictures.lock").mkdir()  # nobody could lock this
    put_files(folder, FILES)
    (folder / "a.ppm").unlink()
    with pytest.raises(UserError, match=r"or work in a folder of your own \(snakemake -d\)\.$"):
        put_files(folder, FILES)


def test_everybody_may_read_what_was_built(tmp_path: Path) -> None:
    put_files(tmp_path / "pictures", FILES)
    (tmp_path / "as-usual").mkdir()
    assert (tmp_path / "pictures").stat().st_mode == (tmp_path / "as-usual").stat().st_mode
