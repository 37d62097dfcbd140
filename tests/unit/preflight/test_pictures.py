"""Pictures of a run that were deleted or replaced after they were judged."""

import os
import shutil
from pathlib import Path

import pytest
from preflight_project import CATEGORIES, fake_config, levels, make_context, prepare, write_project
from step_commands import GOOD
from step_runs import run_step_program

from editlane.preflight import input_contents, pictures
from editlane.preflight.pictures import check_pictures

RUN = Path("results/试验")


@pytest.fixture
def edited(tmp_path: Path, monkeypatch) -> Path:
    """A run of six items whose edits are made, in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    prepare(tmp_path, RUN)
    for name in ("split_lanes", "edit_lane"):
        flags = [word.replace("run/", f"{RUN}/") for flag, values in GOOD[name].items() for word in (flag, *values)]
        flags = [str(RUN) if word == "run" else word for word in flags]
        assert run_step_program(name, flags, tmp_path).code == 0
    return tmp_path / RUN


def find(**config) -> list[str]:
    found = list(check_pictures(make_context(fake_config(**config))))
    assert levels(found) in ([], ["pass"]) or set(levels(found)) == {"warn"}
    return [f"{one.text} {one.remedy}" for one in found if one.level == "warn"]


def pick(edited: Path, what: str) -> Path:
    return sorted(path for path in (edited / what).rglob("*.png"))[0]


def test_pictures_as_recorded_pass_without_being_read(edited: Path, monkeypatch) -> None:
    monkeypatch.setattr(pictures.FileDigests, "_hash", lambda *_: pytest.fail("was read"))
    assert [one.text for one in check_pictures(make_context())] == ["6 edits and 6 sources of the run are as recorded"]


def test_a_run_without_edits_has_nothing_to_tell(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    assert list(check_pictures(make_context(fake_config()))) == []


@pytest.mark.parametrize(("what", "rule"), [("a/images", "edit_lane"), ("sources", "prepare_items")])
def test_a_deleted_picture_is_named_with_what_to_do(edited: Path, what: str, rule: str) -> None:
    lost = pick(edited, what)
    lost.unlink()
    (told,) = find()
    assert told.startswith("1 edit of a deleted" if what == "a/images" else "1 source deleted")
    assert str(lost.relative_to(edited)) in told
    assert f"`--forcerun {rule}`" in told


@pytest.mark.parametrize("what", ["a/images", "sources"])
def test_a_picture_that_was_replaced_with_its_old_time_is_named(edited: Path, what: str) -> None:
    path = pick(edited, what)
    before, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    (told,) = find()
    assert str(path.relative_to(edited)) in told


def test_a_copied_run_is_read_and_passes(edited: Path) -> None:
    shutil.copytree(edited, edited.with_name("另一"))
    assert find(run="另一") == []


def test_a_start_reads_for_a_limited_time_and_the_next_one_goes_on(edited: Path, monkeypatch) -> None:
    shutil.copytree(edited, edited.with_name("另一"))
    read: list[Path] = []
    monkeypatch.setattr(input_contents, "SETTLED_SECONDS", -60.0)
    hash_one = pictures.hash_image
    monkeypatch.setattr(pictures, "hash_image", lambda path: read.append(path) or hash_one(path))
    monkeypatch.setattr(pictures, "BATCH", 2)
    clock = iter([0.0, 1.0, 99.0, 99.0])
    monkeypatch.setattr(pictures.time, "monotonic", lambda: next(clock))
    (told,) = check_pictures(make_context(fake_config(run="另一")))
    assert told.level == "pass" and "but for 10 that were not read within 20 s" in told.text
    monkeypatch.undo()
    assert len(read) == 2


def test_editors_that_the_config_no_longer_has_and_damaged_tables_are_left_to_others(edited: Path) -> None:
    pick(edited, "a/images").unlink()
    assert find(editors={"b": {"adapter": "fake"}}) == []
    for category in CATEGORIES:
        (edited / f"a/edits/{category}/lane0.parquet").write_bytes(b"no table")
    assert find() == []
