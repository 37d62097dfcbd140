"""What is stored keeps its meaning: runs recorded at commit 436c714 go on without computing anything again.

Only their controls are others since then: a judge is asked the new ones, and no edit is made or judged again.

`recorded_run` has the journals, images and top tables of two editors and two judges. `finished_run` is a whole small
run with Snakemake's own record of it, and `times.json` the order in which its files were written.
"""

import base64
import json
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from editlane.images.unchanged import RULE
from editlane.stats.acceptance import ASKED

HERE = Path(__file__).parent
TABLES = ("scores", "controls", "preservation", "costs")


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """Path relative to the folder -> bytes, of all files that match."""
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


SIZES = ("requested_width", "requested_height", "edited_width", "edited_height")


def read_sizes(paths: Iterable[Path]) -> dict[tuple[str, str], tuple[int | None, ...]]:
    """Return the sizes of edits by editor and item; edits tables and scores tables have them."""
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return {(row["editor"], row["item_id"]): tuple(row[name] for name in SIZES) for row in rows}


def keeps(path: Path, recorded: pa.Table) -> bool:
    """Does the table hold what was recorded? Columns that were added since then are null.

    But `unchanged_rule` says where an edit was compared anew, which is where the older rule called it unchanged, and
    the sizes are those of the edits.
    """
    table = pq.read_table(path)
    added = set(table.column_names) - set(recorded.column_names)
    if "unchanged_rule" in added:
        added.remove("unchanged_rule")
        anew = [RULE if unchanged else None for unchanged in recorded["unchanged"].to_pylist()]
        if table["unchanged_rule"].to_pylist() != anew:
            return False
    if added >= set(SIZES):
        added -= set(SIZES)
        if read_sizes([path]) != read_sizes(path.parent.glob("*/edits/*/*.parquet")):
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


def count_new_controls(results: Path, recorded: pa.Table) -> int:
    """Return the number of answers to controls that were not there when the run was recorded.

    The journal of every editor gets the answer to a question that is the same for all.
    """

    def questions(table: pa.Table) -> set[tuple]:
        names = ("judge", "editor", "control", "item_id", "repeat")
        return {tuple(row[name] for name in names) for row in table.to_pylist() if row["state"] in ASKED}

    return len(questions(pq.read_table(results / "controls.parquet")) - questions(recorded))


def answers(table: pa.Table) -> dict[tuple, tuple]:
    """Return the answers about controls by what was asked, with the seconds that they took."""
    names = ("judge", "editor", "control", "item_id", "repeat")
    rows = table.select([*names, "state", "score", "reply", "score_seconds"]).to_pylist()
    return {tuple(row.pop(name) for name in names): tuple(row.values()) for row in rows}


@pytest.mark.runs
def test_a_run_of_older_code_is_resumed_without_computing_anything_but_its_new_controls(resumed) -> None:
    results, recorded = resumed.results, HERE / "recorded_run/run"
    kept = ("journal/edit/**/*", "*/images/**/*", "sources/**/*", "heartbeats/edit/**/*")
    assert contents(recorded, *kept) == contents(results, *kept)
    computed = 0
    for name, before in contents(recorded, "journal/score/**/*").items():
        assert (results / name).read_bytes().startswith(before), name
        computed += sum(line.startswith(b'{"key"') for line in before.splitlines())
    for name in ("items", "scores"):
        assert keeps(results / f"{name}.parquet", pq.read_table(recorded / f"{name}.parquet")), name
    old, new = (answers(pq.read_table(folder / "controls.parquet")) for folder in (recorded, results))
    both = old.keys() & new.keys()
    assert {key for key in both if key[2] == "repeat"} == {key for key in old if key[2] == "repeat"}
    assert {key: old[key] for key in both} == {key: new[key] for key in both}
    asked = count_new_controls(results, pq.read_table(recorded / "controls.parquet"))
    assert resumed.computed("score") - computed == asked > 0


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
PLANNED = JUDGING | {"plan_controls"}
"""Since then, a judge's lane is one job for all editors, and there are six controls instead of four."""


def test_a_finished_run_of_older_code_is_read_once_more_from_its_journals(finished) -> None:
    """Its tables may be older than the content of its inputs, which older code never compared."""
    assert {"prepare_items", "edit_lane", "score_lane"} < planned(finished, *(f"merge_{name}" for name in TABLES))


@pytest.mark.runs
def test_nothing_else_reruns_it_but_the_judges_lanes(prepared) -> None:
    targets = [f"merge_{name}" for name in TABLES]
    assert planned(prepared, *targets) == PLANNED
    recorded = {name: pq.read_table(prepared.results / f"{name}.parquet") for name in ("scores", "controls")}
    kept = ("journal/edit/**/*", "*/images/**/*", "sources/**/*", "heartbeats/edit/**/*")
    before, computed = contents(prepared.results, *kept), prepared.computed("score")
    prepared.run(*targets)
    assert contents(prepared.results, *kept) == before
    assert keeps(prepared.results / "scores.parquet", recorded["scores"])
    asked = count_new_controls(prepared.results, recorded["controls"])
    assert prepared.computed("score") - computed == asked > 0
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
    assert planned(prepared, *(f"merge_{name}" for name in TABLES)) == PLANNED | {"merge_preservation"}
