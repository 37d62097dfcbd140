"""What a workflow does before its first job."""

import fcntl
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from preflight_project import fake_config

from editlane.core.errors import UserError
from editlane.core.locks import check_links
from editlane.core.paths import RunPaths
from editlane.models.tiny import FILE_LIST
from editlane.preflight.made_from import METADATA
from editlane.preflight.workflow_run import WorkflowRun, load_config


@pytest.fixture
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The marks of a run that used photos and two tiny models, of which one is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging, "raiseExceptions", True)  # a run switches it off
    marks = RunPaths.of_run("r").built("")
    marks.mkdir(parents=True)
    for name in ("photos", "tiny-gone", "tiny-there", "tiny-damaged"):
        (marks / name).touch()
    for name in ("tiny-there", "tiny-damaged"):
        folder = tmp_path / "resources/models" / name
        folder.mkdir(parents=True)
        (folder / "weights").write_text("1")
        (folder / FILE_LIST).write_text('{"weights": 1}')
    (tmp_path / "resources/models/tiny-damaged/weights").unlink()
    return marks


def make_run(*, is_main_process: bool = True) -> WorkflowRun:
    settings = SimpleNamespace(quiet=None, verbose=False, printshellcmds=False)
    modifier = SimpleNamespace(modify_rulename=lambda name: name)
    workflow = SimpleNamespace(modifier=modifier, output_settings=settings, is_main_process=is_main_process)
    return WorkflowRun(fake_config(run="r", arena=None), workflow)


def forget(*, is_main_process: bool = True) -> None:
    make_run(is_main_process=is_main_process).forget_lost_folders()


def left(marks: Path) -> list[str]:
    return sorted(path.name for path in marks.iterdir())


def test_what_is_gone_or_damaged_is_built_again(marks: Path) -> None:
    forget()
    assert left(marks) == ["tiny-there"]


def test_the_jobs_of_a_cluster_change_nothing(marks: Path) -> None:
    before = left(marks)
    forget(is_main_process=False)
    assert left(marks) == before


def test_a_folder_that_may_not_be_looked_into_is_no_crash(marks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: Path, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as denied:
        denied.setattr(Path, "stat", deny)
        forget()
    assert len(left(marks)) == 4


@pytest.mark.parametrize("limit", [None, 0, -1, 1.5, "abc", True, [1]])
def test_a_limit_of_the_command_that_is_no_number_of_items_is_named_as_it_was_given(limit: object, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        load_config(fake_config(limit=limit), SimpleNamespace(configfiles=[]))
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert said.startswith(f"error: `--config limit=` is {limit!r}; it takes a whole number of 1 or more")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a link of another user")
@pytest.mark.parametrize("place", ["logs", "甲/images", "scores.parquet"])
def test_a_link_of_another_user_in_the_results_is_refused(tmp_path: Path, place: str) -> None:
    link = tmp_path / "results/r" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path)
    check_links(tmp_path / "results/r")  # one's own: results may lie on several disks
    os.lchown(link, 4321, 4321)
    with pytest.raises(UserError, match=f"{link} is a link that belongs to .*4321.* choose another `run:`"):
        check_links(tmp_path / "results/r")


def test_nothing_is_compared_while_another_workflow_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", True)  # a run switches it off
    monkeypatch.chdir(tmp_path)
    paths = RunPaths.of_run("r")
    paths.run_dir.mkdir(parents=True)
    paths.items.write_text("of a killed workflow")
    paths.made_from.write_text('{"records": [], "outputs": {}}')
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_run().compare_with_records()
        assert not METADATA.exists()
    make_run(is_main_process=False).compare_with_records()
    assert not METADATA.exists()
    make_run().compare_with_records()
    assert len(list(METADATA.iterdir())) == 1
