"""What lanes have cost: from the heartbeats of their processes to the table and the report."""

import json
import runpy
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from made_report import cell, made_costs, made_report
from report_run import load, write, write_run

from editlane.core import schemas, tables
from editlane.core.errors import UserError
from editlane.core.paths import LaneId, RunPaths
from editlane.lanes.costs import PARTS, add_up, lane_costs
from editlane.lanes.heartbeat import Heartbeat
from editlane.lanes.lane_status import LaneStatus, read_heartbeats
from editlane.lanes.requests_sent import RequestCount, Sent
from editlane.report.costs import make_cost_tables
from editlane.report.numbers import compute_costs
from editlane.report.texts import load_texts

SCRIPT = Path(__file__).parents[3] / "scripts/merge_costs.py"
PROVENANCE = {"editors": {"甲": {"key": "e1"}, "乙": {"key": "e2"}}, "judges": {"j": {"key": "j1"}}}
GPU = "NVIDIA H200 (GPU-8c5f1b7e-1b2c-3d4e-5f60-718293a4b5c6)"


def beat(**changes: Any) -> LaneStatus:
    """A process that edited 10 items in 100 s of the 130 s that it held a GPU."""
    names = {"stage": "edit", "editor": "甲", "judge": None, "lane": 0, "attempt": 1, "editor_key": "e1"}
    state = {"host": "node-1", "pid": 7, "device": GPU, "total": 10, "kept": 0, "done": 10, "phase": "done"}
    seconds = {"started": 1e9, "time": 1e9 + 130, "held_seconds": 130.0, "load_seconds": 20.0, "busy_seconds": 100.0}
    seconds |= {"imports_seconds": 9.0, "reading_seconds": 5.0, "transfer_seconds": 3.0, "warmup_seconds": 2.0}
    seconds |= {"input_seconds": 6.0, "output_seconds": 1.0, "settled_seconds": 129.0}
    return LaneStatus(**names | state | seconds | {"peak_memory": 60 * 2**30} | changes)


def old_beat(**changes: Any) -> LaneStatus:
    """One of a version that did not know where the time went."""
    parts = ("imports", "reading", "transfer", "warmup", "input", "output", "settled")
    return beat(**dict.fromkeys((f"{part}_seconds" for part in parts), None) | changes)


def scored(**changes: Any) -> LaneStatus:
    return beat(**{"stage": "score", "editor": None, "judge": "j", "judge_key": "j1"} | changes)


def row_of(rows: list[dict[str, Any]], stage: str = "edit", editor: str | None = "甲", lane: int = 0) -> dict[str, Any]:
    (found,) = [row for row in rows if (row["stage"], row["editor"], row["lane"]) == (stage, editor, lane)]
    return found


def test_every_lane_has_a_row_for_its_editor_and_one_for_each_judge() -> None:
    rows = lane_costs([beat(), scored()], PROVENANCE, lanes=2)
    assert [(row["stage"], row["editor"], row["judge"], row["lane"]) for row in rows] == [
        *(("edit", editor, None, lane) for editor in "甲乙" for lane in (0, 1)),
        *(("score", None, "j", lane) for lane in (0, 1)),
    ]
    assert row_of(rows) == {
        "stage": "edit", "editor": "甲", "judge": None, "lane": 0, "attempts": 1, "died": 0, "items": 10,
        "load_seconds": 20.0,
        "imports_seconds": 9.0, "reading_seconds": 5.0, "transfer_seconds": 3.0, "warmup_seconds": 2.0,
        "busy_seconds": 100.0, "idle_seconds": 10.0, "input_seconds": 6.0, "output_seconds": 1.0, "lost_seconds": 0.0,
        "held_seconds": 130.0, "seconds_per_item": 10.0,
        "gpu_hours": 130 / 3600, "peak_memory": 60 * 2**30, "device": GPU, "host": "node-1",
        "requests": None, "images": None, "paid": None, "currency": None,
        "editor_key": "e1", "judge_key": None,
    }  # fmt: skip


def test_the_processes_of_a_lane_are_added_up() -> None:
    second = beat(attempt=2, host="node-2", done=5, held_seconds=60.0, busy_seconds=35.0, peak_memory=70 * 2**30)
    row = row_of(lane_costs([beat(), second], PROVENANCE, lanes=1))
    assert (row["attempts"], row["items"], row["seconds_per_item"]) == (2, 15, 9.0)
    assert (row["load_seconds"], row["busy_seconds"], row["idle_seconds"], row["held_seconds"]) == (40, 135, 15, 190)
    assert (row["peak_memory"], row["device"], row["host"]) == (70 * 2**30, GPU, "node-1, node-2")


def test_a_lane_that_had_nothing_to_do_has_no_items_and_no_seconds() -> None:
    row = row_of(lane_costs([beat()], PROVENANCE, lanes=2), lane=1)
    assert (row["attempts"], row["items"]) == (0, 0)
    unknown = (
        "load_seconds",
        "busy_seconds",
        "idle_seconds",
        "held_seconds",
        "seconds_per_item",
        "gpu_hours",
        "device",
    )
    assert {row[name] for name in unknown} == {None}


def test_a_lane_of_an_earlier_split_keeps_its_row() -> None:
    assert row_of(lane_costs([beat(lane=5)], PROVENANCE, lanes=1), lane=5)["items"] == 10


@pytest.mark.parametrize(
    "changes", [{"editor": "丙"}, {"editor_key": "e0"}, {"stage": "score", "judge": "k"}, {"stage": "watch"}]
)
def test_another_editor_other_settings_and_unknown_judges_are_not_counted(changes: dict[str, Any]) -> None:
    rows = lane_costs([beat(**changes)], PROVENANCE, lanes=1)
    assert (len(rows), sum(row["attempts"] for row in rows)) == (3, 0)


def test_a_changed_protocol_or_changed_edits_are_not_counted_for_the_judge() -> None:
    rows = lane_costs([scored(judge_key="j0"), scored(editor_key="e0")], PROVENANCE, lanes=1)
    assert sum(row["attempts"] for row in rows) == 0


def test_a_judge_counts_for_every_editor_it_judged_also_in_heartbeats_of_older_versions() -> None:
    added = scored(attempt=2, editor_key="e0,e2")
    older = [
        scored(editor="甲", lane=1),
        scored(editor="乙", editor_key="e2", lane=1),
        scored(editor="丙", editor_key="e3"),
    ]
    rows = lane_costs([scored(editor_key="e1,e2"), added, *older], PROVENANCE, lanes=2)
    assert [row_of(rows, "score", None, lane)["attempts"] for lane in (0, 1)] == [2, 2]
    stopped = scored(editor="甲", lane=1, phase="stopped")
    resumed = lane_costs([stopped, scored(phase="working", lane=1)], PROVENANCE, lanes=2)
    assert row_of(resumed, "score", None, 1)["died"] == 1, "the attempts of the older version are counted apart"
    older = [scored(editor="甲", attempt=2), scored(phase="working")]
    assert row_of(lane_costs(older, PROVENANCE, lanes=1), "score", None)["died"] == 0
    canaries = scored(editor_key=None)
    assert row_of(lane_costs([canaries], PROVENANCE, lanes=1), "score", None)["attempts"] == 1


def test_a_process_killed_while_loading_has_spent_its_time_on_that() -> None:
    killed = beat(phase="loading", done=0, load_seconds=0.0, busy_seconds=0.0, held_seconds=45.0, device="GPU-8c5f1b7e")
    row = row_of(lane_costs([killed], PROVENANCE, lanes=1))
    assert (row["load_seconds"], row["busy_seconds"], row["idle_seconds"]) == (45.0, 0.0, 0.0)
    assert (row["items"], row["seconds_per_item"], row["gpu_hours"]) == (0, None, 45 / 3600)


@pytest.mark.parametrize("changes", [{"phase": "failed"}, {"phase": "stopped"}])
def test_what_a_process_that_died_spent_on_loading_and_after_its_last_item_is_lost(changes: dict[str, Any]) -> None:
    died = beat(held_seconds=150.0, settled_seconds=128.0, **changes)
    row = row_of(lane_costs([died], PROVENANCE, lanes=1))
    assert (row["load_seconds"], row["busy_seconds"], row["idle_seconds"], row["lost_seconds"]) == (0, 100, 8, 42)
    assert (row["imports_seconds"], row["items"], row["held_seconds"]) == (0, 10, 150)


def test_a_process_that_was_killed_is_known_by_its_successor() -> None:
    killed = beat(phase="working", settled_seconds=125.0)
    alone = row_of(lane_costs([killed], PROVENANCE, lanes=1))
    assert (alone["load_seconds"], alone["lost_seconds"]) == (20, 0)
    followed = row_of(lane_costs([killed, beat(attempt=2)], PROVENANCE, lanes=1))
    assert (followed["load_seconds"], followed["lost_seconds"], followed["held_seconds"]) == (20, 25, 260)
    assert (alone["died"], followed["died"]) == (0, 1)


def test_the_parts_of_the_time_add_up_to_the_time() -> None:
    beats = [
        beat(phase="working", settled_seconds=100.0, busy_seconds=70.0),
        beat(attempt=2, phase="loading", done=0, load_seconds=0.0, busy_seconds=0.0, settled_seconds=None),
        beat(attempt=3),
        old_beat(lane=1),
        old_beat(lane=2, phase="failed"),
    ]
    numbers = compute_costs(lane_costs(beats, PROVENANCE, lanes=3))
    parts = numbers["total"]["parts"]
    assert tuple(parts) == PARTS
    assert sum(parts.values()) == pytest.approx(numbers["total"]["held_seconds"]) == pytest.approx(5 * 130)
    assert parts["lost"] == (20 + 30) + 130 + (20 + 0)
    assert parts["starting"] == 1 + 20
    (stage,) = [one for one in numbers["stages"] if one["attempts"]]
    assert stage["parts"] == parts


def test_the_waits_after_the_last_item_of_a_lost_process_are_lost() -> None:
    """They are in its heartbeat all the same; counted twice, the parts would be more than was held."""
    died = beat(phase="failed", held_seconds=150.0, settled_seconds=128.0, input_seconds=20.0, output_seconds=12.0)
    row = row_of(lane_costs([died], PROVENANCE, lanes=1))
    assert (row["idle_seconds"], row["input_seconds"], row["output_seconds"]) == (8, 5, 3)
    parts = compute_costs([row])["total"]["parts"]
    assert sum(parts.values()) == pytest.approx(150)


def test_heartbeats_and_tables_of_an_older_version_are_read(tmp_path: Path) -> None:
    rows = lane_costs([old_beat()], PROVENANCE, lanes=1)
    for row in rows:
        for name in schemas.COSTS_ADDED:
            del row[name]
    old = pa.schema([field for field in schemas.COSTS if field.name not in schemas.COSTS_ADDED])
    tables.write_table(tmp_path / "costs.parquet", rows, old)
    (row,) = [row for row in tables.read_costs(tmp_path / "costs.parquet") if row["attempts"]]
    assert (row["held_seconds"], row["imports_seconds"]) == (130, None)
    parts = compute_costs([row])["total"]["parts"]
    assert (parts["starting"], parts["busy"], parts["other"], parts["lost"]) == (20, 100, 10, 0)


def test_idle_is_never_negative() -> None:
    row = row_of(lane_costs([beat(busy_seconds=110.004)], PROVENANCE, lanes=1))
    assert row["idle_seconds"] == 0


@pytest.mark.parametrize(
    ("device", "hours"), [("cpu", None), ("0", 0.5), (GPU, 0.5), ("NVIDIA H200 (GPU-1,GPU-2)", 1.0)]
)
def test_gpu_hours_are_of_the_gpus_that_were_held(device: str, hours: float | None) -> None:
    rows = lane_costs([beat(device=device, held_seconds=1800.0)], PROVENANCE, lanes=1)
    assert row_of(rows)["gpu_hours"] == hours


def test_a_sum_of_nothing_known_is_not_known() -> None:
    empty = add_up([])
    assert (empty["items"], empty["gpu_hours"], empty["seconds_per_item"], empty["peak_memory"]) == (
        0,
        None,
        None,
        None,
    )


def merge(monkeypatch: pytest.MonkeyPatch, *flags: object) -> None:
    monkeypatch.setattr("sys.argv", ["merge_costs.py", *map(str, flags)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the editors a and b and the judges j and k, with two processes of lane 0 of editor a."""
    run = write_run(tmp_path / "运行")
    for attempt in range(2):
        with Heartbeat(RunPaths(run), LaneId("edit", "a", None, 0), total=5, kept=attempt) as heart:
            heart.loaded("cpu")
            heart.finished(1, seconds=0.25, state="edited")
    return run


def test_the_step_writes_the_table(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ["--run-dir", run, "--scores", run / "scores.parquet", "--lanes", 2, "--out", run / "costs.parquet"]
    merge(monkeypatch, *flags)
    rows = tables.read_rows(run / "costs.parquet", schemas.COSTS.names)
    assert (len(rows), sum(row["attempts"] for row in rows)) == ((2 + 2) * 2, 2)
    row = row_of(rows, editor="a")
    assert (row["items"], row["busy_seconds"], row["gpu_hours"], row["device"]) == (2, 0.5, None, "cpu")
    with pytest.raises(SystemExit) as ended:
        merge(monkeypatch, *flags[:3], run / "items.parquet", *flags[4:])
    assert ended.value.code == 2


def test_only_images_of_the_current_model_are_counted_and_priced(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, images in (("old", 7), ("new", 3)):
        count = RequestCount(RunPaths(run).requests("a", key), LaneId("edit", "a", None, 0), most=None, per_minute=None)
        for _ in range(images):
            count.begin()
            count.count_image()
    scores = tables.read_arrow(run / "scores.parquet")
    provenance = tables.read_provenance(run / "scores.parquet")
    provenance["editors"]["a"] |= {"key": "new", "params": {"cost_per_image": 2.0, "currency": "USD"}}
    tables.write_table(run / "scores.parquet", scores.to_pylist(), scores.schema, provenance=provenance)
    merge(monkeypatch, "--run-dir", run, "--scores", run / "scores.parquet", "--lanes", 1, "--out", run / "c.parquet")
    row = row_of(tables.read_rows(run / "c.parquet"), editor="a")
    assert (row["requests"], row["images"], row["paid"], row["currency"]) == (3, 3, 6.0, "USD")


FOREIGN = {
    "torn": '{"stage": "edit", "editor": "a"',
    "empty": "",
    "a list": "[1, 2]",
    "text for a number": {"lane": "0"},
    "number for a name": {"editor": 3},
    "not a number": {"held_seconds": float("nan")},
    "infinite": {"load_seconds": float("inf")},
    "negative": {"busy_seconds": -1.0},
    "half a lane": {"lane": 0.5},
}


@pytest.mark.parametrize("wrong", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_is_no_heartbeat_neither_counts_nor_fails_anything(run: Path, wrong: Any) -> None:
    (path,) = (run / "heartbeats/edit/a").glob("lane0.1.json")
    text = wrong if isinstance(wrong, str) else json.dumps(json.loads(path.read_text(encoding="utf-8")) | wrong)
    (path.parent / "lane0.7.json").write_text(text, encoding="utf-8")
    (path.parent / "lane0.copy.json").write_text(text, encoding="utf-8")
    (path.parent / "lane3.1.json").mkdir()
    assert [one.attempt for one in read_heartbeats(RunPaths(run))] == [1, 2]
    with Heartbeat(RunPaths(run), LaneId("edit", "a", None, 0), total=5, kept=2):
        pass
    assert read_heartbeats(RunPaths(run))[-1].attempt == 8


def report_files(run: Path, beats: list[LaneStatus], lanes: int = 1, language: str = "en") -> dict[str, str]:
    provenance = tables.read_provenance(run / "scores.parquet")
    tables.write_table(run / "costs.parquet", lane_costs(beats, provenance, lanes), schemas.COSTS)
    return write(load(run, costs=run / "costs.parquet"), run, language)


def of_run(**changes: Any) -> LaneStatus:
    return beat(**{"editor": "a", "editor_key": None} | changes)


def test_the_report_shows_stages_and_lanes(run: Path) -> None:
    beats = [
        of_run(held_seconds=3610.0),
        of_run(stage="score", editor=None, judge="j", done=12, held_seconds=1814.0, lane=1),
    ]
    files = report_files(run, beats, lanes=2)
    for line in (
        "| Editing | a | 1 | 1 | 10 | 10.00 | 0.01 | 0.03 | 0.97 | 2.8% | 1.00 | 60.0 |",
        "| Judging by k | edits of all editors | 0 | 0 | 0 | – | – | – | – | – | – | – |",
        "| All | all lanes | 2 | 2 | – | – | 0.01 | 0.06 | 1.44 | 3.7% | 1.51 | 60.0 |",
        "| Editing · a | 0 · NVIDIA H200 (GPU-8c5f1b7e) | 1 | 10 | 10.00 | 0.01 | 0.03 | 0.97 | 2.8% | 1.00 | 60.0 |",
        "| Editing · a | 1 | 0 | 0 | – | – | – | – | – | – | – |",
    ):
        assert line in files[".md"].splitlines()
    costs = json.loads(files[".json"])["costs"]
    assert costs["total"]["gpu_hours"] == pytest.approx((3610 + 1814) / 3600)
    assert [(one["stage"], one["lanes"], one["items"]) for one in costs["stages"]][:2] == [
        ("edit", 1, 10),
        ("edit", 0, 0),
    ]
    assert len(costs["lanes"]) == 8
    assert "GPU-8c5f1b7e)" in files[".html"] and '<section id="costs"' in files[".html"]
    chinese = report_files(run, beats, language="zh")[".md"]
    assert "GPU 小时" in chinese
    assert "up to its last heartbeat" in files[".md"] and "计到其最后一次心跳" in chinese


def test_a_run_on_the_cpu_shows_seconds_and_no_gpu(run: Path) -> None:
    text = report_files(run, [of_run(device="cpu", peak_memory=None)])[".md"]
    assert "| Editing | a | 1 | 1 | 10 | 10.00 | 20.0 | 100.0 | 10.0 | 76.9% |" in text.splitlines()
    assert "GPU-hours |" not in text and "Peak memory" not in text


def test_machines_are_named_where_there_are_several(run: Path) -> None:
    one, other = of_run(device="cpu"), of_run(device="cpu", lane=1, host="node-2")
    assert "node-1" not in report_files(run, [one])[".md"]
    assert "| Editing · a | 1 · cpu · node-2 | 1 |" in report_files(run, [one, other], lanes=2)[".md"]


def test_a_lane_with_requests_and_no_process_is_in_the_report(run: Path) -> None:
    provenance = tables.read_provenance(run / "scores.parquet")
    (editor, *_) = provenance["editors"]
    rows = lane_costs([of_run(device="cpu")], provenance, 1, {("edit", editor): {0: Sent(9, 8), 3: Sent(2, 1)}})
    tables.write_table(run / "costs.parquet", rows, schemas.COSTS)
    lines = write(load(run, costs=run / "costs.parquet"), run)[".md"].splitlines()
    (line,) = [line for line in lines if line.startswith("| Editing · a | 3 ")]
    assert "| 0 | 0 | – | – | – | – | – |" in line and "| 2 | 1 |" in line


def test_many_lanes_are_folded_away() -> None:
    for count, folded in ((6, False), (7, True)):
        report = made_report({"A": cell()}, costs=made_costs(["A"], count))
        assert [table.folded for table in make_cost_tables(report, load_texts("en"))] == [False, folded]


def test_a_report_without_costs_has_no_such_section(run: Path) -> None:
    assert "## Cost" not in write(load(run), run)[".md"]
    assert "## Cost" not in report_files(run, [])[".md"]


def test_the_costs_of_another_run_are_refused(run: Path) -> None:
    tables.write_table(run / "costs.parquet", lane_costs([], PROVENANCE, 1), schemas.COSTS)
    with pytest.raises(UserError, match=r"costs\.parquet does not belong to this run: it has editor '甲'\. Give"):
        load(run, costs=run / "costs.parquet")


def test_requests_to_a_server_are_priced_by_their_images_and_summed_in_one_currency() -> None:
    editors = PROVENANCE["editors"]
    priced = {
        name: about | {"params": {"cost_per_image": 0.5, "currency": currency}}
        for (name, about), currency in zip(editors.items(), ("USD", "USD"), strict=True)
    }
    sent = {("edit", "甲"): {0: Sent(10, 8), 3: Sent(1, 0)}, ("edit", "乙"): {0: Sent(2, 2)}}
    rows = lane_costs([beat()], PROVENANCE | {"editors": priced}, lanes=1, sent=sent)
    assert [(row["lane"], row["requests"], row["images"], row["paid"]) for row in rows if row["editor"] == "甲"] == [
        (0, 10, 8, 4.0),
        (3, 1, 0, 0.0),
    ], "what a lane of an earlier split has sent counts, too"
    total = add_up(rows)
    assert (total["requests"], total["images"], total["paid"], total["currency"]) == (13, 10, 5.0, "USD")
    priced["乙"] = priced["乙"] | {"params": {"cost_per_image": 0.5, "currency": "CNY"}}
    total = add_up(lane_costs([beat()], PROVENANCE | {"editors": priced}, lanes=1, sent=sent))
    assert (total["requests"], total["paid"], total["currency"]) == (13, None, None)
    unpriced = add_up(lane_costs([beat()], PROVENANCE, lanes=1, sent=sent))
    assert (unpriced["images"], unpriced["paid"]) == (10, None)


def test_prices_in_several_currencies_stand_with_their_currency_and_without_a_sum(run: Path) -> None:
    provenance = tables.read_provenance(run / "scores.parquet")
    editors = provenance["editors"]
    for (_, about), currency in zip(editors.items(), ("CNY", "USD"), strict=False):
        about["params"] = {"cost_per_image": 0.5, "currency": currency}
    sent = {("edit", editor): {0: Sent(9, 8)} for editor in editors}
    tables.write_table(run / "costs.parquet", lane_costs([of_run(device="cpu")], provenance, 1, sent), schemas.COSTS)
    text = write(load(run, costs=run / "costs.parquet"), run)[".md"]
    assert "| Price |" in text
    assert ("4.00 CNY" in text, "4.00 USD" in text) == (True, len(editors) > 1)


def test_a_judge_on_a_server_has_its_requests_without_a_price() -> None:
    rows = lane_costs([scored()], PROVENANCE, lanes=1, sent={("score", "j"): {0: Sent(7, 0), 2: Sent(1, 0)}})
    assert [(row["lane"], row["requests"], row["images"], row["paid"]) for row in rows if row["judge"] == "j"] == [
        (0, 7, None, None),
        (2, 1, None, None),
    ]
