"""Whole runs on fakes."""

import json
import subprocess
import time

import pyarrow.parquet as pq
from PIL import Image
from project import wait_for

from editlane.core.schemas import RUN_COLUMNS


def test_a_run_ends_with_one_row_per_item_editor_and_judge_and_a_report(project) -> None:
    project.config["editors"] = {
        "fake-a": {"adapter": "fake"},
        "fake-b": {"adapter": "fake", "params": {"failure_rate": 0.3, "refusal_rate": 0.5, "noop_rate": 0.3}},
    }
    project.config["judges"]["other"] = {"adapter": "fake", "params": {"unreadable_rate": 0.2, "failure_rate": 0.2}}
    out = project.run()
    assert "report: results/试验/report/report.html" in out

    rows = project.scores()
    assert len(rows) == 20 * 2 * 2
    states = {row["state"] for row in rows}
    assert states == {"scored", "edit_failed", "edit_refused", "judge_unreadable", "judge_failed"}
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

    started = time.monotonic()
    assert "Nothing to be done" in project.run()
    assert time.monotonic() - started < 10


def test_the_same_config_gives_byte_equal_tables(project, other_project) -> None:
    other = other_project()
    for each in (project, other):
        each.run()
    names = ["items.parquet", *(f"shards/{category}/lane1.parquet" for category in ("物理", "指代"))]
    assert all((project.results / name).read_bytes() == (other.results / name).read_bytes() for name in names)
    tables = [pq.read_table(each.results / "scores.parquet").drop(RUN_COLUMNS) for each in (project, other)]
    assert tables[0].equals(tables[1], check_metadata=True)
    reports = [each.report() for each in (project, other)]
    assert [report.pop("costs")["stages"][0]["items"] for report in reports] == [20, 20]  # the rest is times
    assert reports[0] == reports[1]


def test_a_lane_that_fails_for_good_leaves_the_others_and_a_partial_report(project) -> None:
    project.config["lanes"] = 3
    project.run("split_lanes")
    shard = project.results / "shards/环境/lane1.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(b"PAR1 and then nothing")
    out = project.run(code=1)
    assert "Cannot read the table results/试验/shards/环境/lane1.parquet" in out
    assert not (project.results / "scores.parquet").exists()
    partial = project.run("partial_report")
    assert "report: results/试验/partial_report/report.html" in partial
    folder = project.results / "partial_report"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    done = pq.read_table(folder / "scores.parquet").num_rows
    overall = report["editors"]["fake-a"]["judge"]["overall"]
    assert done == project.computed("score")
    assert 0 < done < 20
    assert (overall["n"], overall["missing"], overall["scored"]) == (20, 20 - done, done)
    assert f"{20 - done} of 20 rows do not exist yet" in (folder / "report.md").read_text(encoding="utf-8")
    shard.write_bytes(whole)
    project.run()
    assert len(project.scores()) == 20


def test_a_partial_report_counts_nothing_of_another_config(project) -> None:
    project.run("merge_scores")
    project.config["seed"] = 43
    project.run("partial_report")
    report = json.loads((project.results / "partial_report/report.json").read_text(encoding="utf-8"))
    assert (report["rows"], report["missing"]) == (0, 20)


def test_a_partial_report_beside_a_running_workflow(project) -> None:
    project.config["editors"]["fake-a"]["params"] = {"seconds": 1.0}
    run = project.start()
    wait_for(lambda: project.computed("edit") >= 2)
    project.run("partial_report")
    assert run.wait(timeout=120) == 0
    report = json.loads((project.results / "partial_report/report.json").read_text(encoding="utf-8"))
    assert report["rows"] + report["missing"] == 20
    assert report["missing"] > 0
    assert (project.computed("edit"), len(project.scores())) == (20, 20)


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
    project.config["dataset"] |= {"path": "data/pairs.jsonl", "format": "pairs"}
    project.run()
    ended = {row["item_id"]: (row["state"], row["error_kind"]) for row in project.scores()}
    assert ended == {
        "有": ("scored", None),
        "无": ("edit_failed", "missing"),
        "坏": ("edit_failed", "decode"),
        "空": ("edit_failed", "missing"),
    }


def test_unreadable_sources_are_rows_and_never_end_a_lane(project) -> None:
    images = project.folder / "data/照片"
    (images / "图 1.png").write_bytes(b"")
    (images / "图 2.png").write_bytes((images / "图 2.png").read_bytes()[:60])
    (images / "图 3.png").write_bytes(b"not an image at all")
    project.run()
    rows = project.scores()
    unreadable = [row["item_id"] for row in rows if row["state"] == "source_unreadable"]
    assert unreadable == [row["item_id"] for row in rows if int(row["item_id"][-2:]) % 7 in (1, 2, 3)]
    assert len(rows) == 20


def test_two_workflows_on_one_results_folder_are_refused(project) -> None:
    project.config["editors"]["fake-a"]["params"] = {"seconds": 0.3}
    first = project.start()
    wait_for((project.results / ".lock").exists)
    second = subprocess.run(
        project.command(), cwd=project.folder, env=project.environment(), text=True, capture_output=True
    )
    assert second.returncode == 2
    assert "another workflow is running on results/试验" in second.stderr
    assert first.wait(timeout=120) == 0
    assert len(project.scores()) == 20
    assert project.computed("edit") == 20
