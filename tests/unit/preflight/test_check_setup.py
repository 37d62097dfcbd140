"""The program check_setup.py: on the repository's configs, in a C locale, and what it estimates from earlier runs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from preflight_project import CATEGORIES, ROOT, fake_config, prepare, write_project
from private_folder import make_private
from stand_ins import write_checkpoint
from step_runs import Ended, run_step_program

from editlane.core import schemas, tables
from editlane.datasets.split import split_lanes
from editlane.lanes.editor_spec import EditorSpec
from editlane.lanes.journal import Journal
from editlane.lanes.lane_status import LaneStatus
from editlane.preflight.estimate.estimate import Job, estimate_wall_seconds

Check = Callable[..., Ended]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """`check(config, *flags)`: run the program in a small project."""
    write_project(tmp_path)

    def run(config: dict[str, Any], *flags: str) -> Ended:
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        return run_step_program("check_setup", ["--configfile", "mine.yaml", *flags], tmp_path)

    return run


@pytest.mark.parametrize("name", ["config", "qwen", "small"])
def test_the_repositorys_configs_pass_here_with_warnings_at_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    ended = run_step_program("check_setup", ["--configfile", f"config/{name}.yaml"], ROOT)
    *rows, last = ended.out.splitlines()
    assert ended.code == 0, ended.out
    assert last.endswith("0 failed")
    assert {row.split()[0] for row in rows} <= {"pass", "warn"}
    # After `make demo` there are photos, and then the check says that so few edits test no judge.
    warned = [row for row in rows if row.startswith("warn") and row.split()[1] != "controls"]
    assert len(warned) == (0 if name == "config" else 3)  # no GPU, and two models to be downloaded


def test_something_that_failed_is_exit_code_1_with_the_remedy(check: Check, tmp_path: Path) -> None:
    (tmp_path / "资料/图 0.png").unlink()
    ended = check(fake_config())
    assert ended.code == 1
    assert ended.out.splitlines()[-1].endswith("1 failed")
    assert "图 0.png" in next(row for row in ended.out.splitlines() if row.startswith("fail"))


def test_a_c_locale_is_said_in_one_line() -> None:
    """Python coerces a C locale to UTF-8 unless told not to."""
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, ROOT / "scripts/check_setup.py"], env=env, capture_output=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stdout.startswith(b"fail   locale       file names are encoded as ascii")
    assert b"export LC_ALL=C.UTF-8" in done.stdout
    assert done.stdout.splitlines()[-1] == b"0 passed, 0 to look at, 1 failed"
    assert done.stderr == b""


# the estimate


def write_heartbeat(run: Path, *, stage: str, key: str | None, done: int, name: str = "a", device: str = "cpu") -> None:
    """A process that took 10 s to load and 2 s an item, one of them waiting."""
    held = 10.0 + 2.0 * done
    status = LaneStatus(
        stage=stage, editor=name, judge="j" if stage == "score" else None, lane=0, attempt=1, host="h", pid=1,
        device=device, total=done, kept=0, done=done, phase="done", started=0.0, time=held, held_seconds=held,
        load_seconds=10.0, busy_seconds=1.0 * done, editor_key=key,
        judge_key=key if stage == "score" else None,
    )  # fmt: skip
    path = run / "heartbeats" / stage / name / ("j" if stage == "score" else "") / "lane0.1.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(asdict(status)), encoding="utf-8")


def row_of(ended: Ended, start: str) -> str:
    assert ended.code == 0, ended.err
    return next(row for row in ended.out.splitlines() if row.startswith(start))


FAKE = {"adapter": "fake", "model": None, "revision": None, "params": {}}


def test_without_an_earlier_run_no_time_is_invented(check: Check) -> None:
    ended = check(fake_config(), "--estimate")
    assert "6 items left; no earlier run on the CPU" in row_of(ended, "edit")
    assert "6 questions left; no earlier run" in row_of(ended, "score")
    assert "nothing is prepared yet" in row_of(ended, "run")
    assert "time" not in ended.out


def test_an_arena_is_told_of_and_not_estimated(check: Check) -> None:
    config = fake_config()
    config["editors"]["另一个"] = {"adapter": "fake"}
    config["arena"] = {"judges": list(config["judges"]), "budget": 4}
    ended = check(config, "--estimate")
    told = row_of(ended, "compare")
    assert "arena: at most 4 pairs of edits for" in told and "not part of the time" in ended.out
    assert "pairwise.yaml version 1, asked of" in check(config).out


def test_the_run_beside_with_the_same_settings_gives_the_costs(check: Check, tmp_path: Path) -> None:
    key = EditorSpec.of(Path("x"), "a", 42, FAKE).editor_key
    write_heartbeat(tmp_path / "results/other", stage="edit", key="something else", done=9)
    write_heartbeat(tmp_path / "results/pilot", stage="edit", key=key, done=5, name="called otherwise")
    ended = check(fake_config(), "--estimate")
    # two lanes: 10 s load and 3 items of 2 s each
    assert "6 items left x 2 s + 2 loads x 10 s = 32 s on one device" in row_of(ended, "edit")
    assert "From results/pilot: same settings, 5 items on the CPU" in row_of(ended, "edit")
    assert "without judge j" in row_of(ended, "time")
    assert "no earlier run on a GPU" in row_of(check(fake_config(), "--estimate", "--gpus", "6"), "edit")


def test_a_private_run_of_another_user_gives_no_costs(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = EditorSpec.of(Path("x"), "a", 42, FAKE).editor_key
    for name, done in (("pilot", 5), ("private", 50)):
        write_heartbeat(tmp_path / "results" / name, stage="edit", key=key, done=done)
        os.utime(tmp_path / "results" / name, (done, done))
    make_private(monkeypatch, tmp_path / "results/private")
    assert "From results/pilot: same settings" in row_of(check(fake_config(), "--estimate"), "edit")


def test_gpu_hours_are_of_all_gpus_and_the_time_is_of_the_longest(check: Check, tmp_path: Path) -> None:
    for stage in ("edit", "score"):
        write_heartbeat(tmp_path / "pilot", stage=stage, key=None, done=4, device="NVIDIA H200 (GPU-1)")
    flags = ("--estimate", "--gpus", "2", "--from", "pilot")
    ended = check(fake_config(), *flags)
    assert "same name, perhaps other settings, 4 questions on NVIDIA H200" in row_of(ended, "score")
    assert row_of(ended, "time") == "time   32 s on 2 GPUs, 0.0178 GPU-hours"
    assert row_of(check(fake_config(lanes=1), *flags), "time").startswith("time   44 s on 2 GPUs")


def test_a_costs_table_will_do_and_the_model_is_known_from_the_scores(check: Check, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "models/v1", 0.002)
    editor = {"adapter": "diffusers", "model": "models/v1", "params": {"num_inference_steps": 3}}
    run = tmp_path / "results/pilot"
    row = dict.fromkeys(schemas.COSTS.names) | {"stage": "edit", "editor": "e", "lane": 0, "attempts": 1, "items": 2}
    row |= {"load_seconds": 4.0, "busy_seconds": 6.0, "idle_seconds": 0.0, "device": "cpu", "editor_key": "old"}
    run.mkdir(parents=True)
    tables.write_table(run / "costs.parquet", [row], schemas.COSTS)
    about = {"editors": {"e": {"adapter": "diffusers", "model": "v1"}}, "judges": {}}
    tables.write_table(run / "scores.parquet", [], schemas.scores_schema([]), provenance=about)
    found = row_of(check(fake_config(editors={"mine": editor}), "--estimate"), "edit")
    assert "mine: 6 items left x 3 s + 2 loads x 4 s" in found
    assert "same adapter and model, other settings" in found


def test_finished_items_are_not_left_to_do(check: Check, tmp_path: Path) -> None:
    config = fake_config(controls={"share": 0, "repeats": 0.5, "canary": True})
    run = tmp_path / "results/试验"
    prepare(tmp_path, run)
    assert "29 questions left" in row_of(check(config, "--estimate"), "score")  # 6 edits, 3 again, 20 canaries
    lane = EditorSpec.of(run, "a", 42, FAKE)
    failed = dict.fromkeys(schemas.EDIT_COLUMNS) | {"state": "edit_failed", "error_kind": "x"}
    edited = failed | {"state": "edited", "error_kind": None, "edited_sha256": "0", "edited_path": "x"}
    items = tables.read_items(run / "items.parquet")
    with Journal(run / "journal/edit/a", "lane0") as journal:
        journal.finish({lane.key(items[0]): edited, lane.key(items[1]): failed})
    ended = check(config, "--estimate")
    assert "4 items left" in row_of(ended, "edit")
    assert "27 questions left" in row_of(ended, "score")  # the failed edit is not judged; 4 x 0.5 again, 20 canaries


def test_a_turn_of_a_chain_is_an_item_and_left_to_do_if_the_turn_before_is_another_now(
    check: Check, tmp_path: Path
) -> None:
    records = [json.loads(line) for line in (tmp_path / "资料/items.jsonl").read_text(encoding="utf-8").splitlines()]
    records[0] |= {"instruction": None, "instruction_zh": None, "turns": ["戴上帽子", "换成绿色", "撤销上一步"]}
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (tmp_path / "资料/items.jsonl").write_text("".join(lines), encoding="utf-8")
    left = len(records) + 2
    assert f": {left} items (" in row_of(check(fake_config()), "pass   dataset")
    assert f"{left} items left" in row_of(check(fake_config(), "--estimate"), "edit")
    run = tmp_path / "results/试验"
    prepare(tmp_path, run)
    spec, items = EditorSpec.of(run, "a", 42, FAKE), tables.read_items(run / "items.parquet")
    chain = [item for item in items if item.after or item.item_id in {other.after for other in items}]
    edited = dict.fromkeys(schemas.EDIT_COLUMNS) | {"state": "edited", "edited_path": "x"}
    rows = [edited | {"edited_sha256": sha, "former_sha256": former} for sha, former in ("0-", "10", "2x")]
    with Journal(run / "journal/edit/a", "lane0") as journal:
        journal.finish({spec.key(item): row for item, row in zip(chain, rows, strict=True)})
    assert f"{left - 2} items left" in row_of(check(fake_config(), "--estimate"), "edit")


def test_a_lane_that_has_everything_left_takes_as_long_alone(check: Check, tmp_path: Path) -> None:
    run = tmp_path / "results/试验"
    prepare(tmp_path, run)
    lane = EditorSpec.of(run, "a", 42, FAKE)
    write_heartbeat(run, stage="edit", key=lane.editor_key, done=4)
    table = tables.read_arrow(run / "items.parquet")
    (first, _) = (
        [
            one
            for _, number, shard in split_lanes(table, CATEGORIES, 2)
            if number == k
            for one in shard["item_id"].to_pylist()
        ]
        for k in range(2)
    )
    failed = dict.fromkeys(schemas.EDIT_COLUMNS) | {"state": "edit_failed", "error_kind": "x"}
    with Journal(run / "journal/edit/a", "lane0") as journal:
        items = tables.read_items(run / "items.parquet")
        journal.finish({lane.key(item): failed for item in items if item.item_id in first})
    ended = check(fake_config(), "--estimate", "--gpus", "2")
    assert "no earlier run on a GPU" in row_of(ended, "edit")
    ended = check(fake_config(), "--estimate")
    assert "3 items left x 2 s + 1 load x 10 s = 16 s on one device" in row_of(ended, "edit")
    assert "16 s on the CPU" in row_of(ended, "time")


def test_costs_come_from_a_results_folder_only(check: Check) -> None:
    ended = check(fake_config(), "--estimate", "--from", "资料")
    assert ended.code == 2
    assert "资料 has neither heartbeats/ nor costs.parquet; give results/<run>" in ended.err


def test_a_dataset_with_a_mistake_cannot_be_estimated(check: Check, tmp_path: Path) -> None:
    (tmp_path / "资料/items.jsonl").write_text("{")
    ended = check(fake_config(), "--estimate")
    assert ended.code == 2
    assert ended.err.startswith("error: 资料/items.jsonl is broken JSON")


def test_judging_waits_for_its_lane_and_devices_for_nobody() -> None:
    edits = [Job(judge=None, lane=lane, seconds=10) for lane in range(3)]
    scores = [Job(judge="j", lane=lane, seconds=1) for lane in range(3)]
    assert estimate_wall_seconds([*edits, *scores], 3) == 11
    assert estimate_wall_seconds([*edits, *scores], 2) == 21
    assert estimate_wall_seconds([*edits, *scores], 1) == 33
    assert estimate_wall_seconds([*edits, *scores], 9) == 11
    served = [Job(judge=None, lane=lane, seconds=10, holds_device=False) for lane in range(3)]
    assert estimate_wall_seconds([*served, *scores], 1) == 13, "editors on servers wait for no device"
    assert estimate_wall_seconds(served, 1) == 10
    slow = [Job(judge=None, lane=lane, seconds=20) for lane in range(3)]
    assert estimate_wall_seconds([*edits, *slow, *scores], 9) == 21, "a judge waits for all editors"
