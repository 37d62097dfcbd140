"""What is stored keeps its meaning: runs recorded at commit 436c714 go on without computing anything again.

`recorded_run` has the journals, images and top tables of two editors and two judges. `finished_run` is a whole small
run with Snakemake's own record of it, and `times.json` the order in which its files were written.
"""

import base64
import json
import os
import re
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

HERE = Path(__file__).parent
TABLES = ("scores", "controls", "preservation", "costs")


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Path relative to the folder -> bytes, of all files that match."""
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def keeps(path: Path, recorded: pa.Table) -> bool:
    """Does the table hold what was recorded? Columns that were added since then are null."""
    table = pq.read_table(path)
    added = set(table.column_names) - set(recorded.column_names)
    return table.select(recorded.column_names).equals(recorded) and all(
        table[name].null_count == len(table) for name in added
    )


def take_over(project, recorded: Path) -> None:
    """Put a recorded run into the project's folder."""
    project.config = yaml.safe_load((recorded / "config.yaml").read_text(encoding="utf-8"))
    shutil.rmtree(project.folder / "data")
    shutil.copytree(recorded / "data", project.folder / "data")
    shutil.copytree(recorded / "run", project.results)


@pytest.fixture
def resumed(project):
    """The recorded run without its tables, continued by the code of today."""
    take_over(project, HERE / "recorded_run")
    for path in project.results.glob("*.parquet"):
        path.unlink()
    project.run("merge_scores", "merge_controls")
    return project


def test_a_run_of_older_code_is_resumed_without_computing_anything(resumed) -> None:
    results, recorded = resumed.results, HERE / "recorded_run/run"
    kept = ("journal/**/*", "*/images/**/*", "sources/**/*", "heartbeats/*/**/*")
    assert contents(recorded, *kept) == contents(results, *kept)
    for name in ("items", "plan", "scores", "controls"):
        assert keeps(results / f"{name}.parquet", pq.read_table(recorded / f"{name}.parquet")), name


@pytest.fixture
def finished(project):
    """The whole run, as Snakemake left it."""
    recorded = HERE / "finished_run"
    take_over(project, recorded)
    shutil.copytree(recorded / "snakemake_metadata", project.folder / ".snakemake/metadata")
    now = time.time() - 3600
    for name, seconds in json.loads((recorded / "times.json").read_text(encoding="utf-8")).items():
        os.utime(project.folder / name, (now + seconds, now + seconds))
    return project


def planned(project, *targets: str) -> set[str]:
    """The rules that have jobs to run."""
    return set(re.findall(r"^(?:local)?rule (\w+):", project.run("--dry-run", *targets), re.MULTILINE))


JUDGING = {"score_lane", "merge_scores", "merge_controls", "merge_costs"}


def test_of_a_finished_run_of_older_code_only_the_judging_is_read_once_more_from_its_journal(finished) -> None:
    """A judge's lane is a job for all editors since then. No other command, params or inputs differ."""
    targets = [f"merge_{name}" for name in TABLES]
    assert planned(finished, *targets) == JUDGING
    recorded = {name: pq.read_table(finished.results / f"{name}.parquet") for name in ("scores", "controls")}
    kept = ("journal/**/*", "*/images/**/*", "sources/**/*", "heartbeats/edit/**/*", "heartbeats/score/**/*")
    before = contents(finished.results, *kept)
    finished.run(*targets)
    assert contents(finished.results, *kept) == before
    assert all(keeps(finished.results / f"{name}.parquet", table) for name, table in recorded.items())
    assert planned(finished, *targets) == set()


def test_the_test_above_sees_a_changed_rule(finished) -> None:
    record = finished.folder / ".snakemake/metadata" / name_record(finished, "preservation.parquet")
    written = json.loads(record.read_text())
    record.write_text(json.dumps(written | {"code": written["code"].replace("--lanes", "--number")}))
    assert planned(finished, *(f"merge_{name}" for name in TABLES)) == JUDGING | {"merge_preservation"}


def name_record(project, table: str) -> str:
    """The name of Snakemake's record of a table."""
    path = (project.results / table).relative_to(project.folder).as_posix()
    return base64.urlsafe_b64encode(path.encode()).decode()
