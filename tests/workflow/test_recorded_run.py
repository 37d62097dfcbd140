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

from editlane.images.unchanged import RULE

HERE = Path(__file__).parent
TABLES = ("scores", "controls", "preservation", "costs")


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Path relative to the folder -> bytes, of all files that match."""
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def keeps(path: Path, recorded: pa.Table) -> bool:
    """Does the table hold what was recorded? Columns that were added since then are null.

    But `unchanged_rule` says where an edit was compared anew, which is where the older rule called it unchanged.
    """
    table = pq.read_table(path)
    added = set(table.column_names) - set(recorded.column_names)
    if "unchanged_rule" in added:
        added.remove("unchanged_rule")
        anew = [RULE if unchanged else None for unchanged in recorded["unchanged"].to_pylist()]
        if table["unchanged_rule"].to_pylist() != anew:
            return False
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


@pytest.mark.runs
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


@pytest.fixture
def prepared(finished):
    """The same, as if its dataset's content were recorded, which prepare_items has as a param since then."""
    edit_record(finished, "items.parquet", lambda record: record | {"record_format_version": 5})  # 5 has no params
    return finished


def edit_record(project, table: str, edit) -> None:
    """Change what Snakemake recorded of a table."""
    path = (project.results / table).relative_to(project.folder).as_posix()
    record = project.folder / ".snakemake/metadata" / base64.urlsafe_b64encode(path.encode()).decode()
    record.write_text(json.dumps(edit(json.loads(record.read_text()))))


def planned(project, *targets: str) -> set[str]:
    """The rules that have jobs to run."""
    return set(re.findall(r"^(?:local)?rule (\w+):", project.run("--dry-run", *targets), re.MULTILINE))


JUDGING = {"score_lane", "merge_scores", "merge_controls", "merge_costs"}


def test_a_finished_run_of_older_code_is_read_once_more_from_its_journals(finished) -> None:
    """Its tables may be older than the content of its inputs, which older code never compared."""
    assert {"prepare_items", "edit_lane", "score_lane"} < planned(finished, *(f"merge_{name}" for name in TABLES))


@pytest.mark.runs
def test_nothing_else_reruns_it_but_that_a_judges_lane_is_one_job_for_all_editors(prepared) -> None:
    targets = [f"merge_{name}" for name in TABLES]
    assert planned(prepared, *targets) == JUDGING
    recorded = {name: pq.read_table(prepared.results / f"{name}.parquet") for name in ("scores", "controls")}
    kept = ("journal/**/*", "*/images/**/*", "sources/**/*", "heartbeats/edit/**/*", "heartbeats/score/**/*")
    before = contents(prepared.results, *kept)
    prepared.run(*targets)
    assert contents(prepared.results, *kept) == before
    assert all(keeps(prepared.results / f"{name}.parquet", table) for name, table in recorded.items())
    assert planned(prepared, *targets) == set()


@pytest.mark.runs
def test_without_a_record_a_run_of_older_code_is_done_again_only_with_other_settings(finished) -> None:
    """As after a move without `.snakemake`: its tables tell the keys of the editor and the judge, and nothing else."""
    shutil.rmtree(finished.folder / ".snakemake")
    protocols = finished.folder / "resources/protocols"  # older than the tables, unlike those of a fresh checkout
    original = protocols.resolve()
    protocols.unlink()
    shutil.copytree(original, protocols)
    for path in protocols.iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
    targets = [f"merge_{name}" for name in TABLES]
    assert planned(finished, *targets) == set()
    finished.config["seed"] = 43
    assert planned(finished, *targets) == JUDGING | {"edit_lane", "measure_preservation", "merge_preservation"}
    del finished.config["seed"]
    assert planned(finished, *targets) == set(), "the plan above changed nothing"
    finished.config["judges"]["judge"]["params"]["unreadable_rate"] = 0.5
    assert planned(finished, *targets) == JUDGING


def test_the_test_above_sees_a_changed_rule(prepared) -> None:
    def rename_flag(record):
        return record | {"code": record["code"].replace("--lanes", "--number")}

    edit_record(prepared, "preservation.parquet", rename_flag)
    assert planned(prepared, *(f"merge_{name}" for name in TABLES)) == JUDGING | {"merge_preservation"}
