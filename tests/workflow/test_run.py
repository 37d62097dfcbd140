"""Whole runs on fakes."""

import json
import os
import re
import signal
import subprocess

import pyarrow.parquet as pq
import pytest
from PIL import Image
from project import Project, find_lanes, wait_for, watch_command

from editlane.core.schemas import RUN_COLUMNS


def test_a_run_ends_with_one_row_per_item_editor_and_judge_and_a_report(project) -> None:
    """Whatever becomes of the items, unreadable sources among them; the same command then has nothing to do."""
    images = project.folder / "data/照片"
    (images / "图 1.png").write_bytes(b"")
    (images / "图 2.png").write_bytes((images / "图 2.png").read_bytes()[:60])
    (images / "图 3.png").write_bytes(b"not an image at all")
    project.config["editors"] = {
        "fake-a": {"adapter": "fake"},
        "fake-b": {"adapter": "fake", "params": {"failure_rate": 0.2, "refusal_rate": 0.2, "noop_rate": 0.3}},
    }
    project.config["judges"]["other"] = {"adapter": "fake", "params": {"unreadable_rate": 0.2, "failure_rate": 0.2}}
    out = project.run()
    assert "report: results/试验/report/report.html" in out

    rows = project.scores()
    assert len(rows) == 20 * 2 * 2
    states = {row["state"] for row in rows}
    assert states == {
        "scored", "source_unreadable", "edit_failed", "edit_refused", "judge_unreadable", "judge_failed",
    }  # fmt: skip
    for row in rows:
        assert (row["state"] == "source_unreadable") == (int(row["item_id"][-2:]) % 7 in (1, 2, 3))
    assert all((row["score"] is not None) == (row["state"] == "scored") for row in rows)
    assert all(0 <= row["score"] <= 10 for row in rows if row["score"] is not None)
    assert any(row["unchanged"] for row in rows if row["editor"] == "fake-b")
    assert not any(row["unchanged"] for row in rows if row["editor"] == "fake-a")
    edited = next(row for row in rows if row["edited_path"])
    with Image.open(project.results / edited["edited_path"]) as image:
        assert image.format == "PNG"

    report = project.report()
    assert report["rows"] == len(rows)
    for editor in ("fake-a", "fake-b"):
        for judge in ("judge", "other"):
            numbers = report["editors"][editor][judge]
            mine = [row for row in rows if (row["editor"], row["judge"]) == (editor, judge)]
            scores = [row["score"] for row in mine if row["score"] is not None]
            assert numbers["overall"]["n"] == 20
            assert numbers["overall"]["scored"] == len(scores)
            assert abs(numbers["overall"]["mean"] - sum(scores) / len(scores)) < 1e-6
            assert list(numbers["categories"]) == ["物理", "环境", "社会", "因果", "指代"]
    assert "物理" in (project.results / "report/report.html").read_text(encoding="utf-8")

    again = project.run()
    assert "Nothing to be done" in again and "Macro mean" in again and "report: results/" in again
    assert "Macro mean" not in project.run("--dry-run")


@pytest.mark.runs
def test_the_same_config_gives_byte_equal_tables(finished, other_project) -> None:
    project, other = finished, other_project()
    other.run()
    names = ["items.parquet", *(f"shards/{category}/lane1.parquet" for category in ("物理", "指代"))]
    assert all((project.results / name).read_bytes() == (other.results / name).read_bytes() for name in names)
    tables = [pq.read_table(each.results / "scores.parquet").drop(RUN_COLUMNS) for each in (project, other)]
    assert tables[0].equals(tables[1], check_metadata=True)
    reports = [each.report() for each in (project, other)]
    assert [report.pop("costs")["stages"][0]["items"] for report in reports] == [20, 20]  # the rest is times
    assert [set(report.pop("speed")["editors"]) for report in reports] == [{"fake-a"}] * 2  # these, too
    assert reports[0] == reports[1]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str, bytes]:
    """A run of which one lane failed for good, all that it showed, and the bytes that its shard should have."""
    project = Project(tmp_path_factory.mktemp("failed"))
    project.run("split_lanes")
    shard = project.results / SHARD
    whole, times = shard.read_bytes(), shard.stat()
    shard.write_bytes(b"PAR1 and then nothing")
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a failing disk does; else it would be made again
    done = subprocess.run(
        project.command(), cwd=project.folder, env=project.environment(),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    return project, done.stdout, whole


SHARD = "shards/环境/lane1.parquet"


@pytest.mark.runs
def test_a_failed_job_shows_the_end_of_its_log_and_the_reason_stands_last(failed) -> None:
    project, out, _ = failed
    told = re.findall(r"^\d\d:\d\d:\d\d (.*)$", out, re.MULTILINE)
    name, failure = "edit_lane fake-a lane 1", "failed: edit_lane fake-a lane 1"
    again = [line for number in (2, 3, 4) for line in (f"{name}, attempt {number}", failure)]
    assert [line for line in told if name in line] == [name, failure, *again]
    assert out.count(f"    error: Cannot read the table results/试验/{SHARD}") == 4
    assert out.index("\nerror: Cannot read") > out.rindex("failed: edit_lane")
    watched = subprocess.run(watch_command(project.results), capture_output=True, text=True, timeout=60)
    assert watched.stdout.splitlines()[0] == "the workflow ended with errors"


@pytest.mark.runs
def test_a_lane_that_fails_for_good_leaves_the_others_and_a_partial_report(failed, tmp_path) -> None:
    shared, _, whole = failed
    project = shared.copy(tmp_path / "copy")
    assert not (project.results / "scores.parquet").exists()
    partial = project.run("partial_report")
    assert "report: results/试验/partial_report/report.html" in partial
    assert "\nto finish the run: snakemake --cores 4\n" in partial
    folder = project.results / "partial_report"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    done = pq.read_table(folder / "scores.parquet").num_rows
    overall = report["editors"]["fake-a"]["judge"]["overall"]
    assert done == project.computed("score")
    assert 0 < done < 20
    assert (overall["n"], overall["missing"], overall["scored"]) == (20, 20 - done, done)
    assert f"{20 - done} of 20 rows do not exist yet" in (folder / "report.md").read_text(encoding="utf-8")
    (project.results / SHARD).write_bytes(whole)
    project.run("merge_scores")
    assert len(project.scores()) == 20


@pytest.mark.runs
def test_a_partial_report_counts_nothing_of_another_config(finished) -> None:
    finished.config["seed"] = 43
    finished.run("partial_report")
    report = json.loads((finished.results / "partial_report/report.json").read_text(encoding="utf-8"))
    assert (report["rows"], report["missing"]) == (0, 20)


@pytest.mark.runs
def test_beside_a_running_workflow_another_is_refused_and_a_partial_report_is_made(project) -> None:
    project.config["editors"]["fake-a"]["params"] = {"seconds": 0.5}
    run = project.start("merge_scores")
    wait_for(lambda: project.computed("edit") >= 2)
    lanes = find_lanes(project)
    for lane in lanes:
        os.kill(lane, signal.SIGSTOP)  # so that the run lasts as long as the others take
    assert "another workflow is running on results/试验" in project.run(code=2)
    project.run("partial_report")
    for lane in lanes:
        os.kill(lane, signal.SIGCONT)
    assert run.wait(timeout=120) == 0
    report = json.loads((project.results / "partial_report/report.json").read_text(encoding="utf-8"))
    assert report["rows"] + report["missing"] == 20
    assert report["missing"] > 0
    assert (project.computed("edit"), len(project.scores())) == (20, 20)


@pytest.mark.runs
def test_given_edits_are_judged_without_an_editor(project) -> None:
    data = project.folder / "data"
    Image.new("RGB", (30, 30), "red").save(data / "edited.png")
    (data / "broken.webp").write_bytes(b"RIFFxxxx")
    source = {"category": "因果", "instruction": "球会怎样？", "image": "照片/图 0.png"}
    records = [
        source | {"item_id": "有", "edited": "edited.png"},
        source | {"item_id": "无", "edited": "not-there.png"},
        source | {"item_id": "坏", "edited": "broken.webp"},
        source | {"item_id": "空", "edited": ""},
    ]
    (data / "pairs.jsonl").write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records))
    del project.config["editors"]
    project.config["lanes"] = 1
    project.config["dataset"] |= {"path": "data/pairs.jsonl", "format": "pairs"}
    project.run()
    ended = {row["item_id"]: (row["state"], row["error_kind"]) for row in project.scores()}
    assert ended == {
        "有": ("scored", None),
        "无": ("edit_failed", "missing"),
        "坏": ("edit_failed", "decode"),
        "空": ("edit_failed", "missing"),
    }
