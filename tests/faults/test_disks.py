"""A disk that is full or cannot be written: real file systems, mounted for the test. They need root."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from full_disk import fill
from project import wait_for
from trial import PATIENCE, final_lines

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def mount(*arguments) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")


@pytest.fixture
def disk(trial):
    """Where the run's disk is mounted: its results and Snakemake's own notes lie there."""
    folder = trial.project.folder / "disk"
    folder.mkdir()
    yield folder
    trial.clean_up()
    while os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


def move_onto(disk, project, *, notes=True) -> None:
    for name in ("results", ".snakemake") if notes else ("results",):
        shutil.copytree(project.folder / name, disk / name)
        shutil.rmtree(project.folder / name)
        (project.folder / name).symlink_to(disk / name)


@pytest.mark.parametrize(
    ("name", "where"),
    [
        pytest.param(
            "while editing", {"at": "editlane.editors.fake:FakeEditor.edit", "nth": 2, "times": 3},
            marks=pytest.mark.runs,
        ),
        pytest.param(
            "while judging", {"at": "editlane.judges.fake:FakeJudge.read_out", "nth": 2, "times": 3},
            marks=pytest.mark.faults,
        ),
        pytest.param("while merging", {"at": "editlane.lanes.merging:merge"}, marks=pytest.mark.faults),
    ],
)  # fmt: skip
def test_a_full_disk_stops_the_run_and_with_space_the_same_command_goes_on(trial, disk, name, where) -> None:
    mount("-t", "tmpfs", "-o", "size=16m", "editlane-faults", disk)
    move_onto(disk, trial.project)
    where = dict(where)
    trial.plan("full", where.pop("at"), "wait", **where)
    trial.start()
    trial.fires()
    filler = fill(disk)
    trial.strikes_now()
    trial.let_go("full")
    trial.notices(lambda: trial.run.poll() is not None)
    out = trial.ends()
    assert "error: cannot read or write results/试验: No space left on device" in final_lines(out)
    filler.unlink()
    trial.again()
    trial.verdict(f"disk full {name}")


@pytest.fixture
def ext4(trial, disk):
    """A real file system in a file, which can turn read-only as after an error of the disk."""
    image = trial.project.folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("no mkfs.ext4")
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mount("-o", "loop,commit=300", image, disk)  # nothing reaches the disk by itself
    move_onto(disk, trial.project)
    subprocess.run(["sync", "-f", disk], check=True)
    return image


@pytest.mark.faults
@pytest.mark.parametrize(
    ("where", "notes", "message"),
    [
        ("results", False, "cannot write to results/试验: Read-only file system"),
        ("all", True, "where Snakemake keeps its"),
    ],
)
def test_a_read_only_disk_stops_the_run_before_anything_starts(trial, disk, where, notes, message) -> None:
    mount("-t", "tmpfs", "-o", "size=16m", "editlane-faults", disk)
    move_onto(disk, trial.project, notes=notes)
    mount("-o", "remount,ro", disk)
    trial.strikes_now()
    trial.start()
    trial.notices(lambda: trial.run.poll() is not None)
    out = trial.ends(2)
    assert message in final_lines(out)
    assert "Traceback" not in out
    mount("-o", "remount,rw", disk)
    trial.again()
    trial.verdict(f"read-only at the start: {where}")


@pytest.mark.faults
def test_a_disk_that_turns_read_only_under_a_run_stops_it_and_the_same_command_goes_on(trial, disk, ext4) -> None:
    """What Linux does with a file system after an error of its disk: open files cannot be written any more, either."""
    trial.plan("abort", "editlane.editors.fake:FakeEditor.edit", "wait", nth=2, times=3)
    trial.start()
    trial.fires()
    mount("-o", "remount,abort", disk)
    trial.strikes_now()
    trial.let_go("abort")
    trial.notices(lambda: trial.run.poll() is not None)
    out = trial.ends()
    assert "error: cannot read or write results/试验: Read-only file system" in final_lines(out)
    subprocess.run(["umount", disk], check=True)
    mount("-o", "loop", ext4, disk)
    trial.again()
    trial.verdict("the disk turns read-only under the run")


@pytest.mark.faults
def test_a_power_cut_keeps_what_was_finished(trial, disk, ext4) -> None:
    """The disk as it is at that moment, without what only the memory knew: a copy of it, made while it is in use."""
    trial.plan(
        "cut", "editlane.lanes.journal:Journal.finish", "wait", program="edit_lane.py", nth=3, times=3, after=True
    )
    trial.start()
    fired = trial.project.folder / "faults/fired"
    wait_for(lambda: len(list(fired.glob("cut.[0-9]"))) == 3, PATIENCE)
    promised = trial.progress()[0]
    left = ext4.with_name("left.img")
    shutil.copyfile(ext4, left)
    trial.strikes_now()
    os.killpg(trial.run.pid, signal.SIGKILL)
    trial.notices(lambda: trial.run.poll() is not None)
    trial.devices_come_back()
    subprocess.run(["umount", disk], check=True)
    mount("-o", "loop", left, disk)
    assert trial.progress()[0] == promised == 9
    trial.again()
    trial.verdict("the power is cut while editing")


@pytest.mark.faults
def test_a_disk_without_inodes_kills_no_item_however_often_it_is_tried(trial, finished, tmp_path) -> None:
    """One item is left. Four attempts of its lane find no room for its image, and none of them is a death."""
    trial.project = finished.copy(tmp_path / "one left")
    results = trial.project.results
    edited = next(row for row in trial.tables("edits") if row["state"] == "edited")
    table = table_of(trial, edited)
    for path in (table, *results.glob(f"fake-a/scores/*/*/{table.name}"), results / "scores.parquet"):
        path.unlink()
    journal = results / f"journal/edit/fake-a/{table.stem}.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if edited["edited_path"].encode() not in line))
    images = (results / edited["edited_path"]).parent
    (results / edited["edited_path"]).unlink()
    mount("-t", "tmpfs", "-o", "nr_inodes=1", "editlane-faults", images)
    try:
        trial.strikes_now()
        trial.start()
        trial.notices(lambda: trial.run.poll() is not None)
        assert "No space left on device" in final_lines(trial.ends())
    finally:
        subprocess.run(["umount", images], check=True)
    trial.again()
    trial.verdict("no inode is left for the image of the last item")


def table_of(trial, row) -> Path:
    """The lane's table that has this row."""
    paths = trial.project.results.glob(f"{row['editor']}/edits/{row['category']}/lane*.parquet")
    return next(path for path in paths if row["item_id"] in pq.read_table(path)["item_id"].to_pylist())


@pytest.mark.faults
@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("an image", {"at": "os:replace", "match": "/images/", "program": "edit_lane.py"}),
        ("the journal", {"at": "os:fsync", "program": "score_lane.py", "nth": 4}),
        ("a table", {"at": "os:replace", "match": "scores.parquet.partial"}),
    ],
)
def test_a_disk_that_fails_stops_the_run_in_one_paragraph_and_the_same_command_goes_on(trial, name, where) -> None:
    """As many attempts as would be deaths of an item, and more."""
    where = dict(where)
    trial.plan("eio", where.pop("at"), "eio", onwards=True, times=60, **where)
    trial.start()
    trial.fires()
    trial.notices(lambda: trial.run.poll() is not None)
    out = trial.ends()
    assert "Input/output error. The disk, or the server behind it, fails" in final_lines(out)
    assert "Traceback" not in out
    shutil.rmtree(trial.project.folder / "faults/tokens")
    trial.project.faults.clear()
    trial.again()
    trial.verdict(f"the disk fails: {name}")
