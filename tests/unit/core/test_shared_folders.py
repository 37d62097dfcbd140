"""Folders that runs share: whole or not there, built once, and never taken from somebody who reads them."""

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
