"""Snakemake's records of a run's outputs move with the run."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from editlane.core.checkout import CHECKOUT
from editlane.core.paths import RunPaths
from editlane.preflight.made_from import METADATA, OUTDATED, keep_records, mark_outdated, restore_records

R, Z = RunPaths.of_run("r"), RunPaths.of_run("改名")


def record_of(output: Path) -> dict[str, Any] | None:
    """What Snakemake itself reads of an output."""
    from snakemake.persistence.file import FilePersistence

    found = FilePersistence(nolock=True)._read_record(str(output))
    return dict(found.items()) if found else None


def write(paths: RunPaths, name: str, **record: Any) -> Path:
    """Write an output and let Snakemake record it."""
    from snakemake.persistence import MetadataRecord
    from snakemake.persistence.file import FilePersistence

    output = paths / name
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(name)
    made = MetadataRecord(rule="rule", params=["42"], input=[f"{paths.run_dir}/items.parquet", "data/照片.csv"])
    made.record_format_version, made.endtime = 6, output.stat().st_mtime
    for key, value in record.items():
        setattr(made, key, value)
    FilePersistence(nolock=True)._write_record(str(output), made)
    return output


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def move() -> None:
    R.run_dir.rename(Z.run_dir)


@pytest.mark.parametrize(
    "name", ["scores.parquet", "report/report.md", f"{'很长的名字' * 16}/edits/物理/lane0.parquet"]
)
def test_a_record_follows_a_run_that_is_renamed(name: str) -> None:
    write(R, name, params=["['--preservation', 'results/r/preservation.parquet']"], code="merge", shellcmd="/secret")
    keep_records(R)
    move()
    assert restore_records(Z) == []
    found = record_of(Z / name)
    assert found["params"] == ["['--preservation', 'results/改名/preservation.parquet']"]
    assert found["input"] == ["data/照片.csv", "results/改名/items.parquet"]
    assert (found["code"], found["record_format_version"]) == ("merge", 6)
    assert "secret" not in Z.made_from.read_text(encoding="utf-8")


def test_a_record_names_no_file_of_the_checkout_by_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = "resources/protocols/rubric.yaml"
    write(R, "scores.parquet", input_checksums={f"{CHECKOUT}/{protocol}": "sha256:1"})
    keep_records(R)
    assert str(CHECKOUT) not in R.made_from.read_text(encoding="utf-8")
    shutil.rmtree(METADATA.parent)
    monkeypatch.setattr("editlane.preflight.made_from.CHECKOUT", Path("/elsewhere"))
    restore_records(R)
    assert METADATA.with_name("incomplete").is_dir(), "else Snakemake says that it migrates an old folder"
    assert record_of(R.scores)["input_checksums"] == {f"/elsewhere/{protocol}": "sha256:1"}


def test_a_record_that_snakemake_has_is_left_alone() -> None:
    output = write(R, "scores.parquet")
    keep_records(R)
    write(R, "scores.parquet", params=["43"], endtime=output.stat().st_mtime)
    assert restore_records(R) == []
    assert record_of(output)["params"] == ["43"]


def test_a_run_that_takes_the_name_of_another_brings_its_own_records() -> None:
    os.utime(write(R, "scores.parquet", params=["mine"]), (10**9, 10**9))
    keep_records(R)
    write(Z, "scores.parquet", params=["another run's"])
    shutil.rmtree(Z.run_dir)
    move()
    assert restore_records(Z) == []
    assert record_of(Z.scores)["params"] == ["mine"]


def test_what_a_killed_workflow_made_is_made_again() -> None:
    write(R, "items.parquet")
    keep_records(R)
    write(R, "scores.parquet")
    os.utime(write(R, "items.parquet", params=["43"]), (10**9, 10**9))
    shutil.rmtree(METADATA)
    assert restore_records(R) == []
    for output in (R.items, R.scores):
        assert record_of(output)["params"] == OUTDATED["params"]


def test_an_output_without_a_record_stays_trusted() -> None:
    write(R, "scores.parquet")
    shutil.rmtree(METADATA)
    for _ in range(2):
        assert restore_records(R) == [R.scores]
        assert record_of(R.scores) is None
        keep_records(R)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"records": [{}], "outputs": {"scores.parquet": [1, 0]}}', "[" * 9999]
)
def test_a_damaged_file_is_like_none(text: str) -> None:
    write(R, "scores.parquet")
    shutil.rmtree(METADATA)
    R.made_from.write_text(text)
    assert restore_records(R) == [R.scores]
    keep_records(R)
    assert list(json.loads(R.made_from.read_bytes())["outputs"]) == ["scores.parquet"]


def test_the_outputs_of_a_job_share_their_record() -> None:
    for category in "甲乙丙":
        write(R, f"e/edits/{category}/lane0.parquet")
    keep_records(R)
    assert len(json.loads(R.made_from.read_bytes())["records"]) == 1


def test_a_marked_output_has_other_params_for_every_snakemake() -> None:
    write(R, "scores.parquet")
    mark_outdated([R.scores])
    found = record_of(R.scores)
    assert found["params"] == OUTDATED["params"]
    assert found["record_format_version"] > 6
    assert found["endtime"] == R.scores.stat().st_mtime


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_mark_that_no_workflow_acted_on_is_taken_back(is_kept: bool) -> None:
    write(R, "scores.parquet")
    if is_kept:
        keep_records(R)
    mark_outdated([R.scores])
    assert restore_records(R) == ([] if is_kept else [R.scores])
    found = record_of(R.scores)
    assert found["params"] == ["42"] if is_kept else found is None


def test_a_mark_that_a_workflow_could_not_act_on_stays() -> None:
    write(R, "scores.parquet")
    mark_outdated([R.scores])
    keep_records(R)
    shutil.rmtree(METADATA)
    assert restore_records(R) == []
    assert record_of(R.scores)["params"] == OUTDATED["params"]
